"""What people ask of the API, on a real PostgreSQL beside the real stores of consumer and producers."""

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest
from aiohttp import ClientSession

from consumer.api.app import PATH
from schema import migrate
from schema.balance_event import SnapshotType
from schema.service.http_limits import Limits
from tests.fixtures_database import NewServer
from tests.integration.consumer.api_house import APP, ApiHouse, add_person_without_wallet, api_house
from tests.integration.consumer.conftest import Feed
from tests.people import Person, add_person
from tests.signing import claims, token
from tests.unit.consumer.worlds import balance_event as event_of
from tests.waiting import until


@pytest.fixture
async def house(database_url: str, connection: asyncpg.Connection) -> AsyncIterator[ApiHouse]:
    async with api_house(database_url, connection) as house:
        yield house


async def requests_of(connection: asyncpg.Connection, person: Person) -> int:
    count: int = await connection.fetchval("select count(*) from read_requests where wallet_id = $1", person.wallet_id)
    return count


# Having the wallet read


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
    began = time.monotonic()
    said = await asking
    assert time.monotonic() - began < 5
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
    assert 0.2 <= time.monotonic() - began < 10
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


async def test_reads_are_limited_for_each_person(
    database_url: str, connection: asyncpg.Connection, person: Person
) -> None:
    """So many new reads a minute, whichever process is asked; joining an open one is free; others are not held up."""
    other = await add_person(connection)
    async with api_house(database_url, connection, reads_per_minute=2) as house:
        for _ in range(2):
            await house.read(person)
            await house.read(person)
            await house.refuse(await house.open_request(person), "done with")
        said = await house.read(person, "10")
        assert (said.status, said.body["code"]) == (429, "too_many_reads")
        assert 50 <= int(said.headers["Retry-After"]) <= 60
        assert (await house.read(other)).status == 202
    async with api_house(database_url, connection, reads_per_minute=2) as house:
        assert (await house.read(person)).status == 429
        await connection.execute("update read_requests set requested_at = requested_at - interval '61 seconds'")
        assert (await house.read(person)).status == 202


async def test_requests_are_limited_for_each_person(
    database_url: str, connection: asyncpg.Connection, person: Person
) -> None:
    """A minute's requests may come at once; then 429 says when to come again, and other people notice nothing."""
    other = await add_person(connection)
    async with api_house(database_url, connection, requests_per_minute=5) as house:
        said = [await house.ask("GET", person=person) for _ in range(6)]
        assert [each.status for each in said] == [200] * 5 + [429]
        assert 1 <= int(said[-1].headers["Retry-After"]) <= 12
        assert (await house.ask("GET", person=other)).status == 200


async def test_one_person_waits_only_so_often_at_once(
    database_url: str, connection: asyncpg.Connection, person: Person
) -> None:
    """Nobody takes all connections by waiting on each; when one wait has ended there is room for another."""
    async with api_house(database_url, connection, at_once_max=2) as house:
        waits = [asyncio.create_task(house.read(person, "30")) for _ in range(2)]
        request_id = await house.open_request(person)

        async def is_full() -> bool:
            return (await house.ask("GET", person=person)).status == 429

        await until(is_full, "both wait")
        await house.refuse(request_id, "done with")
        assert {each.status for each in await asyncio.gather(*waits)} == {200}
        assert (await house.ask("GET", person=person)).status == 200


async def test_who_goes_away_leaves_nothing(house: ApiHouse, person: Person) -> None:
    """A client that hangs up in the middle of its wait: no connection, no waiter, no turn at the database is kept."""
    async with ClientSession() as session:
        headers = {"Authorization": f"Bearer {token(claims(person.user_id))}"}
        waits = [
            asyncio.create_task(session.post(f"{house.url}{PATH}?wait=30", headers=headers).__aenter__())
            for _ in range(10)
        ]
        await until(lambda: _true(len(house.api.waiting._waiters) == 1), "they wait")
        await until(lambda: _true(house.api.waiting._waiters.total() == 10), "all of them")
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    async def is_free() -> bool:
        return house.server.counts["open"] == 0 and not house.api.waiting._waiters and not house.api.rates._in_hand

    await until(is_free, "everything is free again")
    assert not house.api.waiting._settled
    assert (await house.read(person)).status == 202


