-- The consumer's SQL, by name. Amounts go in and out as bigint stroops and rest as numeric(20,7): a Decimal costs Python
-- time, and a multiplication by 0.0000001 is exact where a division would be rounded.
--
-- A plan made while a table is nearly empty is kept until the table is analyzed, and a new installation under load is not
-- for a minute. So many ids come as a join with unnest, for `= any($1)` may become a list compared with every row of the
-- table; and where even a join could read the whole table, `offset 0` holds the planner to one look-up for each id.

-- name: wallets_of_commands
-- Which wallet a result speaks of; the account is the command's own, so that a deleted wallet's command still ends.
select c.command_id, c.wallet_id, c.user_id, c.account_id, c.network
from unnest($1::uuid[]) as spoken_of(command_id)
join deposit_commands c using (command_id)

-- name: lock_wallets
-- The row locks that make two consumers of one wallet wait for each other, in one order so that they never deadlock.
-- clock_timestamp() is read once the lock is held: a decision's time is never before what it waited for.
select w.id, w.user_id, w.public_key,
       (w.previous_usdc_balance * 10000000)::bigint as balance_stroops,
       w.balance_ledger, coalesce(w.balance_authorized, false) as authorized,
       (coalesce(w.protected_usdc, w.previous_usdc_balance, 0) * 10000000)::bigint as protected_stroops,
       w.latest_snapshot_id, w.failures_in_a_row, w.retry_of, w.due_at, w.held_at,
       w.observed_ledger
from stellar_wallets w
where w.network = $1
  and (w.public_key = any($2::text[]) or w.id = any($3::uuid[]))
order by w.id
for update of w

-- name: lock_due_wallets
-- Wallets whose wait is over. Skipping locked ones keeps this loop out of every deadlock: whoever holds one will look.
select w.id, w.user_id, w.public_key,
       (w.previous_usdc_balance * 10000000)::bigint as balance_stroops,
       w.balance_ledger, coalesce(w.balance_authorized, false) as authorized,
       (coalesce(w.protected_usdc, w.previous_usdc_balance, 0) * 10000000)::bigint as protected_stroops,
       w.latest_snapshot_id, w.failures_in_a_row, w.retry_of, w.due_at, w.held_at,
       w.observed_ledger
from stellar_wallets w
where w.network = $1 and w.due_at <= now()
order by w.due_at
limit $2
for update of w skip locked

-- name: put_off
-- What the database refuses now it may take later; meanwhile it would be the first that is due, again and again.
update stellar_wallets set due_at = now() + interval '1 hour' where id = $1 and due_at <= now()

-- name: policies
select wallet_id, enabled, paused,
       (min_deposit * 10000000)::bigint as min_deposit_stroops,
       (max_deposit * 10000000)::bigint as max_deposit_stroops,
       (daily_cap * 10000000)::bigint as daily_cap_stroops,
       (reserve * 10000000)::bigint as reserve_stroops,
       deposit_existing, excluded_sources, vault_address
from unnest($1::uuid[]) as w(wallet_id)
join auto_deposit_policies using (wallet_id)

-- name: commands
-- What a decision needs of each wallet's commands: the open ones, those settled after the stored version, and those that
-- the batch's results speak of (or that its facts have caused, where a command turns out to be there already).
select c.command_id, c.wallet_id, c.status, (c.amount * 10000000)::bigint as amount_stroops, c.issued_at, c.expires_at,
       c.attempt, c.error_code, (c.deposited_amount * 10000000)::bigint as deposited_stroops, c.settled_ledger, c.transaction_hash
from (
  select found.*
  from unnest($1::uuid[], $2::bigint[], $3::text[]) as w(id, ledger, account_id)
  cross join lateral (
    select * from deposit_commands
    where wallet_id = w.id and account_id = w.account_id and status in ('pending', 'published')
    union all
    select * from deposit_commands
    where wallet_id = w.id and account_id = w.account_id and status = 'succeeded' and settled_ledger > w.ledger
    offset 0
  ) as found
  union all
  select found.*
  from unnest($4::uuid[]) as spoken_of(command_id)
  cross join lateral (select * from deposit_commands where command_id = spoken_of.command_id offset 0) as found
) as c

