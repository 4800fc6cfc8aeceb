-- The producers follow the wallets live. Payload: the wallet's id, or nothing: too many, read them all again.
create or replace function public.stellar_wallets_notify()
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
    perform pg_notify('stellar_wallets', id::text) from touched_wallets;
  end if;
  return null;
end
$body$;

drop trigger if exists stellar_wallets_notify_insert on public.stellar_wallets;
create trigger stellar_wallets_notify_insert
  after insert on public.stellar_wallets
  referencing new table as touched_wallets
  for each statement execute function public.stellar_wallets_notify();

drop trigger if exists stellar_wallets_notify_delete on public.stellar_wallets;
create trigger stellar_wallets_notify_delete
  after delete on public.stellar_wallets
  referencing old table as touched_wallets
  for each statement execute function public.stellar_wallets_notify();

-- By row: a transition table would copy every row of the pipeline's own updates, as it cannot be bound to columns.
create or replace function public.stellar_wallets_notify_row()
returns trigger
language plpgsql
set search_path = ''
as $body$
begin
  perform pg_notify('stellar_wallets', new.id::text);
  return null;
end
$body$;

drop trigger if exists stellar_wallets_notify_update on public.stellar_wallets;
create trigger stellar_wallets_notify_update
  after update of public_key, network on public.stellar_wallets
  for each row when (old.public_key is distinct from new.public_key or old.network is distinct from new.network)
  execute function public.stellar_wallets_notify_row();

create or replace function public.read_requests_notify()
returns trigger
language plpgsql
set search_path = ''
as $body$
begin
  perform pg_notify('read_requests', id::text) from requested;
  return null;
end
$body$;

drop trigger if exists read_requests_notify_insert on public.read_requests;
create trigger read_requests_notify_insert
  after insert on public.read_requests
  referencing new table as requested
  for each statement execute function public.read_requests_notify();
