-- The wallets, where they are not there already. Where they are, table, policies and grants stay their owner's.
do $do$
begin
  if to_regclass('public.stellar_wallets') is not null then
    return;
  end if;
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
  revoke all on public.stellar_wallets from public, anon, authenticated;
  grant select, insert, update on public.stellar_wallets to authenticated;
  create policy stellar_wallets_owner_reads on public.stellar_wallets
    for select to authenticated using (user_id = (select auth.uid()));
  create policy stellar_wallets_owner_inserts on public.stellar_wallets
    for insert to authenticated with check (user_id = (select auth.uid()));
  create policy stellar_wallets_owner_updates on public.stellar_wallets
    for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
end
$do$;
