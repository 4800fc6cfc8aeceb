"""A conflict holds its wallet, and that wallet only, until a person lets it go."""

import asyncio
import os
import subprocess
import sys

import asyncpg
import pytest

from consumer.outcome import Verdict
from tests.integration.consumer.conftest import Feed, store_of
from tests.people import Person, add_person


async def release(database_url: str, *accounts: str) -> subprocess.CompletedProcess[str]:
    """`python -m consumer release`, as an operator types it."""
    environment = {**os.environ, "DATABASE_URL": database_url, "STELLAR_NETWORK": "testnet"}
    command = [sys.executable, "-m", "consumer", "release", *accounts]
    return await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
async def ben(connection: asyncpg.Connection) -> Person:
    return await add_person(connection)


async def test_a_conflict_holds_that_wallet_only(feed: Feed, person: Person, ben: Person) -> None:
    """Two producers disagree on one wallet: its money waits, the other wallet of the same batch is deposited for."""
    await feed.take(feed.event(person, 1, 100), feed.event(ben, 1, 100))
    writes = await feed.take(
        feed.event(person, 1, 170), feed.event(person, 2, 150), feed.event(ben, 2, 150), feed.event(person, 3, 160)
    )
    assert [command.wallet_id for command in writes.commands] == [ben.wallet_id]
    assert [letter.reason for letter in writes.dead_letters] == [Verdict.CONFLICT]
    assert len(writes.snapshots) == 3
    assert await feed.store.held() == 1


async def test_a_person_who_looked_lets_it_go(
    feed: Feed, person: Person, connection: asyncpg.Connection, database_url: str
) -> None:
    """The list names the wallet and both balances; once released, what came in meanwhile is commanded, once."""
    await feed.take(feed.event(person, 1, 100))
    await feed.take(feed.event(person, 1, 170), feed.event(person, 2, 150))
    listed = await release(database_url)
    assert listed.returncode == 0, listed.stderr
    assert person.account_id in listed.stdout
    assert "100.0000000" in listed.stdout
    assert "170.0000000" in listed.stdout
    assert (await feed.store.wake_due(wallets_max=10)).commands == []
    released = await release(database_url, person.account_id)
    assert (released.returncode, released.stdout.split()) == (0, [person.account_id, "released"])
    (command,) = (await feed.store.wake_due(wallets_max=10)).commands
    assert command.amount_stroops == 500_000_000
    assert not (await feed.store.wake_due(wallets_max=10)).commands
    assert await connection.fetchval("select count(*) from stellar_wallets where held_at is not null") == 0
    again = await release(database_url, person.account_id)
    assert (again.returncode, again.stdout.split(maxsplit=1)[1].strip()) == (1, "was not on hold")
    assert (await release(database_url)).stdout == ""


async def test_a_replay_of_the_conflict_changes_nothing(
    feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """The same contradiction again is the same dead letter, and the hold keeps its first time."""
    other = feed.event(person, 1, 170)
    await feed.take(feed.event(person, 1, 100), other)
    first = await connection.fetchval("select held_at from stellar_wallets")
    assert first is not None
    await feed.take(other)
    assert await connection.fetchval("select held_at from stellar_wallets") == first
    assert await connection.fetchval("select count(*) from dead_letters") == 1


async def test_what_is_no_address_is_refused(consumer_pool: asyncpg.Pool, person: Person, database_url: str) -> None:
    """What is no address is refused before anything is asked of the database."""
    feed = Feed(store_of(consumer_pool))
    await feed.take(feed.event(person, 1, 100), feed.event(person, 1, 90))
    refused = await release(database_url, "GNOTANADDRESS")
    assert refused.returncode == 2
    assert "GNOTANADDRESS" in refused.stderr
    assert await feed.store.held() == 1
