-- The stored previous balance and the history of balances. Runs on a fresh database, and where an earlier 007 did.
alter table public.stellar_wallets add column if not exists previous_usdc_balance numeric(20,7) default null;

create table if not exists public.balance_snapshots (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references auth.users (id) on delete cascade,
  wallet_id uuid not null references public.stellar_wallets (id) on delete cascade,
  usdc_balance numeric(20,7) not null,
  previous_balance numeric(20,7),
  balance_change numeric(20,7) generated always as (usdc_balance - coalesce(previous_balance, 0)) stored,
  snapshot_type text default 'poll' check (snapshot_type in ('poll', 'webhook', 'manual', 'auto_deposit_trigger')),
  auto_deposit_triggered boolean default false,
  deposit_amount numeric(20,7),
  transaction_hash text,
  created_at timestamptz default now()
);
-- An earlier 007 may have taken its random ids from an extension.
alter table public.balance_snapshots alter column id set default gen_random_uuid();

-- Inserts are the hot path and every index costs each of them: an equal index of another name is not made twice.
do $do$
declare
  wanted record;
begin
  for wanted in
    select * from (values
      ('balance_snapshots_wallet_time', array['wallet_id', 'created_at'], '(wallet_id, created_at desc)', false),
      ('balance_snapshots_user_time', array['user_id', 'created_at'], '(user_id, created_at desc)', false),
      ('balance_snapshots_triggered', null, '(created_at desc) where auto_deposit_triggered', true)
    ) as wanted (index_name, key_columns, definition, of_triggered)
  loop
    if not exists (
      select from pg_catalog.pg_index as i
      where i.indrelid = 'public.balance_snapshots'::regclass
        and case when wanted.of_triggered
          then pg_get_expr(i.indpred, i.indrelid) like '%auto_deposit_triggered%'
          else i.indpred is null and wanted.key_columns = array(
            select a.attname::text
            from unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
            join pg_catalog.pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.attnum
            order by k.place)
        end
    ) then
      execute format('create index %I on public.balance_snapshots %s', wanted.index_name, wanted.definition);
    end if;
  end loop;
end
$do$;

-- A person reads their own snapshots; only the service writes. Policies add up, so one that an earlier 007 left behind
-- could open what these close: they go, whatever their names.
alter table public.balance_snapshots enable row level security;
do $do$
declare
  earlier record;
begin
  for earlier in
    select policyname from pg_catalog.pg_policies
    where schemaname = 'public' and tablename = 'balance_snapshots'
      and policyname not in ('balance_snapshots_owner_reads', 'balance_snapshots_service')
  loop
    raise warning 'policy "%" on balance_snapshots is replaced', earlier.policyname;
    execute format('drop policy %I on public.balance_snapshots', earlier.policyname);
  end loop;
end
$do$;
revoke all on public.balance_snapshots from public, anon, authenticated, service_role;
grant select on public.balance_snapshots to authenticated;
grant select, insert, update, delete on public.balance_snapshots to service_role;
drop policy if exists balance_snapshots_owner_reads on public.balance_snapshots;
create policy balance_snapshots_owner_reads on public.balance_snapshots
  for select to authenticated using (user_id = (select auth.uid()));
drop policy if exists balance_snapshots_service on public.balance_snapshots;
create policy balance_snapshots_service on public.balance_snapshots to service_role using (true) with check (true);

-- For existing callers. `create or replace` cannot change what an earlier one returned or called its parameters.
do $do$
begin
  if exists (
    select from pg_catalog.pg_proc
    where oid = to_regprocedure('public.update_previous_usdc_balance(uuid, numeric)')
      and (prorettype <> 'void'::regtype or proargnames is distinct from array['p_user_id', 'p_current_balance'])
  ) then
    drop function public.update_previous_usdc_balance(uuid, numeric);
  end if;
end
$do$;
create or replace function public.update_previous_usdc_balance(p_user_id uuid, p_current_balance numeric)
returns void
language plpgsql
security definer
set search_path = ''
as $body$
declare
  -- A security definer function runs as its owner; who called is the role that was set, or else the login.
  caller name := coalesce(nullif(current_setting('role', true), 'none'), session_user);
begin
  if not (pg_has_role(caller, current_user, 'usage') or pg_has_role(caller, 'service_role', 'usage'))
    and p_user_id is distinct from auth.uid()
  then
    raise exception 'update_previous_usdc_balance: % may set the balance of nobody but themselves', caller
      using errcode = 'insufficient_privilege';
  end if;
  -- NaN sorts above every number, and numeric(20,7) would take it and would round an eighth decimal away in silence.
  if p_current_balance is null
    or p_current_balance not between 0 and 922337203685.4775807
    or p_current_balance <> round(p_current_balance, 7)
  then
    raise exception 'update_previous_usdc_balance: % is not an amount from 0 to 922337203685.4775807 with at most '
      'seven decimals', coalesce(p_current_balance::text, 'null')
      using errcode = 'invalid_parameter_value';
  end if;
  -- Once the pipeline has recorded a fact, the stored balance belongs to that fact's version: another number beside it
  -- would look like money that came in or left. (Read through to_jsonb: 008 adds the column.)
  update public.stellar_wallets as wallet
  set previous_usdc_balance = p_current_balance
  where wallet.user_id = p_user_id and to_jsonb(wallet) ->> 'balance_ledger' is null;
end
$body$;
revoke all on function public.update_previous_usdc_balance(uuid, numeric) from public, anon;
grant execute on function public.update_previous_usdc_balance(uuid, numeric) to authenticated, service_role;
