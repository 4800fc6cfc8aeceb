-- A year of 50,000 people: 200,000 snapshots, 100,000 commands, 50,000 read requests; a few hundred of each still open.
-- Triggers and foreign keys rest while it is filled: nobody needs to be told of these people.
set session_replication_role = replica;

insert into auth.users (id) select gen_random_uuid() from generate_series(1, 50000);

insert into stellar_wallets (id, user_id, public_key, network, previous_usdc_balance, balance_ledger, balance_authorized,
                             protected_usdc, due_at)
select gen_random_uuid(), id, 'G' || upper(left(md5(id::text) || md5(id::text || '2'), 55)), 'testnet', 100, 52000000, true,
       100, case when random() < 0.01 then now() - interval '1 minute' + random() * interval '1 day' end
from auth.users;

insert into auto_deposit_policies (wallet_id, enabled) select id, true from stellar_wallets limit 10000;

insert into balance_snapshots (id, user_id, wallet_id, usdc_balance, previous_balance, snapshot_type, ledger, created_at,
                               auto_deposit_triggered)
select gen_random_uuid(), user_id, id, 100 + n, 99 + n, 'webhook', 51000000 + n, now() - n * interval '1 hour',
       random() < 0.1
from stellar_wallets, generate_series(1, 4) as n;

insert into deposit_commands (command_id, wallet_id, user_id, account_id, network, status, amount, payload, trace_id,
                              caused_by, snapshot_id, issued_at, expires_at, published_at, completed_at, deposited_amount,
                              transaction_hash, settled_ledger, error_code)
select gen_random_uuid(), id, user_id, public_key, 'testnet', status, 50, decode(repeat('ab', 600), 'hex'),
       gen_random_uuid(), gen_random_uuid()::text, gen_random_uuid(), issued_at, issued_at + interval '5 minutes',
       case when status in ('published', 'succeeded', 'failed') then issued_at end,
       case when status in ('succeeded', 'failed', 'expired') then issued_at end,
       case when status = 'succeeded' then 50 end,
       case when status = 'succeeded' then repeat('ab', 32) end,
       case when status = 'succeeded' then 51000000 + n end,
       case when status = 'failed' then 'tx_failed' end
from (
  select *, now() - random() * case when status in ('pending', 'published') then interval '6 minutes'
                                    else interval '365 days' end as issued_at
  from (
    select *, (array['pending', 'published', 'failed', 'expired', 'succeeded'])
                [width_bucket(random(), array[0.002, 0.005, 0.05, 0.1]) + 1] as status
    from stellar_wallets, generate_series(1, 2) as n
  ) as commanded
) as issued;

insert into read_requests (wallet_id, snapshot_type, requested_at, done_at)
select id, 'poll', now() - interval '1 hour', case when random() > 0.001 then now() end from stellar_wallets;

insert into dead_letters (id, topic, partition, "offset", value, reason, published_at)
select gen_random_uuid(), 'stellar.balance-events', 0, n, 'not JSON', 'malformed', case when n % 100 > 0 then now() end
from generate_series(1, 10000) as n;

set session_replication_role = origin;
