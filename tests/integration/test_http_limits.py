"""An HTTP server of ours among strangers who drip, hang, flood and lie: each has its limit, and nobody else notices."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import orjson
import pytest
from aiohttp import ClientSession, web

from schema.service.http_limits import Limits, Server, serve
from tests.waiting import until

SOON: Final = Limits(connections_max=20, header_within_s=0.3, body_within_s=0.3, body_bytes_max=1000)
LONG_S: Final = 60.0


class World:
    """A server with one page that answers at once and one that is held until told."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.held = self.cancelled = 0
        self.server: Server

    async def echo(self, request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def hold(self, _request: web.Request) -> web.Response:
        self.held += 1
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.held -= 1
        return web.Response(text="released")

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.server.port)

    async def say(self, text: bytes) -> bytes:
        """Send these bytes and read until the server hangs up."""
        reader, writer = await self.connect()
        writer.write(text)
        async with asyncio.timeout(LONG_S):
            said = await reader.read()
        writer.close()
        return said


@asynccontextmanager
async def world(limits: Limits = SOON) -> AsyncIterator[World]:
    made = World()
    routes = [web.post("/echo", made.echo), web.get("/hold", made.hold), web.get("/", made.echo)]
    made.server = await serve(routes, host="127.0.0.1", port=0, limits=limits, shutdown_s=0.2)
    try:
        yield made
    finally:
        made.release.set()
        await made.server.close()


async def _is_closed(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(LONG_S):
        try:
            return await reader.read() == b""
        except ConnectionError:
            return True


@pytest.mark.parametrize(
    ("sent", "then"), [(b"", b""), (b"GET / HT", b""), (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"x")]
)
async def test_who_does_not_finish_a_header_is_cut_off(sent: bytes, then: bytes) -> None:
    """Whatever was sent of it, and also byte by byte: the time counts from the connection."""
    async with world() as made:
        reader, writer = await made.connect()
        writer.write(sent)

        async def drip() -> None:
            while not writer.is_closing():
                writer.write(then)
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        assert await _is_closed(reader)
        assert made.server.counts["timed_out"] == 1
        dripping.cancel()
        writer.close()


async def test_a_second_request_has_its_own_time() -> None:
    """A connection is kept for another request, and its header's time counts from the answer."""
    async with world() as made:
        reader, writer = await made.connect()
        for _ in range(3):
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.15)  # longer in sum than one header may take
        writer.write(b"GET / HT")
        assert await _is_closed(reader)
        writer.close()


async def test_a_body_that_does_not_come_is_refused() -> None:
    """A body in drips ends with 408 and the end of the connection."""
    async with world() as made:
        said = await made.say(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
    assert said.startswith(b"HTTP/1.1 408")
    assert orjson.loads(said.partition(b"\r\n\r\n")[2])["code"] == "request_timeout"


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 1001\r\n\r\n" + 1001 * b"x",
        b"Content-Length: 99999999999999\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n" + 20 * (b"64\r\n" + 100 * b"x" + b"\r\n") + b"0\r\n\r\n",
    ],
)
async def test_a_body_too_large_is_refused(framing: bytes) -> None:
    """By what its header says or by what comes, before the handler sees anything of it."""
    async with world() as made:
        said = await made.say(b"POST /echo HTTP/1.1\r\nHost: a\r\n" + framing)
        async with ClientSession() as session:
            most = await session.post(f"http://127.0.0.1:{made.server.port}/echo", data=1000 * b"x")
            assert (most.status, len(await most.read())) == (200, 1000)
    assert said.startswith(b"HTTP/1.1 413")
    assert b'"code":"body_too_large"' in said


async def test_what_is_not_handled_is_a_problem() -> None:
    """Another address or method gets a JSON problem, with what is allowed, and no page may keep or frame it."""
    async with world() as made, ClientSession() as session:
        there = f"http://127.0.0.1:{made.server.port}"
        nowhere = await session.get(f"{there}/nowhere")
        assert (nowhere.status, nowhere.content_type) == (404, "application/problem+json")
        wrong = await session.delete(f"{there}/echo")
        assert (wrong.status, wrong.headers["Allow"]) == (405, "POST")
        assert (await wrong.json(content_type=None))["code"] == "method_not_allowed"
        assert wrong.headers["Cache-Control"] == "no-store"
        assert "aiohttp" not in wrong.headers["Server"]