# Who may see what


async def test_nobody_sees_anything_of_anyone_else(house: ApiHouse, feed: Feed, connection: asyncpg.Connection) -> None:
    """Two people with wallets, balances and requests: each is told of their own alone, a guessed id is not found."""
    ada, bob = await add_person(connection), await add_person(connection)
    await feed.take(feed.event(ada, 1, 111), feed.event(bob, 1, 222))
    adas = (await house.read(ada)).body["request_id"]
    bobs = (await house.read(bob)).body["request_id"]
    assert adas != bobs
    for me, other, balance, theirs in ((ada, bob, "111.0000000", bobs), (bob, ada, "222.0000000", adas)):
        looked = await house.look(me)
        assert (looked["balance"], looked["account_id"]) == (balance, me.account_id)
        said = await house.ask("GET", f"/requests/{theirs}", person=me)
        assert (said.status, said.body["code"]) == (404, "no_request")
        assert other.account_id not in str(looked) + str(said)
    nobody = Person(user_id=uuid4(), wallet_id=uuid4(), account_id=ada.account_id)
    assert (await house.ask("GET", f"/requests/{adas}", person=nobody)).status == 404


async def test_who_has_no_wallet_is_told_so(house: ApiHouse, connection: asyncpg.Connection) -> None:
    """Not signed up, signed up without a wallet, a wallet without an address, one on the other network: 404."""
    without = await add_person_without_wallet(connection)
    elsewhere = await add_person(connection, network="mainnet")
    bare = await add_person(connection)
    await connection.execute("update stellar_wallets set public_key = null where id = $1", bare.wallet_id)
    for user_id in (uuid4(), without, elsewhere.user_id, bare.user_id):
        person = Person(user_id=user_id, wallet_id=uuid4(), account_id=bare.account_id)
        for method in ("GET", "POST"):
            said = await house.ask(method, person=person)
            assert (said.status, said.body["code"]) == (404, "no_wallet")
    assert await connection.fetchval("select count(*) from read_requests") == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "no_token"),
        ({"Authorization": "Basic YWRhOmFkYQ=="}, "no_token"),
        ({"Authorization": "Bearer"}, "no_token"),
        ({"Authorization": "Bearer "}, "no_token"),
        ({"Authorization": "Bearer nonsense"}, "malformed_token"),
        ({"Authorization": f"Bearer {'a' * 9000}"}, "malformed_token"),
        ({"Authorization": "Bearer \xe4\xf6\xfc"}, "malformed_token"),
        ({"Authorization": f"Bearer {token(claims(role='service_role'))}"}, "wrong_role"),
        ({"Authorization": f"Bearer {token(claims(exp=1))}"}, "expired_token"),
        ({"Authorization": f"Bearer {token(name='forged')}"}, "unknown_token"),
        ({"Cookie": f"sb-access-token={token()}"}, "no_token"),
        ({"apikey": token()}, "no_token"),
    ],
    ids=[
        "nothing",
        "basic",
        "bearer of none",
        "blank",
        "nonsense",
        "long",
        "umlauts",
        "service",
        "expired",
        "forged",
        "cookie",
        "apikey",
    ],
)
async def test_without_a_persons_token_nothing(
    house: ApiHouse, method: str, headers: dict[str, str], code: str
) -> None:
    """401, how to come in, and what is wrong; nothing of what is there."""
    for path in ("", "?wait=5", f"/requests/{uuid4()}"):
        if method == "POST" and path.startswith("/requests"):
            continue
        said = await house.ask(method, path, headers=headers)
        assert (said.status, said.body["code"]) == (401, code)
        challenge = said.headers["WWW-Authenticate"]
        assert challenge.startswith('Bearer realm="auto-deposit"')
        assert ("invalid_token" in challenge) == (code != "no_token")


async def test_a_token_in_the_address_is_no_token(house: ApiHouse, person: Person) -> None:
    """Addresses stand in logs."""
    said = await house.ask("GET", f"?access_token={token(claims(person.user_id))}")
    assert said.status == 401


