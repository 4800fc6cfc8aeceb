-- name: rows
-- Every wallet's fact, in the order of the addresses' letters whatever the database's own order is; for a cursor.
-- Stroops as int8: Decimal costs time. What the chain could not hold (NaN too, which is above everything) is null.
select public_key, balance_ledger,
       case when previous_usdc_balance between 0 and 922337203685.4775807
            then (previous_usdc_balance * 10000000)::bigint end as balance_stroops,
       coalesce(balance_authorized, false) as authorized, held_at is not null as held
from public.stellar_wallets
where network = $1 and public_key is not null
order by public_key collate "C"

-- name: rows_of
select public_key, balance_ledger,
       case when previous_usdc_balance between 0 and 922337203685.4775807
            then (previous_usdc_balance * 10000000)::bigint end as balance_stroops,
       coalesce(balance_authorized, false) as authorized, held_at is not null as held
from public.stellar_wallets
where network = $1 and public_key = any($2::text[])

-- name: facts_up_to
-- The newest fact that was recorded of each wallet up to a ledger: its row holds a newer one by now. Not of a row that
-- is no recorded fact itself: it was written by somebody else, and says nothing of what was recorded before.
select w.public_key, s.ledger as balance_ledger,
       case when s.usdc_balance between 0 and 922337203685.4775807
            then (s.usdc_balance * 10000000)::bigint end as balance_stroops,
       coalesce(s.authorized, false) as authorized, false as held
from unnest($2::text[], $3::bigint[]) as asked (public_key, ledger)
join public.stellar_wallets w on w.public_key = asked.public_key and w.network = $1
  and (
    w.previous_usdc_balance = 0 and not w.balance_authorized
    or exists (
      select from public.balance_snapshots r
      where r.wallet_id = w.id and r.ledger = w.balance_ledger and r.usdc_balance = w.previous_usdc_balance
        and r.snapshot_type <> 'auto_deposit_trigger'
    )
  )
cross join lateral (
  select ledger, usdc_balance, authorized
  from public.balance_snapshots
  where wallet_id = w.id and ledger <= asked.ledger and snapshot_type <> 'auto_deposit_trigger'
  order by ledger desc
  limit 1
) s
