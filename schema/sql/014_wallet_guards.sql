-- People may insert and update their own wallet's row: not the columns that decisions rest on.
-- All triggers here are AFTER ROW with a WHEN: a BEFORE trigger would lock and read each row of the pipeline's own
-- updates (tens of thousands a second) before it could find out that it has nothing to say.
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
    'failures_in_a_row', 'retry_of', 'due_at'
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

drop trigger if exists stellar_wallets_guard_insert on public.stellar_wallets;
create trigger stellar_wallets_guard_insert
  after insert on public.stellar_wallets
  for each row when (current_user in ('anon', 'authenticated'))
  execute function public.stellar_wallets_refuse_state();

drop trigger if exists stellar_wallets_guard_update on public.stellar_wallets;
create trigger stellar_wallets_guard_update
  after update of
    previous_usdc_balance, balance_ledger, balance_authorized, protected_usdc, latest_snapshot_id,
    failures_in_a_row, retry_of, due_at, id, user_id, public_key, network
  on public.stellar_wallets
  for each row when (current_user in ('anon', 'authenticated'))
  execute function public.stellar_wallets_refuse_state();

-- Another account or network is another balance: what is known of the old one must not be compared with the new one.
create or replace function public.stellar_wallets_forget_state()
returns trigger
language plpgsql
set search_path = ''
as $body$
begin
  update public.stellar_wallets
  set previous_usdc_balance = null, balance_ledger = null, balance_authorized = null, protected_usdc = null,
    latest_snapshot_id = null, failures_in_a_row = 0, retry_of = null, due_at = null
  where id = new.id;
  return null;
end
$body$;

drop trigger if exists stellar_wallets_other_account on public.stellar_wallets;
create trigger stellar_wallets_other_account
  after update of public_key, network on public.stellar_wallets
  for each row when (old.public_key is distinct from new.public_key or old.network is distinct from new.network)
  execute function public.stellar_wallets_forget_state();

-- Supabase's service_role bypasses row security; a login that was granted service_role does not, and would see no wallet.
grant select, insert, update, delete on public.stellar_wallets to service_role;
drop policy if exists stellar_wallets_service on public.stellar_wallets;
create policy stellar_wallets_service on public.stellar_wallets to service_role using (true) with check (true);

-- Supabase grants these to everyone too; row level security does not hold for them.
revoke truncate, references, trigger on public.stellar_wallets from public, anon, authenticated;
