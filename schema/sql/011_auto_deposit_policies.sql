-- A wallet's own policy. Null is the default's; 0 for a maximum or a cap is no limit.
create table if not exists public.auto_deposit_policies (
  wallet_id uuid primary key references public.stellar_wallets (id) on delete cascade,
  enabled boolean,
  paused boolean,
  min_deposit numeric(20,7),
  max_deposit numeric(20,7),
  daily_cap numeric(20,7),
  reserve numeric(20,7),
  deposit_existing boolean,
  excluded_sources text[],
  vault_address text,
  constraint auto_deposit_policies_amounts_check check (
    min_deposit between 0 and 922337203685.4775807 and max_deposit between 0 and 922337203685.4775807
    and daily_cap between 0 and 922337203685.4775807 and reserve between 0 and 922337203685.4775807
  ),
  -- A maximum below the minimum would never deposit, and never say so.
  constraint auto_deposit_policies_order_check check (max_deposit = 0 or max_deposit >= min_deposit),
  constraint auto_deposit_policies_addresses_check check (
    vault_address ~ '^[GCLB][A-Z2-7]{55,68}$'
    and array_position(excluded_sources, null) is null
    and array_to_string(excluded_sources, ',') ~ '^([GCLB][A-Z2-7]{55,68}(,(?=[GCLB])|$))*$'
  )
);

alter table public.auto_deposit_policies enable row level security;
revoke all on public.auto_deposit_policies from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.auto_deposit_policies to service_role;
drop policy if exists auto_deposit_policies_service on public.auto_deposit_policies;
create policy auto_deposit_policies_service on public.auto_deposit_policies to service_role using (true) with check (true);