@pytest.mark.parametrize("garbage", [b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", 40_000 * b"a"])
async def test_what_is_no_request_ends_the_connection(garbage: bytes) -> None:
    """Bytes that are no HTTP get a refusal or nothing, never an error of ours."""
    async with world() as made:
        said = await made.say(garbage)
    assert said == b"" or said.split()[1] == b"400"


@pytest.mark.parametrize("expected", [b"\xff\xfe", b"200-ok", b"", b"100-Continue"])
async def test_what_is_expected_is_never_an_error(expected: bytes) -> None:
    """Expect is 100-continue, or it is refused, whatever bytes it holds and whether the address is there."""
    rest = b"Connection: close\r\nContent-Length: 1\r\nExpect: " + expected + b"\r\n\r\nx"
    async with world() as made:
        for path, status in ((b"/echo", b"200"), (b"/nowhere", b"404")):
            said = await made.say(b"POST " + path + b" HTTP/1.1\r\nHost: a\r\n" + rest)
            is_known = expected.lower() in (b"", b"100-continue")
            assert said.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").split()[1] == (status if is_known else b"417")


async def test_when_it_is_full_who_waits_longest_goes() -> None:
    """Idle connections make room for a new one; with every one busy the new one is refused, and nobody is cut off."""
    async with world(Limits(connections_max=20, header_within_s=LONG_S)) as made, ClientSession() as session:
        there = f"http://127.0.0.1:{made.server.port}"
        idle = [await made.connect() for _ in range(20)]
        await until(lambda: _true(made.server.counts["open"] == 20), "all are in")
        holding = [asyncio.create_task(_get(session, f"{there}/hold")) for _ in range(20)]
        await until(lambda: _true(made.held == 20), "each pushed one out")
        assert all([await _is_closed(reader) for reader, _ in idle])
        assert await made.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == b""
        assert made.server.counts["refused"] == 1
        made.release.set()
        assert await asyncio.gather(*holding) == 20 * ["released"]
        for _, writer in idle:
            writer.close()


async def test_many_slow_ones_do_not_slow_a_good_one() -> None:
    """With ten times as many drippers as there are places each request of a good client is answered."""
    async with world(Limits(connections_max=20, header_within_s=LONG_S)) as made:
        slow = []
        for _ in range(200):
            _, writer = await made.connect()
            writer.write(b"POST /echo HTTP/1.1\r\n")
            slow.append(writer)
        for _ in range(50):
            said = await made.say(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert said.startswith(b"HTTP/1.1 200")
        assert made.server.counts["open"] <= 20
        for writer in slow:
            writer.close()


async def test_bodies_in_drips_keep_nobody_out() -> None:
    """With every place taken by a body that does not come, a good client is answered all the same."""
    async with world(Limits(connections_max=20, body_within_s=LONG_S)) as made:
        slow = [await made.connect() for _ in range(20)]
        for _, writer in slow:
            writer.write(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
            await writer.drain()
        for _ in range(5):
            said = await made.say(b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx")
            assert said.startswith(b"HTTP/1.1 200 ")
        for _, writer in slow:
            writer.close()


async def test_a_client_that_goes_away_frees_everything() -> None:
    """Its handler is cancelled at once; nothing waits for an answer that nobody takes."""
    async with world(Limits(header_within_s=LONG_S)) as made:
        _, writer = await made.connect()
        writer.write(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: _true(made.held == 1), "it is held")
        writer.close()
        await until(lambda: _true(made.cancelled == 1 and made.server.counts["open"] == 0), "it is let go")


async def _get(session: ClientSession, url: str) -> str:
    async with session.get(url) as response:
        return await response.text()


async def _true(condition: object) -> object:
    return condition
