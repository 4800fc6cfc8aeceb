-- An earlier 007, with its own names, its holes, and rows: run by the migrating role after supabase.sql.
alter table public.stellar_wallets add column if not exists previous_usdc_balance numeric(20,7) default null;
create table if not exists public.balance_snapshots (
  id uuid primary key default md5(random()::text)::uuid,
  user_id uuid not null references auth.users(id) on delete cascade,
  wallet_id uuid not null references public.stellar_wallets(id) on delete cascade,
  usdc_balance numeric(20,7) not null,
  previous_balance numeric(20,7),
  balance_change numeric(20,7) generated always as (usdc_balance - coalesce(previous_balance, 0)) stored,
  snapshot_type text default 'poll' check (snapshot_type in ('poll', 'webhook', 'manual', 'auto_deposit_trigger')),
  auto_deposit_triggered boolean default false,
  deposit_amount numeric(20,7),
  transaction_hash text,
  created_at timestamptz default now()
);
create index idx_snapshots_wallet on public.balance_snapshots (wallet_id, created_at desc);
create index idx_snapshots_user on public.balance_snapshots (user_id, created_at desc);
create index idx_snapshots_triggered on public.balance_snapshots (created_at desc) where auto_deposit_triggered;
alter table public.balance_snapshots enable row level security;
create policy "Users can view own snapshots" on public.balance_snapshots for select using (auth.uid() = user_id);
-- Meant for the service, open to everyone.
create policy "Service can manage snapshots" on public.balance_snapshots for all using (true) with check (true);
create function public.update_previous_usdc_balance(p_user_id uuid, p_current_balance numeric)
returns numeric language plpgsql security definer as $$
begin
  update public.stellar_wallets set previous_usdc_balance = p_current_balance where user_id = p_user_id;
  return p_current_balance;
end
$$;

insert into auth.users (id, email) values
  ('b7a1f8f2-52f4-4f0e-9d6c-0e3d5b0a6c01', 'ada@example.org'),
  ('b7a1f8f2-52f4-4f0e-9d6c-0e3d5b0a6c02', 'ben@example.org');
insert into public.stellar_wallets (id, user_id, public_key, network, previous_usdc_balance) values
  ('3d5f4c7e-0b5a-4a53-8a8e-7f6d2f1b9a01', 'b7a1f8f2-52f4-4f0e-9d6c-0e3d5b0a6c01',
   'GAFK7XFZHMLSNV7OJTBO7BAIZA66X6QIBV5RMZZYXK4Q7ZSO52J5C3WQ', 'testnet', 125.5),
  ('3d5f4c7e-0b5a-4a53-8a8e-7f6d2f1b9a02', 'b7a1f8f2-52f4-4f0e-9d6c-0e3d5b0a6c02',
   'GC5LF63GRVIT5ZXXCXLPI3RX2YXKJQFZVBSAO6AUELN3YIMSWPD6Z6FH', 'mainnet', 'NaN');
insert into public.balance_snapshots (user_id, wallet_id, usdc_balance, previous_balance, snapshot_type) values
  ('b7a1f8f2-52f4-4f0e-9d6c-0e3d5b0a6c01', '3d5f4c7e-0b5a-4a53-8a8e-7f6d2f1b9a01', 100, null, 'poll'),
  ('b7a1f8f2-52f4-4f0e-9d6c-0e3d5b0a6c01', '3d5f4c7e-0b5a-4a53-8a8e-7f6d2f1b9a01', 125.5, 100, 'poll'),
  ('b7a1f8f2-52f4-4f0e-9d6c-0e3d5b0a6c02', '3d5f4c7e-0b5a-4a53-8a8e-7f6d2f1b9a02', 'NaN', 7, 'manual');
