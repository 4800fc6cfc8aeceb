-- name: wallets
-- Every wallet of our network, for a cursor: there may be a million. A row may come before its address does.
select public_key, balance_ledger from public.stellar_wallets where network = $1 and public_key is not null

-- name: wallets_from
-- By the primary key: each portion is a statement of its own, no transaction stays open while the stream does other work.
select id, public_key, balance_ledger from public.stellar_wallets
where id >= $1 and network = $2 and public_key is not null order by id limit $3

-- name: wallets_by_id
select public_key, balance_ledger from public.stellar_wallets where id = any($1::uuid[]) and network = $2
  and public_key is not null

-- name: stored
-- What the consumer has stored; an absence is recorded as 0, not authorized. Stroops as int8: Decimal costs time.
select public_key, balance_ledger, (previous_usdc_balance * 10000000)::bigint as balance_stroops,
       previous_usdc_balance = 0 and not balance_authorized as absent
from public.stellar_wallets where public_key = any($1::text[]) and network = $2

-- name: cursor
select network, cursor, ledger from public.stream_cursors where stream_name = $1

-- name: save_cursor
insert into public.stream_cursors (stream_name, network, cursor, ledger, updated_at)
values ($1, $2, $3, $4, now())
on conflict (stream_name) do update
set network = excluded.network, cursor = excluded.cursor, ledger = excluded.ledger, updated_at = excluded.updated_at

-- name: open_requests
-- Producers side by side share them out: what another one is marking as done is not waited for.
select r.id, coalesce(w.public_key, ''), r.snapshot_type
from public.read_requests r join public.stellar_wallets w on w.id = r.wallet_id
where r.done_at is null and w.network = $1
order by r.requested_at limit $2
for update of r skip locked

-- name: finish_requests
update public.read_requests r
set done_at = now(), event_id = a.event_id, ledger = a.ledger, observed_ledger = a.observed_ledger,
    balance = a.balance * 0.0000001, refused = a.refused
from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[])
     as a (id, event_id, ledger, observed_ledger, balance, refused)
where r.id = a.id and r.done_at is null

-- name: keep_dead_letters
-- The id follows from the coordinates: a replay writes nothing new. The consumer's relay publishes the rows.
insert into public.dead_letters (id, topic, partition, "offset", key, value, headers, reason, detail)
select d.id, d.topic, 0, d.place, d.key, d.value, '[]'::jsonb, d.reason, d.detail
from unnest($1::uuid[], $2::text[], $3::bigint[], $4::bytea[], $5::bytea[], $6::text[], $7::text[])
  as d (id, topic, place, key, value, reason, detail)
on conflict (id) do nothing

-- name: webhook_is_done
select exists (select from public.webhook_ids where id = $1)

-- name: finish_webhook
-- Two processes may have done it at once: it is done.
insert into public.webhook_ids (id) values ($1) on conflict (id) do nothing
