"""A person has the wallet read, and waits for what comes of it; on a real PostgreSQL beside both real stores."""

import asyncio
import time

import asyncpg
import pytest

from consumer.api.app import PATH, WAIT_S_MAX
from schema.balance_event import SnapshotType
from tests.integration.consumer.api_house import ApiHouse
from tests.integration.consumer.conftest import Feed
from tests.people import Person
from tests.unit.consumer.worlds import balance_event as event_of
from tests.waiting import until


async def requests_of(connection: asyncpg.Connection, person: Person) -> int:
    count: int = await connection.fetchval("select count(*) from read_requests where wallet_id = $1", person.wallet_id)
    return count


async def test_a_read_is_asked_of_the_producers(house: ApiHouse, person: Person) -> None:
    """202, a row of type manual for the person's wallet, and where to look."""
    said = await house.read(person)
    row = await house.connection.fetchrow("select * from read_requests")
    assert row is not None
    assert (row["wallet_id"], row["snapshot_type"], row["done_at"]) == (person.wallet_id, "manual", None)
    assert said.status == 202
    assert said.headers["Location"] == said.body["location"] == f"{PATH}/requests/{row['id']}"
    assert (said.body["request_id"], said.body["status"]) == (str(row["id"]), "pending")
    followed = await house.ask("GET", said.body["location"], person=person)
    assert (followed.status, followed.body) == (200, said.body)


async def test_an_open_request_is_joined(house: ApiHouse, person: Person) -> None:
    """However many ask at once, one row is made, and each of them gets its id."""
    await asyncio.gather(*(house.look(person) for _ in range(20)))  # every connection of the pool is open
    said = await asyncio.gather(*(house.read(person) for _ in range(20)))
    assert {each.status for each in said} == {202}
    assert len({each.body["request_id"] for each in said}) == 1
    assert await requests_of(house.connection, person) == 1
    first = await house.open_request(person)
    await house.refuse(first, "gone")
    assert (await house.read(person)).body["request_id"] != str(first)


async def test_a_wait_brings_the_fact_and_what_was_decided(house: ApiHouse, feed: Feed, person: Person) -> None:
    """Told is not enough: the answer comes once the consumer has recorded the version, with the command it caused."""
    await feed.take(feed.event(person, 1, 100))
    asking = asyncio.create_task(house.read(person, "30"))
    request_id = await house.open_request(person)
    event = event_of(2, 150, account_id=person.account_id, snapshot_type=SnapshotType.MANUAL, seen_in=3)
    await house.tell(request_id, event)

    async def is_told() -> bool:
        said = await house.ask("GET", f"/requests/{request_id}", person=person)
        return bool(said.body["status"] == "told")

    await until(is_told, "it is told")
    assert not asking.done()
    writes = await feed.take(feed.said(event))
    async with asyncio.timeout(20):  # and so before the wait is over
        said = await asking
    assert said.status == 200
    assert said.body["status"] == "recorded"
    assert said.body["fact"] == {
        "event_id": str(event.event_id),
        "snapshot_type": "manual",
        "balance": "150.0000000",
        "ledger": event.ledger,
        "observed_ledger": event.observed_ledger,
    }
    decision = said.body["decision"]
    assert decision["command"]["command_id"] == str(writes.commands[0].command_id)
    assert (decision["command"]["amount"], decision["command"]["status"]) == ("50.0000000", "pending")
    assert decision["reason"] == "issued"
    assert (await house.ask("GET", f"/requests/{request_id}", person=person)).body == said.body


async def test_a_wait_for_what_is_known_already(house: ApiHouse, feed: Feed, person: Person) -> None:
    """Nothing new: the answer comes at once when it is told, with the reason why there is no command."""
    event = event_of(1, 100, account_id=person.account_id)
    await feed.take(feed.said(event))
    asking = asyncio.create_task(house.read(person, "30"))
    await house.tell(await house.open_request(person), event)
    said = await asking
    assert said.status == 200
    assert said.body["fact"]["snapshot_type"] == "webhook"  # why the version was recorded
    assert said.body["decision"]["command"] is None
    assert said.body["decision"]["reason"] == "below_minimum"
    assert "100.0000000 is kept" in said.body["decision"]["explanation"]


async def test_what_is_free_but_not_new_says_so(house: ApiHouse, feed: Feed, person: Person) -> None:
    """A fact that brought nothing caused no command, even where something could be deposited."""
    event = event_of(1, 100, account_id=person.account_id)
    await feed.take(feed.said(event))
    await house.connection.execute("update stellar_wallets set protected_usdc = 0")
    asking = asyncio.create_task(house.read(person, "30"))
    await house.tell(await house.open_request(person), event)
    decision = (await asking).body["decision"]
    assert (decision["command"], decision["reason"]) == (None, "not_triggered")
    assert decision["explanation"] == "100.0000000 can be deposited. It is commanded when more comes in."


async def test_a_wait_that_is_over_is_202(house: ApiHouse, person: Person) -> None:
    """With the same request: whoever asks again joins it."""
    began = time.monotonic()
    said = await house.read(person, "0.2")
    assert 0.2 <= time.monotonic() - began < WAIT_S_MAX
    assert (said.status, said.body["status"]) == (202, "pending")
    assert (await house.read(person)).body["request_id"] == said.body["request_id"]


async def test_what_cannot_be_told_says_why(house: ApiHouse, person: Person) -> None:
    """A refused request is settled: 200 with the reason, no fact, no decision."""
    asking = asyncio.create_task(house.read(person, "30"))
    await house.refuse(await house.open_request(person), "balances[0].balance is '1e5', expected an amount")
    said = await asking
    assert (said.status, said.body["status"]) == (200, "refused")
    assert said.body["refused"] == "balances[0].balance is '1e5', expected an amount"
    assert "fact" not in said.body
    assert "decision" not in said.body


async def test_a_wallet_that_goes_away_ends_the_wait(house: ApiHouse, person: Person) -> None:
    """With the row its request goes: 404, not the whole wait."""
    asking = asyncio.create_task(house.read(person, "30"))
    await house.open_request(person)
    await house.connection.execute("delete from stellar_wallets where id = $1", person.wallet_id)
    assert (await asking).status == 404


@pytest.mark.parametrize(
    "wait", ["31", "-1", "+1", "1e1", "0x1", "nan", "inf", "30.001", "1.", ".5", "%201", "ten", "1&wait=2", "٣"]
)
async def test_a_wait_that_makes_no_sense_is_refused(house: ApiHouse, person: Person, wait: str) -> None:
    """400 with what was expected, and nothing is asked of anybody."""
    said = await house.read(person, wait)
    assert (said.status, said.body["code"]) == (400, "bad_wait")
    assert await requests_of(house.connection, person) == 0
