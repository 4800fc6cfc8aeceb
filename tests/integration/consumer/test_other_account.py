"""A wallet's row is given another account: the history of the former one does not stand in its way."""

from dataclasses import replace

import asyncpg

from tests.integration.consumer.conftest import Feed
from tests.people import Person, account_id


async def test_who_moves_to_another_account_has_a_baseline_of_the_same_ledger(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """One payment moves everything: both accounts changed in that ledger. What comes then is new money."""
    await feed.take(feed.event(person, 1, 100), feed.event(person, 2, 0))
    moved = await _given(connection, person, "another")
    first = await feed.take(feed.event(moved, 2, 100))
    assert (dict(first.counts), first.dead_letters) == ({"baseline": 1}, [])
    then = await feed.take(feed.event(moved, 3, 150))
    assert [command.amount_stroops for command in then.commands] == [500_000_000]


async def test_an_account_that_is_put_back_has_its_baseline_again(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """A mistake that is mended before anything was said: the very same fact is the baseline, and its row is there."""
    await feed.take(feed.event(person, 1, 100))
    await _given(connection, person, "by mistake")
    await connection.execute(
        "update stellar_wallets set public_key = $2 where id = $1", person.wallet_id, person.account_id
    )
    again = await feed.take(feed.event(person, 1, 100))
    assert (dict(again.counts), again.dead_letters) == ({"baseline": 1}, [])
    assert await connection.fetchval("select count(*) from balance_snapshots") == 1
    then = await feed.take(feed.event(person, 2, 150))
    assert [command.amount_stroops for command in then.commands] == [500_000_000]


async def _given(connection: asyncpg.Connection, person: Person, seed: str) -> Person:
    other = replace(person, account_id=account_id(f"{seed} {person.account_id}"))
    await connection.execute(
        "update stellar_wallets set public_key = $2 where id = $1", person.wallet_id, other.account_id
    )
    return other
