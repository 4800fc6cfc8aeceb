-- The outbox and the audit trail in one: the bytes to send are stored with the decision. No foreign key to the wallet
-- or the person: what was commanded stays on record after they are gone.
create table if not exists public.deposit_commands (
  command_id uuid primary key,
  position bigint generated always as identity,
  previous_command_id uuid,
  wallet_id uuid not null,
  user_id uuid not null,
  account_id text not null,
  network text not null,
  status text not null default 'pending',
  amount numeric(20,7) not null,
  payload bytea not null,
  trace_id uuid not null,
  caused_by text not null,
  snapshot_id uuid not null,
  issued_at timestamptz not null,
  expires_at timestamptz not null,
  published_at timestamptz,
  completed_at timestamptz,
  deposited_amount numeric(20,7),
  transaction_hash text,
  settled_ledger bigint,
  error_code text,
  error_message text,
  constraint deposit_commands_network_check check (network in ('testnet', 'mainnet')),
  constraint deposit_commands_status_check check (status in ('pending', 'published', 'succeeded', 'failed', 'expired')),
  constraint deposit_commands_amount_check check (amount > 0 and amount <= 922337203685.4775807),
  constraint deposit_commands_payload_check check (length(payload) > 0),
  constraint deposit_commands_expires_check check (expires_at > issued_at),
  -- The mark comes after the broker's ack, so an ended command may lack it: the result can be quicker than the mark.
  constraint deposit_commands_published_check check (
    case status when 'pending' then published_at is null when 'published' then published_at is not null else true end
  ),
  constraint deposit_commands_completed_check check (
    (completed_at is not null) = (status in ('succeeded', 'failed', 'expired'))
  ),
  constraint deposit_commands_deposited_check check (
    deposited_amount between 0 and amount and settled_ledger between 1 and 4294967295
  ),
  constraint deposit_commands_succeeded_check check (
    status <> 'succeeded'
    or deposited_amount is not null and deposited_amount > 0 and settled_ledger is not null and transaction_hash is not null
  ),
  constraint deposit_commands_failed_check check (status <> 'failed' or error_code is not null)
);

-- The outbox. A command that expired before it could be sent is in it no longer, or it would be passed over for ever.
create index if not exists deposit_commands_unpublished
  on public.deposit_commands (position) where status = 'pending';
-- A wallet's open commands; and all of them, few as they are, to find those past their time.
create index if not exists deposit_commands_open
  on public.deposit_commands (wallet_id) where status in ('pending', 'published');
create index if not exists deposit_commands_settled
  on public.deposit_commands (wallet_id, settled_ledger) where status = 'succeeded';
-- The daily cap counts what was issued in one day.
create index if not exists deposit_commands_wallet_issued on public.deposit_commands (wallet_id, issued_at);

alter table public.deposit_commands enable row level security;
-- Supabase grants every new table, sequence and function whole to all three roles: taken back, then what is needed.
revoke all on public.deposit_commands from public, anon, authenticated, service_role;
revoke all on sequence public.deposit_commands_position_seq from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.deposit_commands to service_role;
grant usage, select on sequence public.deposit_commands_position_seq to service_role;
drop policy if exists deposit_commands_service on public.deposit_commands;
create policy deposit_commands_service on public.deposit_commands to service_role using (true) with check (true);