-- name: issued_by_day
-- What counts against the daily cap: issued since the batch's first day, neither failed nor expired.
select c.wallet_id, (c.issued_at at time zone 'utc')::date as day,
       (sum(case c.status when 'succeeded' then c.deposited_amount else c.amount end) * 10000000)::bigint as issued_stroops
from unnest($1::uuid[]) as w(id)
cross join lateral (
  select * from deposit_commands
  where wallet_id = w.id and issued_at >= $2 and status in ('pending', 'published', 'succeeded')
  offset 0
) as c
group by c.wallet_id, day

-- name: insert_snapshots
insert into balance_snapshots (id, wallet_id, user_id, snapshot_type, usdc_balance, previous_balance, ledger, event_id,
                               command_id, deposit_amount, auto_deposit_triggered, transaction_hash, observed_at, authorized)
select id, wallet_id, user_id, snapshot_type, balance * 0.0000001, previous * 0.0000001, ledger, event_id,
       command_id, deposit * 0.0000001, deposit is not null, transaction_hash, observed_at, authorized
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::uuid[],
            $9::uuid[], $10::bigint[], $11::text[], $12::timestamptz[], $13::bool[])
     as s(id, wallet_id, user_id, snapshot_type, balance, previous, ledger, event_id,
          command_id, deposit, transaction_hash, observed_at, authorized)

-- name: insert_snapshots_not_there
-- The same where a row of this version may be there from before: it stays. Not by default, for what contradicts is a bug.
insert into balance_snapshots (id, wallet_id, user_id, snapshot_type, usdc_balance, previous_balance, ledger, event_id,
                               command_id, deposit_amount, auto_deposit_triggered, transaction_hash, observed_at, authorized)
select id, wallet_id, user_id, snapshot_type, balance * 0.0000001, previous * 0.0000001, ledger, event_id,
       command_id, deposit * 0.0000001, deposit is not null, transaction_hash, observed_at, authorized
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::uuid[],
            $9::uuid[], $10::bigint[], $11::text[], $12::timestamptz[], $13::bool[])
     as s(id, wallet_id, user_id, snapshot_type, balance, previous, ledger, event_id,
          command_id, deposit, transaction_hash, observed_at, authorized)
on conflict do nothing

-- name: update_wallets
update stellar_wallets w
set previous_usdc_balance = s.balance * 0.0000001, balance_ledger = s.ledger, balance_authorized = s.authorized,
    protected_usdc = s.protected * 0.0000001, latest_snapshot_id = s.snapshot_id,
    failures_in_a_row = s.failures, retry_of = s.retry_of, due_at = s.due_at, held_at = s.held_at,
    observed_ledger = coalesce(s.observed, w.observed_ledger)
from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bool[], $5::bigint[], $6::uuid[], $7::int[], $8::uuid[],
            $9::timestamptz[], $10::timestamptz[], $11::bigint[])
     as s(id, balance, ledger, authorized, protected, snapshot_id, failures, retry_of, due_at, held_at, observed)
where w.id = s.id

-- name: insert_commands
insert into deposit_commands (command_id, previous_command_id, wallet_id, user_id, account_id, network, status, amount,
                              payload, caused_by, snapshot_id, issued_at, expires_at, trace_id, attempt)
select command_id, previous_command_id, wallet_id, user_id, account_id, network, 'pending', amount * 0.0000001,
       payload, caused_by, snapshot_id, issued_at, expires_at, trace_id, attempt
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::bigint[], $8::bytea[],
            $9::text[], $10::uuid[], $11::timestamptz[], $12::timestamptz[], $13::uuid[], $14::int[])
            with ordinality
     as c(command_id, previous_command_id, wallet_id, user_id, account_id, network, amount, payload, caused_by,
          snapshot_id, issued_at, expires_at, trace_id, attempt, place)
