-- What the pipeline adds to a snapshot: which fact or command it records. Rows from before stay as they are.
alter table public.balance_snapshots
  add column if not exists ledger bigint,
  add column if not exists event_id uuid,
  add column if not exists command_id uuid,
  add column if not exists observed_at timestamptz,
  add column if not exists authorized boolean;

comment on column public.balance_snapshots.ledger is 'The version: the trustline''s last_modified_ledger; null in rows from before the pipeline.';

-- One snapshot per version. A succeeded deposit is one more snapshot of a version already known.
create unique index if not exists balance_snapshots_one_per_version
  on public.balance_snapshots (wallet_id, ledger) where snapshot_type <> 'auto_deposit_trigger';

-- Not valid: it holds for every new row; history from before may contain what it contains.
alter table public.balance_snapshots
  drop constraint if exists balance_snapshots_amounts_check,
  add constraint balance_snapshots_amounts_check check (
    usdc_balance between 0 and 922337203685.4775807 and previous_balance between 0 and 922337203685.4775807
    and deposit_amount between 0 and 922337203685.4775807
  ) not valid;
