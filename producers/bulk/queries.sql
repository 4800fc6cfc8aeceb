-- Wallets in bulk. Two tables of the session hold the lines of the file and what is wrong with them; everything is then
-- checked, and done, a statement for all lines at once.

-- name: make_tables
create temp table wallet_lines (
  line bigint not null, action text not null, user_id uuid, public_key text not null, turnkey_wallet_id text
);
create temp table wallet_faults (line bigint not null, field text not null, value text not null, expected text not null);
create temp table wallets_leaving (id uuid primary key);

-- name: analyze
-- Nobody else analyzes a session's tables, and a plan for an empty one does not end with a million lines.
analyze wallet_lines;
analyze wallet_faults;

-- name: no_nested_loops
-- Nor do people analyze their tables before an import: for many lines every join is a hash join.
set enable_nestloop = off

-- name: check_addresses_twice
insert into wallet_faults
select line, 'public_key', public_key, 'an address once in the file: it is in line ' || first || ' already'
from (select line, public_key, min(line) over (partition by public_key) as first from wallet_lines) as each
where line > first;

-- name: check_users_twice
insert into wallet_faults
select line, 'user_id', user_id::text, 'a user once in the file: line ' || first || ' adds their wallet already'
from (
  select line, user_id, min(line) over (partition by user_id) as first from wallet_lines where action = 'add'
) as each
where line > first;

-- name: may_see_users
-- Supabase lets service_role, and logins granted it, insert a user's id and not see who there is.
select case when has_schema_privilege('auth', 'usage') then has_column_privilege('auth.users', 'id', 'select') else false end

-- name: check_users
insert into wallet_faults
select l.line, 'user_id', l.user_id::text, 'a user in auth.users'
from wallet_lines l left join auth.users u on u.id = l.user_id
where l.action = 'add' and u.id is null;

-- name: check_others
-- What is to be removed, paused or unpaused. A wallet that is not there is removed already.
insert into wallet_faults
select l.line,
  case when w.id is null then 'public_key' when w.network is distinct from $1 then 'network' else 'user_id' end,
  case when w.id is null then l.public_key when w.network is distinct from $1 then coalesce(w.network, '')
    else l.user_id::text end,
  case when w.id is null then 'the address of a wallet in stellar_wallets'
    when w.network is distinct from $1 then 'a wallet of ' || $1 || ': it is of another network in stellar_wallets'
    else 'the user whose wallet it is' end
from wallet_lines l left join public.stellar_wallets w on w.public_key = l.public_key
where l.action <> 'add' and (
  w.id is null and l.action <> 'remove' or w.network is distinct from $1 and w.id is not null or l.user_id <> w.user_id
);

-- name: note_leaving
-- Whose place becomes free: a file may take a person's wallet away and give them another one.
insert into wallets_leaving
select w.id from wallet_lines l join public.stellar_wallets w on w.public_key = l.public_key
where l.action = 'remove' and w.network = $1 and not exists (select from wallet_faults f where f.line = l.line)
on conflict do nothing;

-- name: check_addresses_taken
insert into wallet_faults
select l.line,
  case when w.user_id <> l.user_id then 'public_key' when w.network is distinct from $1 then 'network'
    else 'turnkey_wallet_id' end,
  case when w.user_id <> l.user_id then l.public_key when w.network is distinct from $1 then $1
    else coalesce(l.turnkey_wallet_id, '') end,
  case when w.user_id <> l.user_id then 'an address that nobody has: user ' || w.user_id || ' has it'
    when w.network is distinct from $1 then coalesce(w.network, 'no network') || ', as in stellar_wallets'
    else coalesce(w.turnkey_wallet_id, 'none') || ', as in stellar_wallets' end
from wallet_lines l join public.stellar_wallets w on w.public_key = l.public_key
where l.action = 'add' and (
  w.user_id <> l.user_id and not exists (select from wallets_leaving g where g.id = w.id)
  or w.user_id = l.user_id
  and (w.network is distinct from $1 or l.turnkey_wallet_id is not null and l.turnkey_wallet_id is distinct from w.turnkey_wallet_id)
);

-- name: check_users_taken
insert into wallet_faults
select l.line, 'user_id', l.user_id::text, 'a user without a wallet: they have ' || coalesce(w.public_key, 'one without an address')
from wallet_lines l join public.stellar_wallets w on w.user_id = l.user_id
where l.action = 'add' and w.public_key is distinct from l.public_key
  and not exists (select from wallets_leaving g where g.id = w.id);

-- name: drop_faulty
-- From here on only what can be done is left.
delete from wallet_lines l using wallet_faults f where f.line = l.line;

-- name: count_lines
select count(*) from wallet_lines

-- name: drop_done
-- And only what is not as it should be already. Not in the statements that write: one that looks for its own rows among
-- those it has just written takes the square of their number.
delete from wallet_lines where line in (
  select l.line from wallet_lines l left join public.stellar_wallets w on w.public_key = l.public_key
  left join public.auto_deposit_policies p on p.wallet_id = w.id
  where case l.action when 'add' then w.id is not null and not exists (select from wallets_leaving g where g.id = w.id)
    when 'remove' then w.id is null when 'pause' then coalesce(p.paused, false) else p.paused is not true end
);

-- name: plan
select
  (select count(*) from wallet_lines where action = 'add') as added,
  (select count(*) from wallets_leaving) as removed,
  (select count(*) from wallet_lines where action = 'pause') as paused,
  (select count(*) from wallet_lines where action = 'unpause') as unpaused

-- name: remove
-- Locked in the consumer's order, so that the two never deadlock.
with locked as (
  select w.id from public.stellar_wallets w join wallets_leaving g on g.id = w.id order by w.id for update of w
)
delete from public.stellar_wallets w using locked where w.id = locked.id

-- name: add
insert into public.stellar_wallets (user_id, public_key, network, turnkey_wallet_id)
select user_id, public_key, $1, turnkey_wallet_id from wallet_lines where action = 'add'

-- name: pause
-- In the order of the wallets' ids: the foreign key locks their rows, as the consumer does.
insert into public.auto_deposit_policies as p (wallet_id, paused)
select w.id, true from wallet_lines l join public.stellar_wallets w on w.public_key = l.public_key
where l.action = 'pause' order by w.id
on conflict (wallet_id) do update set paused = true

-- name: unpause
update public.auto_deposit_policies p set paused = null
from wallet_lines l join public.stellar_wallets w on w.public_key = l.public_key
where l.action = 'unpause' and p.wallet_id = w.id

-- name: faults
select line, field, value, expected from wallet_faults order by line, field

-- name: wallets
select w.id, w.public_key, w.network, w.balance_ledger, (w.previous_usdc_balance * 10000000)::bigint as stroops,
       p.paused, w.held_at is not null as held
from public.stellar_wallets w left join public.auto_deposit_policies p on p.wallet_id = w.id
where w.id >= $1 and w.network = $2 and w.public_key is not null order by w.id limit $3