order by place

-- name: end_commands
-- A result proves that the command was sent, even when the mark after the broker's ack was lost.
update deposit_commands c
set status = e.status, completed_at = e.completed_at,
    published_at = coalesce(c.published_at, case when e.status <> 'expired' then e.completed_at end),
    deposited_amount = e.deposited * 0.0000001, settled_ledger = e.settled_ledger,
    transaction_hash = e.transaction_hash, error_code = e.error_code, error_message = e.error_message
from unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[])
     as e(command_id, status, completed_at, deposited, settled_ledger, transaction_hash, error_code, error_message)
where c.command_id = e.command_id

-- name: insert_dead_letters
insert into dead_letters (id, topic, partition, "offset", key, value, headers, reason, detail)
select id, topic, partition, place, key, value, headers::jsonb, reason, detail
from unnest($1::uuid[], $2::text[], $3::int[], $4::bigint[], $5::bytea[], $6::bytea[], $7::text[], $8::text[], $9::text[])
     as d(id, topic, partition, place, key, value, headers, reason, detail)
on conflict (id) do nothing

-- name: request_reads_of_expired
-- An expired command's amount is free only when a fact of a later time is in: have the wallet read.
insert into read_requests (wallet_id, snapshot_type)
select distinct c.wallet_id, 'poll'
from deposit_commands c
where c.status in ('pending', 'published') and c.expires_at < now() and c.network = $2
  and exists (select from stellar_wallets w where w.id = c.wallet_id and w.public_key = c.account_id offset 0)
  and not exists (select from read_requests r where r.wallet_id = c.wallet_id and r.done_at is null)
limit $1
on conflict do nothing

-- name: count_holds
select count(*) from stellar_wallets where held_at is not null and network = $1

-- name: holds
-- With the latest conflict's own words: the dead letter's key is the account.
select w.public_key, w.held_at, said.detail
from stellar_wallets w
left join lateral (
  select d.detail from dead_letters d
  where d.reason = 'conflict' and d.key = convert_to(w.public_key, 'UTF8') and d.created_at >= w.held_at - interval '1 day'
  order by d.created_at desc limit 1
) as said on true
where w.held_at is not null and w.network = $1
order by w.held_at, w.id

-- name: release
-- Due at once: the level rule finds whatever came in while it was held.
update stellar_wallets set held_at = null, due_at = now()
where held_at is not null and network = $1 and public_key = any($2::text[])
returning public_key

-- name: lock_outbox
-- One relay at a time keeps each wallet's order. The lock is the transaction's: it ends with it, however that ends.
-- Each network has its own: two installations on one database do not wait for each other, nor send each other's rows.
select pg_try_advisory_xact_lock(1701011809, hashtext($1))

-- name: unsent_commands
-- Never `position > last`: positions are handed out before they commit.
select command_id, account_id, payload, trace_id
from deposit_commands
where published_at is null and status = 'pending' and network = $1
order by position
limit $2

-- name: mark_commands_sent
update deposit_commands c
set published_at = $2, status = case c.status when 'pending' then 'published' else c.status end
from unnest($1::uuid[]) as sent(command_id)
where c.command_id = sent.command_id

-- name: unsent_dead_letters
-- Each may have megabytes: no more than can be read and sent in time, and one at least. Sizes are known without reading.
select id, topic, partition, place, key, value, reason, detail, headers::text as headers
from (
  select *, sum(size) over (order by created_at, id rows between unbounded preceding and 1 preceding) as before
  from (
    select id, topic, partition, "offset" as place, key, value, reason, detail, headers, created_at,
           coalesce(octet_length(key), 0) + coalesce(octet_length(value), 0) + pg_column_size(headers) as size
    from dead_letters
    where published_at is null
    order by created_at, id
    limit $1
  ) as waiting
) as sized
where coalesce(before, 0) < $2
order by created_at, id

-- name: mark_dead_letters_sent
update dead_letters set published_at = $2 where id = any($1::uuid[])
