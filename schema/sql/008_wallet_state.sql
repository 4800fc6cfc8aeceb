-- What the pipeline knows of a wallet. It locks the row, decides, and writes these with the snapshot and the command.
alter table public.stellar_wallets
  add column if not exists balance_ledger bigint,
  add column if not exists balance_authorized boolean,
  add column if not exists protected_usdc numeric(20,7),
  add column if not exists latest_snapshot_id uuid,
  add column if not exists failures_in_a_row integer not null default 0,
  add column if not exists retry_of uuid,
  add column if not exists due_at timestamptz;

comment on column public.stellar_wallets.previous_usdc_balance is 'The balance of the last fact applied; null: the next fact is the baseline.';
comment on column public.stellar_wallets.balance_ledger is 'The version of that balance: the trustline''s last_modified_ledger; null: no fact yet.';
comment on column public.stellar_wallets.protected_usdc is 'The part never deposited on its own; null: the previous balance counts as protected.';
comment on column public.stellar_wallets.retry_of is 'The failed or expired command that the next command names.';
comment on column public.stellar_wallets.due_at is 'When a wait (retry, daily cap, unpause) is over.';

-- What cannot be a balance cannot be compared with one. Without it the next fact is a baseline: no deposit.
do $do$
declare
  repaired bigint;
begin
  update public.stellar_wallets set previous_usdc_balance = null
  where previous_usdc_balance not between 0 and 922337203685.4775807;
  get diagnostics repaired = row_count;
  if repaired > 0 then
    raise warning '% wallets held a previous balance that was NaN, negative or beyond int64: now null', repaired;
  end if;
end
$do$;

-- NaN is above every number in PostgreSQL: an upper bound refuses it, `>= 0` alone would not. The bound is Stellar's own.
alter table public.stellar_wallets
  drop constraint if exists stellar_wallets_amounts_check,
  add constraint stellar_wallets_amounts_check check (
    previous_usdc_balance between 0 and 922337203685.4775807 and protected_usdc between 0 and 922337203685.4775807
  ),
  drop constraint if exists stellar_wallets_fact_is_whole_check,
  add constraint stellar_wallets_fact_is_whole_check check (
    balance_ledger is null
    or balance_ledger between 1 and 4294967295 and previous_usdc_balance is not null and balance_authorized is not null
  ),
  drop constraint if exists stellar_wallets_failures_check,
  add constraint stellar_wallets_failures_check check (failures_in_a_row >= 0);

-- Every fact updates its wallet's row. No column of those is indexed but due_at, and the free room in each page keeps
-- the new version beside the old one (HOT): no index is touched.
alter table public.stellar_wallets set (fillfactor = 80);
create index if not exists stellar_wallets_due on public.stellar_wallets (due_at) where due_at is not null;
