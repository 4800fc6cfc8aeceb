-- The API's SQL, by name. Whatever a person asks is looked up by their id: nobody sees a row of anyone else's.

-- name: wallet
-- The columns of `lock_wallets`, without the lock: a test holds the two together.
select w.id, w.user_id, w.public_key,
       (w.previous_usdc_balance * 10000000)::bigint as balance_stroops,
       w.balance_ledger, coalesce(w.balance_authorized, false) as authorized,
       (coalesce(w.protected_usdc, w.previous_usdc_balance, 0) * 10000000)::bigint as protected_stroops,
       w.latest_snapshot_id, w.failures_in_a_row, w.retry_of, w.due_at, w.held_at,
       w.observed_ledger
from stellar_wallets w
where w.user_id = $1 and w.network = $2 and w.public_key is not null
order by w.created_at, w.id
limit 1

-- name: last_snapshot
-- The newest fact's; a deposit's own snapshot is not one.
select id, snapshot_type, ledger, created_at, auto_deposit_triggered, transaction_hash,
       (usdc_balance * 10000000)::bigint as balance_stroops, (previous_balance * 10000000)::bigint as previous_stroops
from balance_snapshots
where wallet_id = $1 and snapshot_type <> 'auto_deposit_trigger' and ledger is not null
order by ledger desc
limit 1

-- name: snapshot_type
select snapshot_type from balance_snapshots
where wallet_id = $1 and ledger = $2 and snapshot_type <> 'auto_deposit_trigger'

-- name: command
-- The one that this fact caused, or the newest that left since the read was asked for: where the fact showed that an earlier
-- one can no longer happen, that is the cause of the next.
select command_id, status, (amount * 10000000)::bigint as amount_stroops,
       (deposited_amount * 10000000)::bigint as deposited_stroops, issued_at
from (
  (select * from deposit_commands where wallet_id = $2 and issued_at >= $3 order by issued_at desc, position desc limit 1)
  union all
  select * from deposit_commands where command_id = $1 and wallet_id = $2
) as led_to
order by issued_at desc, position desc
limit 1

-- name: lock_requests
-- One wallet's requests one at a time, so that two at once become one row. The lock is the transaction's.
select pg_advisory_xact_lock(1701011810, hashtext($1::uuid::text))

-- name: open_request
select id, requested_at from read_requests
where wallet_id = $1 and done_at is null and snapshot_type = 'manual'
order by requested_at desc
limit 1

-- name: nth_recent_request
-- The row is there when the minute is used up; in how many seconds there is room again.
select greatest(1, ceil(extract(epoch from requested_at + interval '1 minute' - now())))::int as again_s
from read_requests
where wallet_id = $1 and requested_at > now() - interval '1 minute' and snapshot_type = 'manual'
order by requested_at desc
offset $2 - 1 limit 1

-- name: insert_request
-- No row where the wallet went away meanwhile.
insert into read_requests (wallet_id, snapshot_type)
select id, 'manual' from stellar_wallets where id = $1 for key share
returning id, requested_at

-- name: request
select r.id, r.wallet_id, r.snapshot_type, r.requested_at, r.done_at, r.event_id, r.ledger, r.observed_ledger,
       (r.balance * 10000000)::bigint as balance_stroops, r.refused,
       coalesce(w.observed_ledger >= r.observed_ledger, false) as is_recorded
from read_requests r join stellar_wallets w on w.id = r.wallet_id
where r.id = $1 and w.user_id = $2 and w.network = $3

-- name: open_of
-- Of these requests: those that are told, but not recorded yet, and those that are not even told. The others are settled.
select r.id, r.done_at is not null as is_told
from unnest($1::uuid[]) as asked(id)
join read_requests r using (id)
join stellar_wallets w on w.id = r.wallet_id
where r.done_at is null or coalesce(w.observed_ledger, 0) < r.observed_ledger
