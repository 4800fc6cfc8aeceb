"""One connection of a door that strangers may reach: what it must bring in time, and how it is cut."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import structlog
from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from prometheus_client import Counter, Gauge

from schema.service import http_crowd
from schema.service.http_crowd import Crowd, IpNetwork
from schema.service.problems import Problem, Refusal, Trouble

log = structlog.get_logger(__name__)

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
RequestFactory = Callable[
    [RawRequestMessage, StreamReader, web.RequestHandler, AbstractStreamWriter, "asyncio.Task[None]"], web.BaseRequest
]

HEADERS_BYTES_MAX: Final = 65_536  # of one request: decoded and in pieces they take twice as much, of every stranger
CUTS: Final = ("slow", "large", "rested", "crowded")  # why a connection is ended by us
LINGER_S: Final = 2.0  # after an answer to a body that nobody wants: long enough for the sender to read it


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """What is expected of who is connected."""

    connections_max: int
    per_address_max: int
    trusted: tuple[IpNetwork, ...]
    headers_within_s: float
    body_within_s: float
    body_bytes_max: int
    rest_s: float
    stop_within_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Who lives behind the door: how they answer, and how they put and count what the door refuses by itself."""

    answer: Answer  # it reads the body before it takes its time
    request: RequestFactory | None = None  # how requests are made for `answer`, where it wants them made its way
    refusal: Refusal
    refused: Callable[[Problem], None]
    connections: Gauge
    cut: Counter
    forgets_the_gone: bool  # whether who hangs up is not answered any more, and its handler is cancelled


class Connection(web.RequestHandler):
    """One connection."""

    def __init__(
        self, server: web.Server, *, house: House, manners: Manners, crowd: "Crowd[Connection]", **options: Any
    ) -> None:
        super().__init__(server, **options)
        self.house = house
        self.manners = manners
        self._crowd = crowd
        self.address = ""
        self.is_trusted = False
        self.is_busy = False
        self.is_proven = False
        self.since_s = 0.0
        self.expected = ""  # what the present request says that it expects
        self._is_resting = False
        self._is_over = False  # its last words are said
        self._waiting_bytes = 0  # that came and are no whole headers yet
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self.address = http_crowd.group(peer[0]) if peer else ""
        self.is_trusted = bool(peer) and http_crowd.is_in(peer[0], self.manners.trusted)
        self.since_s = self._loop.time()
        in_the_way = self._crowd.in_the_way(self)
        if in_the_way is not self:
            self._crowd.guests.add(self)
            self._expect(self.manners.headers_within_s)
        if in_the_way is not None:
            in_the_way.cut("crowded")
        self.house.connections.set(len(self._crowd.guests))

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        if self._is_resting:
            self._is_resting = False
            self._expect(self.manners.headers_within_s)
        super().data_received(data)
        is_waiting = self._waiter is not None and not self._waiter.done()  # aiohttp, for the next request's headers
        self._waiting_bytes = self._waiting_bytes + len(data) if is_waiting else 0
        if self._waiting_bytes > HEADERS_BYTES_MAX:
            self._end_with(self.too_large(), why="large")

    def connection_lost(self, exc: BaseException | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def begin(self) -> None:
        """The headers are here. The body's own deadline comes before this one, and leaves time to say so."""
        self._is_resting = False
        self._expect(self.manners.body_within_s + LINGER_S)

    def take(self) -> None:
        """The request is whole: how long its answer takes is for who gives it."""
        self._expect(None)

    def prove(self) -> None:
        """The request is from who may send it: it is answered whatever the crowd, and stays before others."""
        self.is_busy = self.is_proven = True

    def rest(self) -> None:
        """The request is answered: the answer must be taken, and the next request begin, in time."""
        if self.transport is None:
            return  # the sender hung up meanwhile
        if self.is_busy:
            self.since_s = self._loop.time()
        self.is_busy = False
        self._is_resting = True
        self._expect(self.manners.rest_s)

    def too_large(self) -> Problem:
        """What is said to headers that are too large altogether."""
        size = f"at most {HEADERS_BYTES_MAX} bytes"
        detail = f"The headers may have {size} in all."
        return self.house.refusal(Trouble.BAD_HTTP, detail, where="headers", expected=size)

    def cut(self, why: str) -> None:
        """End the connection now."""
        self.house.cut.labels(why).inc()
        self._forget()
        transport = self.transport
        if not isinstance(transport, asyncio.Transport):
            return
        if why == "slow" and not transport.get_write_buffer_size():
            detail = f"The headers did not come within {self.manners.headers_within_s:g} s."
            transport.write(self.house.refusal(Trouble.TOO_SLOW, detail, where="headers", expected="all of them").raw())
            self.force_close()
            self._loop.call_later(LINGER_S, transport.abort)  # whether or not that was taken
        else:
            transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it quotes the request
    ) -> web.StreamResponse:
        """Aiohttp's word for what it cannot read, and for what a handler did not catch. Quotes nothing of the request,
        for a header that cannot be read may hold a secret.
        """
        if status == HTTPStatus.BAD_REQUEST:
            problem = self.house.refusal(Trouble.BAD_HTTP, f"This cannot be read as HTTP: {type(exc).__name__}.")
        else:
            log.error("a bug", exc_info=exc)
            problem = self.house.refusal(Trouble.BUG, "A bug of ours. It is logged; nothing was done.")
        self.house.refused(problem)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        return problem.response()

    def _end_with(self, problem: Problem, *, why: str) -> None:
        """Say it, and hear nothing more. Who is still sending would lose the answer if we hung up at once."""
        transport = self.transport
        if not isinstance(transport, asyncio.Transport) or transport.get_write_buffer_size():
            self.cut(why)
            return
        self.house.cut.labels(why).inc()
        self._is_over = True
        self._parser = None  # with all that it holds
        transport.write(problem.raw())
        transport.write_eof()
        self._expect(LINGER_S)

    def _expect(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self._loop.call_later(seconds, self._run_out)

    def _run_out(self) -> None:
        if self._is_over and isinstance(self.transport, asyncio.Transport):
            self.transport.abort()
            return
        self.cut("rested" if self._is_resting else "slow")

    def _forget(self) -> None:
        self._expect(None)
        self._crowd.guests.discard(self)
        self.house.connections.set(len(self._crowd.guests))
