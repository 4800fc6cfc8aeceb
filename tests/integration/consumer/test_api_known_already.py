"""A read that brings no new balance: the answer waits all the same until the consumer has taken the fact in, and says
what that led to.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from schema.balance_event import BalanceEvent, SnapshotType
from tests.integration.consumer.api_house import ApiHouse, Said, api_house
from tests.integration.consumer.conftest import Feed
from tests.people import Person
from tests.unit.consumer.worlds import balance_event as event_of
from tests.waiting import until


@pytest.fixture
async def house(database_url: str, connection: asyncpg.Connection) -> AsyncIterator[ApiHouse]:
    async with api_house(database_url, connection) as house:
        yield house


async def read_and_told(house: ApiHouse, person: Person, event: BalanceEvent) -> "asyncio.Task[Said]":
    """A person waits for their read, a producer has told this fact for it, and the consumer has not taken it in."""
    asking = asyncio.create_task(house.read(person, "30"))
    request_id = await house.open_request(person)
    await house.tell(request_id, event)

    async def is_told() -> bool:
        return bool((await house.ask("GET", f"/requests/{request_id}", person=person)).body["status"] == "told")

    await until(is_told, "it is told, and no more")
    assert not asking.done()
    return asking


async def test_an_answer_waits_for_a_fact_that_brings_nothing(house: ApiHouse, feed: Feed, person: Person) -> None:
    """The version is stored long since; that the consumer knows it to be so as of this read makes it recorded."""
    await feed.take(feed.event(person, 1, 100))
    again = event_of(1, 100, account_id=person.account_id, seen_in=7, snapshot_type=SnapshotType.MANUAL)
    asking = await read_and_told(house, person, again)
    await feed.take(feed.said(again))
    said = await asking
    assert (said.status, said.body["status"]) == (200, "recorded")
    assert (said.body["decision"]["command"], said.body["decision"]["reason"]) == (None, "below_minimum")
    seen = await house.look(person)
    assert (seen["ledger"], seen["observed_ledger"]) == (again.ledger, again.observed_ledger)


async def test_a_read_that_lets_a_command_expire_says_what_follows(house: ApiHouse, feed: Feed, person: Person) -> None:
    """An executor said nothing until the command's time was over; the read shows that the money is still there, and
    its answer names the command that left for it now, not the one that is dead.
    """
    await feed.take(feed.event(person, 1, 100))
    [dead] = (await feed.take(feed.event(person, 2, 150))).commands
    await house.connection.execute("update deposit_commands set expires_at = issued_at + interval '1 second'")
    row = await house.connection.fetchrow("select expires_at from deposit_commands")
    assert row is not None
    again = event_of(
        2,
        150,
        account_id=person.account_id,
        snapshot_type=SnapshotType.MANUAL,
        seen_in=9,
        observed_at=row["expires_at"] + timedelta(seconds=1),
    )
    asking = await read_and_told(house, person, again)
    [following] = (await feed.take(feed.said(again))).commands
    decision = (await asking).body["decision"]
    assert following.command_id != dead.command_id
    assert decision["command"]["command_id"] == str(following.command_id)
    assert (decision["command"]["amount"], decision["reason"]) == ("50.0000000", "issued")


async def test_a_read_that_contradicts_says_that_the_wallet_is_held(
    house: ApiHouse, feed: Feed, person: Person
) -> None:
    """Another balance of the stored version: the wallet is on hold, and the person who asked hears it at once."""
    await feed.take(feed.event(person, 1, 100))
    other = event_of(1, 130, account_id=person.account_id, seen_in=3, snapshot_type=SnapshotType.MANUAL)
    asking = await read_and_told(house, person, other)
    await feed.take(feed.said(other))
    decision = (await asking).body["decision"]
    assert (decision["command"], decision["reason"]) == (None, "held")
    assert "two readings of its balance disagree" in decision["explanation"]


async def test_how_new_it_is_never_goes_back(house: ApiHouse, feed: Feed, person: Person) -> None:
    """What is replayed, or comes late, is older than what is known: nothing is written for it."""
    old = feed.event(person, 1, 100, seen_in=3)
    await feed.take(old)
    await feed.take(feed.event(person, 1, 100, seen_in=8))
    for late in (old, feed.event(person, 1, 100, seen_in=8), feed.event(person, 1, 100, seen_in=5)):
        assert not (await feed.take(late)).states
    seen = await house.look(person)
    assert seen["observed_ledger"] - seen["ledger"] == 7


async def test_a_result_leaves_it_as_it_is(house: ApiHouse, feed: Feed, person: Person) -> None:
    """A deposit's result is no reading of the balance."""
    await feed.take(feed.event(person, 1, 100))
    [command] = (await feed.take(feed.event(person, 2, 150, seen_in=4))).commands
    before = (await house.look(person))["observed_ledger"]
    await feed.take(feed.succeeded(command, 6))
    assert (await house.look(person))["observed_ledger"] == before
