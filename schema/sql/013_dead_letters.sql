-- What could not be decoded or breaks an invariant: kept with its coordinates, then published to the topic.
-- The id is derived from the coordinates, so that a replay writes the same row.
create table if not exists public.dead_letters (
  id uuid primary key,
  topic text,
  partition integer,
  "offset" bigint,
  key bytea,
  value bytea,
  headers jsonb,
  reason text not null,
  detail text,
  created_at timestamptz not null default now(),
  published_at timestamptz
);
create index if not exists dead_letters_unpublished on public.dead_letters (created_at) where published_at is null;

alter table public.dead_letters enable row level security;
revoke all on public.dead_letters from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.dead_letters to service_role;
drop policy if exists dead_letters_service on public.dead_letters;
create policy dead_letters_service on public.dead_letters to service_role using (true) with check (true);