# What else comes in


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "HEAD", "TRACE", "PROPFIND"])
async def test_other_methods_are_not_taken(house: ApiHouse, person: Person, method: str) -> None:
    """405, with those that are."""
    said = await house.ask(method, person=person)
    assert said.status == 405
    assert set(said.headers["Allow"].split(",")) == {"GET", "OPTIONS", "POST"}
    assert (await house.ask(method)).status == 405


async def test_every_answer_is_kept_nowhere(house: ApiHouse, person: Person) -> None:
    """Whatever its status: it is one person's."""
    for said in (
        await house.ask("GET", person=person),
        await house.ask("POST", person=person),
        await house.ask("GET"),
        await house.ask("GET", "/api/elsewhere"),
        await house.ask("PUT"),
    ):
        assert said.headers["Cache-Control"] == "no-store"
        assert said.headers["X-Content-Type-Options"] == "nosniff"
        assert "aiohttp" not in said.headers["Server"]


async def test_only_pages_of_named_origins_may_ask(house: ApiHouse, person: Person) -> None:
    """Their preflight is answered, and their answers may be read; a page of another origin gets neither."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for path in ("", f"/requests/{uuid4()}"):
        good = await house.ask("OPTIONS", path, headers={"Origin": APP, **asked})
        assert good.status == 204
        assert good.headers["Access-Control-Allow-Origin"] == APP
        assert "Authorization" in good.headers["Access-Control-Allow-Headers"]
        assert "POST" in good.headers["Access-Control-Allow-Methods"]
        assert "Access-Control-Allow-Credentials" not in good.headers
    for origin in ("https://evil.example", "null", APP + ".evil.example", "https://APP.example.org", "*"):
        bad = await house.ask("OPTIONS", headers={"Origin": origin, **asked})
        assert bad.status == 403
        said = await house.ask("GET", person=person, headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in {**bad.headers, **said.headers}
        assert said.headers["Vary"] == "Origin"
    for person_or_none in (person, None):
        said = await house.ask("GET", person=person_or_none, headers={"Origin": APP})
        assert said.headers["Access-Control-Allow-Origin"] == APP
        assert "Location" in said.headers["Access-Control-Expose-Headers"]


async def test_a_body_is_not_needed_and_capped(house: ApiHouse, person: Person) -> None:
    """Whatever it holds; more than 4 KiB is refused."""
    headers = {"Authorization": f"Bearer {token(claims(person.user_id))}"}
    for body, status in ((b"", 202), (b"{}", 202), (b"\xff" * 4096, 202), (b"x" * 4097, 413)):
        async with house.http.post(house.url + PATH, data=body, headers=headers) as response:
            assert response.status == status


async def test_a_database_that_is_away_passes(new_server: NewServer) -> None:
    """503 with when to come again while it is down, also for who waits; then all is as before. By a login of one's own
    in service_role, which is all that the API needs.
    """
    server = new_server(18)
    await migrate.migrate(server.url(), dry_run=False, wait_s=60, say=lambda _: None)
    connection = await asyncpg.connect(server.url())
    await connection.execute("create role pipeline login in role service_role")
    person = await add_person(connection)
    async with api_house(server.url(user="pipeline"), connection) as house:
        waiting = asyncio.create_task(house.read(person, "5"))
        await house.open_request(person)
        await asyncio.to_thread(server.stop)
        for method in ("GET", "POST"):
            said = await house.ask(method, person=person)
            assert (said.status, said.body["code"]) == (503, "away")
            assert int(said.headers["Retry-After"]) >= 1
        assert (await waiting).status == 503
        await asyncio.to_thread(server.start)

        async def is_back() -> bool:
            return (await house.ask("GET", person=person)).status == 200

        await until(is_back, "it answers again")


async def test_slow_strangers_keep_nobody_out(
    database_url: str, connection: asyncpg.Connection, person: Person
) -> None:
    """With every connection taken by somebody who says nothing, a person is answered all the same."""
    limits = Limits(connections_max=30, header_within_s=60, body_bytes_max=4096)
    async with api_house(database_url, connection, limits=limits) as house:
        strangers = [await asyncio.open_connection("127.0.0.1", house.server.port) for _ in range(100)]
        assert (await house.ask("GET", person=person)).status == 200
        for _, writer in strangers:
            writer.close()


async def _true(condition: object) -> object:
    return condition
