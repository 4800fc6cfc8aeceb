"""What the API takes of one person, of strangers and while its database is away, and what it keeps of who has gone."""

import asyncio
import time
from dataclasses import replace

import asyncpg
from aiohttp import ClientSession

from consumer.api.app import PATH
from schema import migrate
from tests.fixtures_database import NewServer
from tests.integration.consumer.api_house import MANNERS, ApiHouse, api_house
from tests.people import Person, add_person
from tests.signing import claims, token
from tests.waiting import until


async def test_reads_are_limited_for_each_person(
    database_url: str, connection: asyncpg.Connection, person: Person
) -> None:
    """So many new reads a minute, whichever process is asked; joining an open one is free; others are not held up."""
    other = await add_person(connection)
    async with api_house(database_url, connection, reads_per_minute=2) as house:
        began = time.monotonic()
        for _ in range(2):
            await house.read(person)
            await house.read(person)
            await house.refuse(await house.open_request(person), "done with")
        said = await house.read(person, "10")
        assert (said.status, said.body["code"]) == (429, "too_many_reads")
        assert 60 - (time.monotonic() - began) - 1 <= int(said.headers["Retry-After"]) <= 60
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
        await until(lambda: _true(house.api.rates._in_hand.total() == 2), "both wait")
        assert (await house.ask("GET", person=person)).status == 429
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
        return house.connections == 0 and not house.api.waiting._waiters and not house.api.rates._in_hand

    await until(is_free, "everything is free again")
    assert not house.api.waiting._settled
    assert (await house.read(person)).status == 202


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
    manners = replace(MANNERS, connections_max=30, headers_within_s=60)
    async with api_house(database_url, connection, manners=manners) as house:
        strangers = [await asyncio.open_connection("127.0.0.1", house.address.port) for _ in range(100)]
        await until(lambda: _true(house.connections == manners.connections_max), "every connection is taken")
        assert (await house.ask("GET", person=person)).status == 200
        for _, writer in strangers:
            writer.close()


async def _true(condition: object) -> object:
    return condition
