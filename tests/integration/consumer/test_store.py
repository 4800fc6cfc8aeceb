"""The consumer's transaction on a real PostgreSQL: what is written, what is not, what two writers do to each other."""

import asyncio
from dataclasses import replace
from random import Random

import asyncpg

from consumer.outcome import Verdict
from consumer.records import Arrived
from consumer.wallet import CommandStatus
from schema import deposit_command
from schema.stellar import Network
from tests.integration.consumer.conftest import Feed, snapshots, store_of
from tests.people import Person, add_person
from tests.unit.consumer.worlds import VAULT, close_time, movement, units


async def test_a_payment_becomes_a_snapshot_and_a_command_in_one_transaction(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """Baseline, then 50 more: two snapshots that link up, one command with the bytes to send."""
    await feed.take(feed.event(person, 1, 100))
    writes = await feed.take(feed.event(person, 2, 150, since=1, movements=(movement(2, 50),)))
    assert await snapshots(connection, person) == [
        ("webhook", "100.0000000", "None", "100.0000000", "None"),
        ("webhook", "150.0000000", "100.0000000", "50.0000000", "50.0000000"),
    ]
    row = await connection.fetchrow("select * from deposit_commands")
    assert row is not None
    assert row["status"] == CommandStatus.PENDING
    assert deposit_command.decode(row["payload"]) == writes.commands[0]
    wallet = await connection.fetchrow("select * from stellar_wallets where id = $1", person.wallet_id)
    assert wallet is not None
    assert str(wallet["previous_usdc_balance"]) == "150.0000000"
    assert str(wallet["protected_usdc"]) == "100.0000000"


async def test_a_whole_topic_again_writes_nothing(feed: Feed, connection: asyncpg.Connection) -> None:
    """Redelivery of every record, in batches cut elsewhere, leaves every table as it was."""
    people = [await add_person(connection) for _ in range(20)]
    topic: list[Arrived] = []
    for ledger in range(1, 30):
        for number, person in enumerate(people):
            topic.append(feed.event(person, ledger, 20 * ledger + number))
    for start in range(0, len(topic), 50):
        writes = await feed.take(*topic[start : start + 50])
        results = [feed.succeeded(command, 500) for command in writes.commands]
        await feed.take(*results)
        topic += results

    async def contents() -> list[list[asyncpg.Record]]:
        return [
            await connection.fetch(f"select * from {table} order by 1")  # noqa: S608
            for table in ("stellar_wallets", "balance_snapshots", "deposit_commands", "dead_letters")
        ]

    before = await contents()
    for start in range(0, len(topic), 77):
        writes = await feed.take(*topic[start : start + 77])
        assert not writes.snapshots
        assert not writes.commands
    assert await contents() == before
    assert len(before[1]) > 20 * 29
    assert before[2]


async def test_two_writers_of_the_same_wallets_never_decide_on_the_same_state(
    consumer_pool: asyncpg.Pool, connection: asyncpg.Connection
) -> None:
    """Two consumers with the same records, in different order and batches: one snapshot per version, the sums exact."""
    people = [await add_person(connection) for _ in range(30)]
    writers = [Feed(store_of(consumer_pool)) for _ in range(2)]

    async def write(feed: Feed, seed: int) -> None:
        random = Random(seed)  # noqa: S311 - a simulation
        for ledger in range(1, 25):
            batch = [feed.event(person, ledger, 10 * ledger) for person in people]
            random.shuffle(batch)
            await feed.take(*batch)

    await asyncio.gather(*(write(feed, seed) for seed, feed in enumerate(writers)))
    rows = await connection.fetch(
        "select wallet_id, count(*) as all, count(distinct ledger) as versions, sum(deposit_amount) as commanded"
        " from balance_snapshots group by wallet_id"
    )
    commanded = await connection.fetchval("select sum(amount) from deposit_commands")
    assert len(rows) == 30
    assert all(row["all"] == row["versions"] for row in rows)
    assert commanded == 30 * (240 - 10)


async def test_results_end_their_commands_and_free_what_is_left(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """Succeeded in part: the command ends, its snapshot is written, the rest is commanded at once."""
    await feed.take(feed.event(person, 1, 0))
    command = (await feed.take(feed.event(person, 2, 100))).commands[0]
    writes = await feed.take(feed.succeeded(command, 3, units(60)))
    assert [c.amount_stroops for c in writes.commands] == [units(40)]
    assert writes.commands[0].caused_by == f"result:{command.command_id}"
    row = await connection.fetchrow("select * from deposit_commands where command_id = $1", command.command_id)
    assert row is not None
    assert (row["status"], str(row["deposited_amount"])) == ("succeeded", "60.0000000")
    assert row["published_at"] is not None, "its result proves that it was sent"
    assert (await snapshots(connection, person))[-1] == (
        "auto_deposit_trigger", "100.0000000", "100.0000000", "0.0000000", "60.0000000",
    )  # fmt: skip
    again = await feed.take(feed.succeeded(command, 3, units(60)))
    assert dict(again.counts) == {Verdict.DUPLICATE: 1}


async def test_a_command_that_begins_and_expires_in_one_batch_is_expired(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """Late facts in one batch: the command, its expiry, and the next command, each with its row."""
    await feed.take(feed.event(person, 1, 0))
    writes = await feed.take(feed.event(person, 2, 100), feed.event(person, 2, 100, seen_in=30_000_000))
    statuses = await connection.fetch("select status from deposit_commands order by position")
    assert [row["status"] for row in statuses] == ["expired", "pending"]
    assert writes.commands[1].previous_command_id == writes.commands[0].command_id


async def test_what_is_refused_is_kept_and_holds_up_nothing(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """Poison in the middle of a batch: dead letters with place, bytes and reason; the rest is recorded."""
    poison = [
        feed.record("stellar.balance-events", b"key", b"not JSON"),
        feed.record("stellar.balance-events", b"key", None),
        feed.record("stellar.balance-events", b"key", b'{"balance": NaN}'),
        feed.record("stellar.deposit-results", b"key", b'{"command_id": "\\u0000"}'),
    ]
    batch = [poison[0], feed.event(person, 1, 100), *poison[1:], feed.event(person, 2, 150), feed.event(person, 2, 151)]
    writes = await feed.take(*batch)
    assert len(writes.snapshots) == 2
    await feed.take(*batch)
    rows = await connection.fetch('select * from dead_letters order by "offset"')
    assert [row["reason"] for row in rows] == ["malformed"] * 4 + ["conflict"]
    assert rows[0]["value"] == b"not JSON"
    assert all(row["topic"] and row["offset"] and row["detail"] for row in rows)


async def test_results_that_cannot_be_are_dead_letters(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """An unknown id, more than commanded, another ending: kept, and nothing moves."""
    await feed.take(feed.event(person, 1, 0))
    command = (await feed.take(feed.event(person, 2, 100))).commands[0]
    stranger = await add_person(connection)
    other = Feed(store_of(feed.store.pool, deposit_existing=True))
    unknown = (await other.take(other.event(stranger, 1, 100))).commands[0]
    await connection.execute("delete from deposit_commands where command_id = $1", unknown.command_id)
    await feed.take(
        feed.succeeded(unknown, 3),
        feed.succeeded(command, 3, units(101)),
        feed.succeeded(command, 3),
        feed.failed(command, 3),
    )
    reasons = await connection.fetch('select reason from dead_letters order by "offset"')
    assert [row["reason"] for row in reasons] == ["unknown_command", "excess", "contradiction"]
    assert await connection.fetchval("select status from deposit_commands") == "succeeded"


async def test_wallets_that_are_not_ours_are_left_alone(feed: Feed, connection: asyncpg.Connection) -> None:
    """Another network's wallet, a deleted one, an unknown account: no row, no dead letter."""
    elsewhere = await add_person(connection, network="mainnet")
    gone = await add_person(connection)
    await connection.execute("delete from stellar_wallets where id = $1", gone.wallet_id)
    writes = await feed.take(feed.event(elsewhere, 1, 100), feed.event(gone, 1, 100))
    assert dict(writes.counts) == {"untracked": 2}
    assert await connection.fetchval("select count(*) from balance_snapshots") == 0


async def test_a_deleted_wallet_still_ends_its_commands(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """The result of a command whose wallet is gone, or has another account now, is recorded with the command alone."""
    await feed.take(feed.event(person, 1, 0))
    command = (await feed.take(feed.event(person, 2, 100))).commands[0]
    moved = await add_person(connection)
    await feed.take(feed.event(moved, 1, 0))
    moved_command = (await feed.take(feed.event(moved, 2, 100))).commands[0]
    await connection.execute("delete from stellar_wallets where id = $1", person.wallet_id)
    new_account = (await add_person(connection)).account_id
    await connection.execute("delete from stellar_wallets where public_key = $1", new_account)
    await connection.execute("update stellar_wallets set public_key = $2 where id = $1", moved.wallet_id, new_account)
    writes = await feed.take(feed.succeeded(command, 3), feed.failed(moved_command, 3))
    assert not writes.states
    statuses = await connection.fetch("select status from deposit_commands order by position")
    assert [row["status"] for row in statuses] == ["succeeded", "failed"]
    failures = await connection.fetchval("select failures_in_a_row from stellar_wallets where id = $1", moved.wallet_id)
    assert failures == 0


async def test_a_wallets_own_policy_comes_before_the_default(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """A row in auto_deposit_policies decides; its nulls are the default's."""
    await connection.execute(
        "insert into auto_deposit_policies (wallet_id, min_deposit, excluded_sources) values ($1, 70, $2)",
        person.wallet_id,
        [VAULT],
    )
    await feed.take(feed.event(person, 1, 0))
    assert not (await feed.take(feed.event(person, 2, 60, since=1, movements=(movement(2, 60),)))).commands
    assert not (await feed.take(feed.event(person, 3, 90, since=2, movements=(movement(3, 30, VAULT),)))).commands
    writes = await feed.take(feed.event(person, 4, 110, since=3, movements=(movement(4, 20),)))
    assert [c.amount_stroops for c in writes.commands] == [units(80)]


async def test_the_daily_cap_counts_what_is_on_record(
    consumer_pool: asyncpg.Pool, person: Person, connection: asyncpg.Connection
) -> None:
    """The cap holds across batches, and the wallet waits for the next day."""
    feed = Feed(store_of(consumer_pool, daily_cap_stroops=units(70)))
    await feed.take(feed.event(person, 1, 0))
    first = await feed.take(feed.event(person, 2, 50))
    second = await feed.take(feed.event(person, 3, 100))
    assert [c.amount_stroops for c in first.commands + second.commands] == [units(50), units(20)]
    due_at = await connection.fetchval("select due_at from stellar_wallets where id = $1", person.wallet_id)
    assert due_at.time().isoformat() == "00:00:00"


async def test_a_failed_command_is_tried_again_when_its_wait_is_over(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """The wallet is due after the delay, not before; the second command names the first, and is the second attempt."""
    await feed.take(feed.event(person, 1, 0))
    command = (await feed.take(feed.event(person, 2, 100))).commands[0]
    await feed.take(feed.failed(command, 3))
    assert not (await feed.store.wake_due(wallets_max=10)).counts
    await connection.execute("update stellar_wallets set due_at = now() where id = $1", person.wallet_id)
    writes = await feed.store.wake_due(wallets_max=10)
    assert [c.previous_command_id for c in writes.commands] == [command.command_id]
    assert not (await feed.store.wake_due(wallets_max=10)).counts
    attempts = await connection.fetch("select attempt from deposit_commands order by position")
    assert [row["attempt"] for row in attempts] == [1, 2]
    await feed.take(feed.failed(writes.commands[0], 4))
    failures = await connection.fetchval(
        "select failures_in_a_row from stellar_wallets where id = $1", person.wallet_id
    )
    assert failures == 2


async def test_a_wallet_with_an_expired_command_is_read_again(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """One open read request at a time, and only for commands past their bound."""
    await feed.take(feed.event(person, 1, 0), feed.event(person, 2, 100))
    assert await feed.store.request_reads_of_expired(wallets_max=10) == 0
    await connection.execute("update deposit_commands set issued_at = now() - interval '1 hour', expires_at = now()")
    assert await feed.store.request_reads_of_expired(wallets_max=10) == 1
    assert await feed.store.request_reads_of_expired(wallets_max=10) == 0
    row = await connection.fetchrow("select wallet_id, snapshot_type from read_requests")
    assert row is not None
    assert tuple(row) == (person.wallet_id, "poll")


async def test_a_legacy_balance_is_protected_and_compared(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """A wallet that came with a previous balance of 100: the first fact of 150 commands 50."""
    await connection.execute("update stellar_wallets set previous_usdc_balance = 100 where id = $1", person.wallet_id)
    writes = await feed.take(feed.event(person, 1, 150))
    assert [c.amount_stroops for c in writes.commands] == [units(50)]


async def test_two_networks_share_a_database_and_leave_each_others_commands_alone(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """A relay sends its own network's commands only, under its own lock; a result of the other network is not ours."""
    await feed.take(feed.event(person, 1, 0))
    command = (await feed.take(feed.event(person, 2, 100))).commands[0]
    other = Feed(replace(feed.store, network=Network.MAINNET))
    async with feed.store.unsent_commands(rows_max=10) as ours, other.store.unsent_commands(rows_max=10) as theirs:
        assert ours is not None
        assert theirs is not None
        assert [row["command_id"] for row in ours.rows] == [command.command_id]
        assert theirs.rows == []
    writes = await other.take(other.succeeded(command, 3))
    assert dict(writes.counts) == {"not_ours": 1}
    assert await connection.fetchval("select status from deposit_commands") == "pending"
    assert await connection.fetchval("select count(*) from dead_letters") == 0


async def test_a_second_relay_waits_for_the_first(feed: Feed, person: Person) -> None:
    """While one relay holds the outbox another is told so, and nothing is sent twice."""
    await feed.take(feed.event(person, 1, 0), feed.event(person, 2, 100))
    async with feed.store.unsent_commands(rows_max=10) as first, feed.store.unsent_commands(rows_max=10) as second:
        assert first is not None
        assert second is None
        await first.mark_sent(close_time(3))
    async with feed.store.unsent_commands(rows_max=10) as later:
        assert later is not None
        assert later.rows == []
