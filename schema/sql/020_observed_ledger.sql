-- How new what is known of a wallet is: a fact may say that nothing has changed since the stored version. Who asked for a
-- read waits for this, so that the answer never comes before what the read led to.
alter table public.stellar_wallets add column if not exists observed_ledger bigint;

comment on column public.stellar_wallets.observed_ledger is 'The newest ledger as of which a fact was taken in; balance_ledger is the one in which the balance last changed.';

-- The guards of 018, with the new column. On update they look at every column, so that the next one stands in one place.
create or replace function public.stellar_wallets_refuse_state()
returns trigger
language plpgsql
set search_path = ''
as $body$
declare
  -- What a new row has unless somebody says otherwise; id, user_id, public_key and network are the person's to give.
  unsaid constant jsonb := jsonb_build_object('failures_in_a_row', 0);
  before constant jsonb := case tg_op when 'UPDATE' then to_jsonb(old) else unsaid end;
  after constant jsonb := to_jsonb(new);
  guarded text;
begin
  foreach guarded in array array[
    'previous_usdc_balance', 'balance_ledger', 'balance_authorized', 'protected_usdc', 'latest_snapshot_id',
    'failures_in_a_row', 'retry_of', 'due_at', 'held_at', 'observed_ledger'
  ] || case tg_op when 'UPDATE' then array['id', 'user_id', 'public_key', 'network'] else array[]::text[] end
  loop
    if after -> guarded is distinct from coalesce(before -> guarded, 'null') then
      raise exception 'stellar_wallets.% may not be set by role %', guarded, current_user
        using errcode = 'insufficient_privilege',
          hint = 'Deposits are decided on this column: only the service (service_role) or the owner of the table sets it.';
    end if;
  end loop;
  return null;
end
$body$;

drop trigger if exists stellar_wallets_guard_update on public.stellar_wallets;
create trigger stellar_wallets_guard_update
  after update on public.stellar_wallets
  for each row when (current_user in ('anon', 'authenticated'))
  execute function public.stellar_wallets_refuse_state();

create or replace function public.stellar_wallets_forget_state()
returns trigger
language plpgsql
set search_path = ''
as $body$
begin
  update public.stellar_wallets
  set previous_usdc_balance = null, balance_ledger = null, balance_authorized = null, protected_usdc = null,
    latest_snapshot_id = null, failures_in_a_row = 0, retry_of = null, due_at = null, held_at = null,
    observed_ledger = null
  where id = new.id;
  return null;
end
$body$;
