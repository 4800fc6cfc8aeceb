-- Where each stream is in Horizon's history, saved after the broker's ack.
create table if not exists public.stream_cursors (
  stream_name text primary key,
  network text not null,
  cursor text not null,
  ledger bigint not null,
  updated_at timestamptz not null default now(),
  constraint stream_cursors_network_check check (network in ('testnet', 'mainnet')),
  constraint stream_cursors_ledger_check check (ledger between 1 and 4294967295)
);

-- Wallets that somebody wants read: the consumer never talks to the chain, the producers do.
create table if not exists public.read_requests (
  id uuid primary key default gen_random_uuid(),
  wallet_id uuid not null references public.stellar_wallets (id) on delete cascade,
  snapshot_type text not null,
  requested_at timestamptz not null default now(),
  done_at timestamptz,
  constraint read_requests_snapshot_type_check check (snapshot_type in ('webhook', 'poll', 'manual'))
);
create index if not exists read_requests_open on public.read_requests (requested_at) where done_at is null;
-- A wallet that waits for its scheduled read does not wait twice.
create unique index if not exists read_requests_one_poll
  on public.read_requests (wallet_id, snapshot_type) where done_at is null and snapshot_type = 'poll';
-- For the cascade when a wallet is deleted.
create index if not exists read_requests_wallet on public.read_requests (wallet_id);

alter table public.stream_cursors enable row level security;
revoke all on public.stream_cursors from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.stream_cursors to service_role;
drop policy if exists stream_cursors_service on public.stream_cursors;
create policy stream_cursors_service on public.stream_cursors to service_role using (true) with check (true);

alter table public.read_requests enable row level security;
revoke all on public.read_requests from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.read_requests to service_role;
drop policy if exists read_requests_service on public.read_requests;
create policy read_requests_service on public.read_requests to service_role using (true) with check (true);
