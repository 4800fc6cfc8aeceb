"""Guards that live in the SQL: each of these fails when its guard is taken away."""

import asyncio
from dataclasses import replace
from uuid import UUID

import asyncpg

from schema.stellar import Network
from tests.integration.consumer.conftest import Feed, store_of
from tests.people import Person, account_id, add_person
from tests.unit.consumer.worlds import close_time, units
from tests.waiting import until


async def test_wallets_are_locked_in_the_order_of_their_ids(
    feed: Feed, connection: asyncpg.Connection, consumer_pool: asyncpg.Pool
) -> None:
    """A batch that waits for one wallet holds those with lower ids and none with higher ones: no circle can close."""
    people = [await add_person(connection) for _ in range(8)]
    by_id = sorted(people, key=lambda person: person.wallet_id)
    await feed.take(*[feed.event(person, 1, 0) for person in people])
    batch = [feed.event(person, 2, 100) for person in people]
    async with consumer_pool.acquire() as holder, holder.transaction():
        await holder.execute("select from stellar_wallets where id = $1 for update", by_id[4].wallet_id)
        taking = asyncio.create_task(feed.take(*batch))

        async def waits() -> bool:
            waiting = (
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
            )
            return bool(await connection.fetchval(waiting))

        try:
            await until(waits, "the batch waits for the lock")
            free = await connection.fetch("select id from stellar_wallets for update skip locked")
        except BaseException:
            taking.cancel()
            raise
    writes = await taking
    assert {row["id"] for row in free} == {person.wallet_id for person in by_id[5:]}
    assert len(writes.commands) == 8


async def test_a_due_wallet_that_is_locked_is_left_to_its_holder(
    feed: Feed, person: Person, connection: asyncpg.Connection, consumer_pool: asyncpg.Pool
) -> None:
    """The loop of waits does not wait for locks; once the wallet is free, it is woken."""
    await feed.take(feed.event(person, 1, 0), feed.event(person, 2, 100))
    await connection.execute("update stellar_wallets set due_at = now() - interval '1 second'")
    async with consumer_pool.acquire() as holder, holder.transaction():
        await holder.execute("select from stellar_wallets for update")
        async with asyncio.timeout(20):
            assert not (await feed.store.wake_due(wallets_max=10)).counts
    assert (await feed.store.wake_due(wallets_max=10)).counts.total() == 1


async def test_what_waits_is_sent_in_the_order_in_which_it_was_decided(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """A wallet's commands leave one behind the other, whatever their ids are."""
    decided: list[UUID] = []
    await feed.take(feed.event(person, 1, 0))
    for number in range(8):
        writes = await feed.take(feed.event(person, 2 + number, 20 * (number + 1)))
        decided += [command.command_id for command in writes.commands]
    assert len(decided) == 8
    assert decided != sorted(decided)
    async with feed.store.unsent_commands(rows_max=5) as unsent:
        assert unsent is not None
        assert [row["command_id"] for row in unsent.rows] == decided[:5]
        await unsent.mark_sent(close_time(3))
    async with feed.store.unsent_commands(rows_max=5) as unsent:
        assert unsent is not None
        assert [row["command_id"] for row in unsent.rows] == decided[5:]
    assert await connection.fetchval("select count(*) from deposit_commands where status = 'published'") == 5


async def test_a_mark_that_comes_after_the_result_changes_no_ending(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """The executor may be faster than the relay's mark: succeeded stays succeeded."""
    await feed.take(feed.event(person, 1, 0))
    command = (await feed.take(feed.event(person, 2, 100))).commands[0]
    async with feed.store.unsent_commands(rows_max=5) as unsent:
        assert unsent is not None
        await feed.take(feed.succeeded(command, 3))
        await unsent.mark_sent(close_time(3))
    assert await connection.fetchval("select status from deposit_commands") == "succeeded"


async def test_a_refused_record_that_comes_again_is_one_dead_letter(feed: Feed, connection: asyncpg.Connection) -> None:
    """Redelivered after a crash before its offset: the same row, and no error."""
    poison = feed.record("stellar.balance-events", b"key", b"not JSON")
    await feed.take(poison)
    await feed.take(poison)
    assert await connection.fetchval("select count(*) from dead_letters") == 1


async def test_a_wallets_earlier_accounts_commands_reserve_nothing(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """A row that was given another public key: what the former account has open reserves nothing."""
    await feed.take(feed.event(person, 1, 0), feed.event(person, 2, 100))
    other = replace(person, account_id=account_id("another account"))
    await connection.execute(
        """update stellar_wallets set public_key = $2, previous_usdc_balance = null, balance_ledger = null,
           balance_authorized = null, protected_usdc = null, latest_snapshot_id = null where id = $1""",
        person.wallet_id,
        other.account_id,
    )
    await connection.execute("delete from balance_snapshots")
    fresh = Feed(store_of(feed.store.pool))
    assert fresh.store.network is Network.TESTNET
    writes = await fresh.take(fresh.event(other, 3, 0), fresh.event(other, 4, 70))
    assert [command.amount_stroops for command in writes.commands] == [units(70)]


async def test_a_state_put_back_finds_the_command_that_failed(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """A failed command is loaded with no wallet: only its own key, refused by the database, has it looked up."""
    fact = feed.event(person, 2, 150)
    await feed.take(feed.event(person, 1, 100))
    command = (await feed.take(fact)).commands[0]
    await feed.take(feed.failed(command, 3))
    await connection.execute("delete from balance_snapshots where deposit_amount > 0")
    await connection.execute(
        """update stellar_wallets set previous_usdc_balance = 100, balance_ledger = balance_ledger - 1,
           due_at = null, retry_of = null"""
    )
    writes = await feed.take(fact)
    assert writes.commands == []
    assert len(writes.snapshots) == 1
    assert await connection.fetchval("select count(*) from deposit_commands") == 1
