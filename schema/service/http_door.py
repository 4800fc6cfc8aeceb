"""An HTTP server that strangers may reach: a limit on everything they can make it hold or wait for.

By itself aiohttp waits an hour for a request to begin, and for ever for one to go on. Here a connection must bring its
headers in time, from when it was made or from their first byte after an answer, and may rest only so long in between. A
body has its own time and size; how long the answer takes is for who gives it. Where there are too many connections, the
one that is longest without a request that proved itself is cut, so that whoever only sits there keeps nobody out; while
such a request is answered its connection is never cut for another.
"""

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Final, cast

import structlog
from aiohttp import HttpVersion11, StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.typedefs import Middleware
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from schema.service.http_connection import (
    HEADERS_BYTES_MAX,
    LINGER_S,
    Answer,
    Connection,
    House,
    Manners,
    RequestFactory,
)
from schema.service.http_crowd import Crowd
from schema.service.problems import Problem, Trouble, as_problem
from schema.service.settings import files_of

log = structlog.get_logger(__name__)

BACKLOG: Final = 1_024
LINE_BYTES_MAX: Final = 8_190
FIELD_BYTES_MAX: Final = 16_384  # of one header: a token with many claims has some 4 KiB
HEADERS_MAX: Final = 64
_CONTINUE: Final = "100-continue"
_NEVER_S: Final = 1e6  # aiohttp's own timer: ours come before it


class Server(web.Server):
    """Makes each Connection, and has its requests answered."""

    def __init__(self, house: House, manners: Manners) -> None:
        super().__init__(self._answer, request_factory=self._request, handler_cancellation=house.forgets_the_gone)
        self.house = house
        self.manners = manners
        self.crowd: Crowd[Connection] = Crowd(
            connections_max=manners.connections_max, per_address_max=manners.per_address_max
        )

    def __call__(self) -> web.RequestHandler:
        return Connection(
            self,
            house=self.house,
            manners=self.manners,
            crowd=self.crowd,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=_NEVER_S,
            lingering_time=LINGER_S,
            max_line_size=LINE_BYTES_MAX,
            max_field_size=FIELD_BYTES_MAX,
            max_headers=HEADERS_MAX,
            auto_decompress=False,  # the bytes that came are what counts and what is signed; and nobody sends us a bomb
            access_log=None,
            logger=log,
        )

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Whatever it is, the answer is a problem where it is not done."""
        connection = _connection(request)
        connection.begin()
        try:
            if sum(len(name) + len(value) for name, value in request.raw_headers) > HEADERS_BYTES_MAX:
                raise connection.too_large()
            if connection.expected not in ("", _CONTINUE):
                detail = f"Of Expect only {_CONTINUE} is known."
                raise self.house.refusal(Trouble.BAD_EXPECT, detail, where="Expect", expected=_CONTINUE)
            return await self.house.answer(request)
        except Problem as problem:
            self.house.refused(problem)
            return problem.response()
        except web.HTTPException as error:
            return as_problem(error)
        finally:
            connection.rest()

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> web.BaseRequest:
        """Two things that aiohttp does badly. In `CONNECT  ` its parser finds no address, on which its request would
        break: it is for no page. Its answer to `Expect` quotes what it does not know, and takes who hangs up meanwhile
        for a bug: we give it.
        """
        if cast("URL | None", message.url) is None:
            message = message._replace(url=URL())
        connection = cast("Connection", protocol)
        connection.expected = message.headers.get("Expect", "").lower()
        if connection.expected:
            headers = CIMultiDict(message.headers)
            del headers["Expect"]
            message = message._replace(headers=CIMultiDictProxy(headers))
        if self.house.request is not None:
            return self.house.request(message, payload, protocol, writer, task)
        size = self.manners.body_bytes_max
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop, client_max_size=size)


def prove(request: web.BaseRequest) -> None:
    """The request is from who may send it: it is answered whatever the crowd, and stays before others."""
    _connection(request).prove()


def is_proven(request: web.BaseRequest) -> bool:
    """Whether its connection has ever brought a request that proved itself."""
    return _connection(request).is_proven


async def body(request: web.BaseRequest) -> bytes:
    """The whole body, within its time and size, or a Problem. Who waits for a word to send it is told to go on."""
    connection = _connection(request)
    manners, refusal = connection.manners, connection.house.refusal
    size = f"at most {manners.body_bytes_max} bytes"
    too_large = partial(refusal, Trouble.TOO_LARGE, f"The body may have {size}.", where="body", expected=size)
    if (request.content_length or 0) > manners.body_bytes_max:
        raise too_large()
    try:
        async with asyncio.timeout(manners.body_within_s):
            if connection.expected and request.version >= HttpVersion11:
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.writer.output_size = 0  # the answer has not begun
            found = await request.read()
    except TimeoutError:
        detail = f"The body did not come within {manners.body_within_s:g} s."
        raise refusal(Trouble.TOO_SLOW, detail, where="body", expected="all of it") from None
    except web.HTTPRequestEntityTooLarge:
        raise too_large() from None
    except web.RequestPayloadError as error:
        detail = f"The body does not end as its header says: {type(error.__cause__ or error).__name__}."
        raise refusal(Trouble.BAD_HTTP, detail, where="body") from error
    except OSError as error:
        raise refusal(Trouble.GONE, "The sender hung up before the body was there.") from error
    connection.take()
    return found


async def application(
    routes: Iterable[web.AbstractRouteDef], middlewares: Iterable[Middleware], *, body_bytes_max: int
) -> tuple[Answer, RequestFactory]:
    """These pages, for a House: how they are answered, and how their requests are made. Each has its body already."""
    pages = web.Application(client_max_size=body_bytes_max, middlewares=middlewares)
    pages.add_routes(routes)
    runner = web.AppRunner(pages)
    await runner.setup()
    made = runner.server
    if made is None:
        raise AssertionError("a runner that was set up has a server")

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        await body(request)
        return await made.request_handler(request)

    return answer, made.request_factory


@contextlib.asynccontextmanager
async def opened(house: House, manners: Manners, *, host: str, port: int) -> AsyncIterator[URL]:
    """Serve until the block ends; then nobody new is let in, and what is in hand is finished or, after its time, cut
    off. Yields the address.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < files_of(manners.connections_max):
        resource.setrlimit(resource.RLIMIT_NOFILE, (files_of(manners.connections_max), hard))
    runner = web.ServerRunner(Server(house, manners), shutdown_timeout=manners.stop_within_s)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=BACKLOG).start()
        yield URL.build(scheme="http", host=runner.addresses[0][0], port=runner.addresses[0][1])
    finally:
        closing = asyncio.ensure_future(runner.cleanup())
        while not closing.done():  # a signal is repeated while we finish: it ends by itself, within twice stop_within_s
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(closing)
        closing.result()


def _connection(request: web.BaseRequest) -> Connection:
    return cast("Connection", request.protocol)
