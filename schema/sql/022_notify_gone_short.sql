-- A notification may have 8,000 bytes, and a public key may be any text: a row with a longer one could be neither changed
-- nor deleted, nor its person. What is longer than an address is none, and followed by nobody: its beginning is enough.
create or replace function public.stellar_wallets_notify_gone()
returns trigger
language plpgsql
set search_path = ''
as $body$
declare
  rows_max constant bigint := 100;
  touched bigint;
begin
  select count(*) into touched from (select from touched_wallets limit rows_max + 1) as counted;
  if touched > rows_max then
    perform pg_notify('stellar_wallets', '');
  else
    perform pg_notify('stellar_wallets', 'gone:' || left(public_key, 64)) from touched_wallets where public_key is not null;
  end if;
  return null;
end
$body$;

create or replace function public.stellar_wallets_notify_row()
returns trigger
language plpgsql
set search_path = ''
as $body$
begin
  if old.public_key is not null then
    perform pg_notify('stellar_wallets', 'gone:' || left(old.public_key, 64));
  end if;
  perform pg_notify('stellar_wallets', new.id::text);
  return null;
end
$body$;
