"""Results of commands that are no wallet's any more, or another installation's, beside everything else of a batch."""

from dataclasses import replace

import asyncpg

from schema.stellar import Network
from tests.integration.consumer.conftest import Feed
from tests.people import Person, account_id, add_person


async def test_a_deleted_wallet_may_have_several_open_commands(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """A result ends its own command, whatever else the wallet that is gone had open."""
    await feed.take(feed.event(person, 1, 0))
    first = (await feed.take(feed.event(person, 2, 100))).commands[0]
    second = (await feed.take(feed.event(person, 3, 170))).commands[0]
    await connection.execute("delete from stellar_wallets where id = $1", person.wallet_id)
    await feed.take(feed.succeeded(first, 4))
    assert await _statuses(connection) == ["succeeded", "pending"]
    await feed.take(feed.failed(second, 4))
    assert await _statuses(connection) == ["succeeded", "failed"]


async def test_a_former_accounts_commands_reserve_nothing_while_one_of_them_ends(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """A wallet of another account now decides in the batch that ends one of the former account's open commands."""
    await feed.take(feed.event(person, 1, 0))
    first = (await feed.take(feed.event(person, 2, 100))).commands[0]
    await feed.take(feed.event(person, 3, 170))
    new_account = account_id("its new account")
    await connection.execute("update stellar_wallets set public_key = $2 where id = $1", person.wallet_id, new_account)
    moved = Person(user_id=person.user_id, wallet_id=person.wallet_id, account_id=new_account)
    writes = await feed.take(feed.event(moved, 4, 0), feed.succeeded(first, 4), feed.event(moved, 5, 60))
    assert [command.amount_stroops for command in writes.commands] == [600_000_000]
    assert await _statuses(connection) == ["succeeded", "pending", "pending"]


async def test_a_result_of_the_other_network_comes_with_facts_of_this_one(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """Two installations share database and topics: each is given the other's results, amid records of its own."""
    await feed.take(feed.event(person, 1, 0))
    command = (await feed.take(feed.event(person, 2, 100))).commands[0]
    other = Feed(replace(feed.store, network=Network.MAINNET))
    other.reader = replace(feed.reader, network=Network.MAINNET)
    theirs = await add_person(connection, network="mainnet")
    writes = await other.take(other.succeeded(command, 3), other.event(theirs, 3, 100, network=Network.MAINNET))
    assert dict(writes.counts) == {"not_ours": 1, "baseline": 1}
    assert await _statuses(connection) == ["pending"]


async def _statuses(connection: asyncpg.Connection) -> list[str]:
    rows = await connection.fetch("select status from deposit_commands order by position")
    return [row["status"] for row in rows]
