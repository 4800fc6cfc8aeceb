-- A wallet that goes away, or changes its address or network, says which address is not (or may not be) followed any
-- more: `gone:G...`. Its id would lead nowhere, the row is not there. A listener from before takes it for "read them all
-- again", which is right, too.
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
    perform pg_notify('stellar_wallets', 'gone:' || public_key) from touched_wallets where public_key is not null;
  end if;
  return null;
end
$body$;

drop trigger if exists stellar_wallets_notify_delete on public.stellar_wallets;
create trigger stellar_wallets_notify_delete
  after delete on public.stellar_wallets
  referencing old table as touched_wallets
  for each statement execute function public.stellar_wallets_notify_gone();

create or replace function public.stellar_wallets_notify_row()
returns trigger
language plpgsql
set search_path = ''
as $body$
begin
  if old.public_key is not null then
    perform pg_notify('stellar_wallets', 'gone:' || old.public_key);
  end if;
  perform pg_notify('stellar_wallets', new.id::text);
  return null;
end
$body$;
