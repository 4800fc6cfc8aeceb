-- name: portion
-- In the order of the unique index, each portion a statement of its own: a round may take hours. Stroops as int8: Decimal
-- costs time. A balance that the chain cannot hold (NaN too, which is above everything) is 0: the next fact mends it.
select public_key, balance_ledger,
       case when previous_usdc_balance between 0 and 922337203685.4775807
            then (previous_usdc_balance * 10000000)::bigint end as balance_stroops,
       previous_usdc_balance = 0 and not balance_authorized as absent
from public.stellar_wallets
where network = $1 and public_key > $2 and ($3 or balance_ledger is null)
order by public_key limit $4

-- name: counted
select count(*) from public.stellar_wallets
where network = $1 and public_key is not null and ($2 or balance_ledger is null)

-- name: streams
-- How far each stream told everything, and whether any of them said so lately.
select stream_name, ledger, updated_at > now() - make_interval(secs => $2) as alive
from public.stream_cursors where network = $1

-- name: recorded
-- What the consumer has stored of these wallets, and who was the first to say the version that is asked for.
select w.public_key, asked.ledger as asked, w.balance_ledger, s.snapshot_type, s.observed_at
from unnest($2::text[], $3::bigint[]) as asked (public_key, ledger)
join public.stellar_wallets w on w.public_key = asked.public_key and w.network = $1
left join public.balance_snapshots s
  on s.wallet_id = w.id and s.ledger = asked.ledger and s.snapshot_type <> 'auto_deposit_trigger'
