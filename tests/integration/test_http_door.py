"""A door as such, before a house of this test: what handlers do wrong, how it stops, and how many files it opens."""

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge
from yarl import URL

from schema.service import http_connection, http_door
from schema.service.http_connection import Answer, House, Manners
from schema.service.problems import Problem, refusal
from schema.service.settings import FILES_BESIDE
from tests.integration.test_door_requests import PRIVATE, problem_of
from tests.waiting import until

MANNERS = Manners(
    connections_max=20,
    per_address_max=20,
    trusted=(),
    headers_within_s=30.0,
    body_within_s=30.0,
    body_bytes_max=1_000,
    rest_s=30.0,
    stop_within_s=0.3,
)
GET = b"GET / HTTP/1.1\r\nhost: a\r\nx: %b\r\n\r\n" % PRIVATE.encode()


@asynccontextmanager
async def opened(answer: Answer, *, forgets_the_gone: bool = False, **changed: Any) -> AsyncIterator[URL]:
    """A door whose house answers so; each of its own problems must be one of a bug."""
    registry = CollectorRegistry()

    def refused(problem: Problem) -> None:
        assert problem.status == 500

    house = House(
        answer=answer,
        refusal=refusal,
        refused=refused,
        connections=Gauge("connections", "Open", registry=registry),
        cut=Counter("cut", "Cut", ["cut"], registry=registry),
        forgets_the_gone=forgets_the_gone,
    )
    async with http_door.opened(house, replace(MANNERS, **changed), host="127.0.0.1", port=0) as address:
        yield address


async def test_a_bug_is_a_problem_and_quotes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """500, the end of the connection, a line in the log; and the next request finds everything as it was."""

    async def answer(_request: web.BaseRequest) -> web.Response:
        raise ZeroDivisionError

    async with opened(answer) as address:
        for _ in range(2):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(GET)
            said = await asyncio.wait_for(reader.read(), 30)
            assert problem_of(said)["status"] == 500
            assert PRIVATE.encode() not in said
            writer.close()
            await writer.wait_closed()
    assert "a bug" in capsys.readouterr().out


async def test_a_stop_waits_for_no_answer_beyond_its_time() -> None:
    """A handler that never ends is cancelled, and the stop is over."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.Response:
        await http_door.body(request)
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with asyncio.timeout(30):
        async with opened(answer) as address:
            _reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(GET)
            await begun.wait()
        await ended.wait()
    writer.close()
    await writer.wait_closed()


async def test_a_stop_asked_for_again_finishes_what_is_in_hand() -> None:
    """A signal that is repeated while an answer is being worked out cuts it off no more than the first one did."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.Response:
        await http_door.body(request)
        begun.set()
        await go_on.wait()
        return web.Response(text="finished")

    async def serve() -> None:
        async with opened(answer, stop_within_s=30.0) as address:
            opening.set_result(address)
            await asyncio.Event().wait()

    opening: asyncio.Future[URL] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve())
    address = await opening
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(GET)
    await begun.wait()
    for _ in range(3):
        serving.cancel()
        await asyncio.sleep(0.02)
    assert not serving.done()
    go_on.set()
    await asyncio.wait([serving], timeout=30)
    assert serving.done()
    assert (await reader.read()).endswith(b"finished")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("proves", [True, False])
async def test_only_what_proved_itself_is_never_put_out(*, proves: bool) -> None:
    """While answers are worked out, a newcomer is turned away where they are for who has proved something; else who
    asked first makes room.
    """
    begun = 0

    async def answer(request: web.BaseRequest) -> web.Response:
        nonlocal begun
        await http_door.body(request)
        if proves:
            http_door.prove(request)
        begun += 1
        await go_on.wait()
        return web.Response(text="finished")

    go_on = asyncio.Event()
    async with opened(answer, connections_max=2) as address:
        streams = []
        for number in range(3):
            streams.append(await asyncio.open_connection(address.host, address.port))
            streams[-1][1].write(GET)
            if number < 2 or not proves:
                await until(lambda number=number: _true(begun == number + 1), "it is in hand", deadline_s=20)  # type: ignore[misc]
        gone = streams[2 if proves else 0][0]
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(gone.read(), 30) == b""
        go_on.set()
        for reader, writer in streams:
            if reader is not gone:
                assert (await reader.readuntil(b"finished")).startswith(b"HTTP/1.1 200 ")
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def test_an_answer_takes_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the request is whole no deadline of the door is left."""
    monkeypatch.setattr(http_connection, "LINGER_S", 0.0)

    async def answer(request: web.BaseRequest) -> web.Response:
        await http_door.body(request)
        await asyncio.sleep(0.4)
        return web.Response(text="finished")

    async with opened(answer, body_within_s=0.1) as address:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(GET)
        assert (await reader.readuntil(b"finished")).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("forgets", [True, False])
async def test_who_hangs_up_is_forgotten_where_the_house_says_so(*, forgets: bool) -> None:
    """Its handler is cancelled at once, or comes to its end."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    how: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        await http_door.body(request)
        begun.set()
        try:
            await go_on.wait()
        except asyncio.CancelledError:
            how.append("cancelled")
            raise
        how.append("finished")
        return web.Response()

    async with opened(answer, forgets_the_gone=forgets) as address:
        _reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(GET)
        await begun.wait()
        writer.transport.abort()
        await asyncio.sleep(0.05)
        assert how == (["cancelled"] if forgets else [])
        go_on.set()
        await until(lambda: _true(how), "it has ended")
    assert how == (["cancelled"] if forgets else ["finished"])


async def test_it_may_open_as_many_files_as_it_lets_in_connections() -> None:
    """The process's own limit is raised as far as needed, and no lower than it was."""

    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response()

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = 400
    resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))
    try:
        async with opened(answer, connections_max=20):
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == low
        async with opened(answer, connections_max=500):
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 500 + FILES_BESIDE
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def _true(condition: object) -> object:
    return condition
