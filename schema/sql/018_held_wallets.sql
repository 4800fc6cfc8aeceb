-- A wallet on hold: somebody said another balance of the version that is stored. Nothing is commanded for it until a
-- person has looked (`python -m consumer release`); its balance is recorded all the same.
alter table public.stellar_wallets add column if not exists held_at timestamptz;

comment on column public.stellar_wallets.held_at is 'Since when no deposit is commanded because two producers disagree on this wallet; null: they agree.';

create index if not exists stellar_wallets_held on public.stellar_wallets (held_at) where held_at is not null;

-- The guards of 014, with the new column among those that no person may set.
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
    'failures_in_a_row', 'retry_of', 'due_at', 'held_at'
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
  after update of
    previous_usdc_balance, balance_ledger, balance_authorized, protected_usdc, latest_snapshot_id,
    failures_in_a_row, retry_of, due_at, held_at, id, user_id, public_key, network
  on public.stellar_wallets
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
    latest_snapshot_id = null, failures_in_a_row = 0, retry_of = null, due_at = null, held_at = null
  where id = new.id;
  return null;
end
$body$;
