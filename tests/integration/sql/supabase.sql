-- A database as Supabase hands it over, as far as the migrations can see: run by the superuser in an empty database.
-- The role that migrates ("migrator"; Supabase calls it postgres) owns the tables in public and is no superuser.
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role migrator login createrole createdb bypassrls;
grant anon, authenticated, service_role to migrator;

create schema auth;
create table auth.users (id uuid primary key, email text, encrypted_password text, created_at timestamptz default now());
alter table auth.users enable row level security;
create function auth.uid() returns uuid language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.sub', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')
  )::uuid
$$;
grant usage on schema auth to anon, authenticated, service_role, migrator;
grant all on auth.users to migrator;

grant all on schema public to migrator;
grant usage on schema public to anon, authenticated, service_role;
alter default privileges for role migrator in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges for role migrator in schema public grant all on functions to anon, authenticated, service_role;
alter default privileges for role migrator in schema public grant all on sequences to anon, authenticated, service_role;

set role migrator;
create table public.stellar_wallets (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null unique references auth.users (id) on delete cascade,
  turnkey_wallet_id text,
  public_key text unique,
  network text check (network in ('testnet', 'mainnet')),
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);
alter table public.stellar_wallets enable row level security;
create policy "Users can view own wallet" on public.stellar_wallets for select using (auth.uid() = user_id);
create policy "Users can insert own wallet" on public.stellar_wallets for insert with check (auth.uid() = user_id);
create policy "Users can update own wallet" on public.stellar_wallets for update using (auth.uid() = user_id);
reset role;
