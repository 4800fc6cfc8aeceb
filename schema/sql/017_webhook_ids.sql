-- Webhooks whose work is done: what they announced is acked by the broker. One that comes again is refused, for ever.
-- The id is the first half of a SHA-256 over the network and the sender's id, so that a row has one size.
create table if not exists public.webhook_ids (
  id uuid primary key,
  done_at timestamptz not null default now()
);

alter table public.webhook_ids enable row level security;
revoke all on public.webhook_ids from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.webhook_ids to service_role;
drop policy if exists webhook_ids_service on public.webhook_ids;
create policy webhook_ids_service on public.webhook_ids to service_role using (true) with check (true);
