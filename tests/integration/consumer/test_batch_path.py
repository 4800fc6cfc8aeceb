"""What the batch path must keep while it is made faster: nothing written for nothing new, nothing commanded twice."""

import asyncpg

from consumer.outcome import Verdict
from tests.integration.consumer.conftest import Feed, snapshots
from tests.people import Person, add_person
from tests.unit.consumer.worlds import units


async def test_a_fact_that_is_known_rewrites_no_row(feed: Feed, person: Person, connection: asyncpg.Connection) -> None:
    """A duplicate and a stale fact change no state, so the wallet's row is not written again."""
    await feed.take(feed.event(person, 1, 100), feed.event(person, 2, 90))
    before = await connection.fetchval("select xmin::text from stellar_wallets where id = $1", person.wallet_id)
    writes = await feed.take(feed.event(person, 2, 90), feed.event(person, 1, 100))
    assert dict(writes.counts) == {Verdict.DUPLICATE: 1, Verdict.STALE: 1}
    assert not writes.states
    after = await connection.fetchval("select xmin::text from stellar_wallets where id = $1", person.wallet_id)
    assert after == before


async def test_a_state_put_back_by_hand_commands_nothing_a_second_time(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """The fact that caused a command before is recorded again without one; the others of its batch are not held up."""
    neighbour = await add_person(connection)
    fact = feed.event(person, 2, 150)
    await feed.take(feed.event(person, 1, 100), feed.event(neighbour, 1, 100))
    command = (await feed.take(fact)).commands[0]
    await feed.take(feed.succeeded(command, 3))
    await connection.execute(
        "delete from balance_snapshots where wallet_id = $1 and deposit_amount > 0", person.wallet_id
    )
    await connection.execute(
        "update stellar_wallets set previous_usdc_balance = 100, balance_ledger = balance_ledger - 1 where id = $1",
        person.wallet_id,
    )
    writes = await feed.take(fact, feed.event(neighbour, 2, 170))
    assert [each.account_id for each in writes.commands] == [neighbour.account_id]
    assert [each.amount_stroops for each in writes.commands] == [units(70)]
    assert (
        await connection.fetchval("select count(*) from deposit_commands where wallet_id = $1", person.wallet_id) == 1
    )
    assert (await snapshots(connection, person))[-1] == ("webhook", "150.0000000", "100.0000000", "50.0000000", "None")
