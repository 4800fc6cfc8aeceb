"""An HTTP server that strangers may reach: a limit on everything they can make it hold or wait for.

aiohttp has no time limit on a request that comes in drips, nor on how many connections there are. Here a connection
stands between the socket and aiohttp's own protocol: it has so long to send a whole header, then so long to send the
body, and when too many are open the one that has kept us waiting longest goes. Who is being answered is never cut off
for another.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Middleware
from aiohttp.web_protocol import RequestHandler

from schema.service.problems import Handler, as_problem, problem

log = structlog.get_logger(__name__)

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

LINGER_S: Final = 1.0  # how long what a client still sends is read, after its answer
BACKLOG: Final = 512
_CONTINUE: Final = "100-continue"
HEADER_BYTES_MAX: Final = 16 * 1024  # of one field: a token with many claims has some 4 KiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a client may take up. `header_within_s` counts from the connection, or from the last answer."""

    connections_max: int = 500
    header_within_s: float = 10.0
    body_within_s: float = 10.0
    body_bytes_max: int = 64 * 1024


class Server:
    """An application behind the limits, until `close`."""

    def __init__(self, runner: web.AppRunner, listener: asyncio.Server, gate: "_Gate") -> None:
        self._runner = runner
        self._listener = listener
        self._gate = gate

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    @property
    def counts(self) -> Mapping[str, int]:
        """How many connections are `open` now, and how many were `refused` (all were busy), `pushed_out` for another,
        or `timed_out` since the start.
        """
        return {"open": len(self._gate.open), **self._gate.counts}

    async def close(self) -> None:
        """Take no more, let what is being answered be answered, and cut the rest off. Again it does nothing."""
        self._listener.close()
        await self._runner.cleanup()


async def serve(  # noqa: PLR0913 - what a server takes
    routes: Iterable[web.AbstractRouteDef],
    *,
    host: str,
    port: int,
    limits: Limits,
    middlewares: Iterable[Middleware] = (),
    shutdown_s: float = 5.0,
) -> Server:
    """Serve until closed. What is not handled is a JSON problem; a client that goes away cancels its handler."""
    gate = _Gate(limits)
    app = web.Application(client_max_size=limits.body_bytes_max, middlewares=[gate.middleware, *middlewares])
    app.add_routes(routes)
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_logger(),
        handler_cancellation=True,
        keepalive_timeout=2 * limits.header_within_s,  # the connection comes before it, and counts
        lingering_time=LINGER_S,
        max_field_size=HEADER_BYTES_MAX,
        auto_decompress=False,  # the bytes that came are the bytes that count
        shutdown_timeout=shutdown_s,
    )
    await runner.setup()
    server = runner.server
    if server is None:
        raise AssertionError("a runner that was set up has a server")
    server.request_handler = _expecting_little(server.request_handler)
    listener = await asyncio.get_running_loop().create_server(
        lambda: _Connection(server(), gate), host, port, backlog=BACKLOG
    )
    return Server(runner, listener, gate)


def _expecting_little(handler: _Handler) -> _Handler:
    """Of Expect nothing but 100-continue. aiohttp's own refusal comes before every middleware, and quotes the header:
    one that is no text would be an error of ours.
    """

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if (request.headers.get("Expect") or _CONTINUE).lower() == _CONTINUE:
            return await handler(request)
        detail = f"Of Expect only {_CONTINUE} is known."
        refusal = problem(HTTPStatus.EXPECTATION_FAILED, "expectation_failed", detail)
        refusal.force_close()
        return refusal

    return handle


def _logger() -> logging.Logger:
    logger = logging.getLogger(__name__)
    logger.propagate = False
    logger.handlers = [_Bugs()]
    return logger


class _Bugs(logging.Handler):
    """Of what aiohttp logs: what is ours. What strangers send that is no HTTP is their own affair."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if record.levelno >= logging.ERROR and not isinstance(error, HttpProcessingError):
            log.error("a bug", what=record.getMessage(), exc_info=error)


class _Gate:
    """All connections of one server."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.open: dict[object, _Connection] = {}  # by aiohttp's protocol, which a request knows
        self.waiting: dict[_Connection, None] = {}  # those whose request is awaited, the longest first
        self.counts = {"refused": 0, "pushed_out": 0, "timed_out": 0}

    def has_room(self) -> bool:
        """Whether there is room; who waits longest makes room."""
        if len(self.open) < self.limits.connections_max:
            return True
        if not self.waiting:
            self.counts["refused"] += 1
            return False
        self.counts["pushed_out"] += 1
        next(iter(self.waiting)).abort()
        return True

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The header is here: the body has its own deadline, then the handler takes as long as it takes."""
        connection = self.open.get(request.protocol)
        if connection is not None:
            connection.take_body()
        try:
            refusal = await self._read_body(request)
            if connection is not None:
                connection.begin()
            return refusal or await handler(request)
        except web.HTTPException as error:
            return as_problem(error)
        finally:
            if connection is not None:
                connection.end()

    async def _read_body(self, request: web.Request) -> web.Response | None:
        """The refusal, or None when the body is here, whole."""
        limits = self.limits
        refusal = None
        if (request.content_length or 0) > limits.body_bytes_max:
            refusal = _too_large(limits)
        else:
            try:
                async with asyncio.timeout(limits.body_within_s):
                    await request.read()
            except TimeoutError:
                detail = f"The body did not come within {limits.body_within_s:g} s."
                refusal = problem(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", detail)
            except web.HTTPRequestEntityTooLarge:
                refusal = _too_large(limits)
            except web.RequestPayloadError:
                refusal = problem(HTTPStatus.BAD_REQUEST, "bad_request", "The body does not end as its header says.")
        if refusal is not None:
            refusal.force_close()
        return refusal


def _too_large(limits: Limits) -> web.Response:
    detail = f"The body may have {limits.body_bytes_max} bytes."
    return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", detail)


class _Connection(asyncio.Protocol):
    """Hands everything on to aiohttp, and keeps the time."""

    def __init__(self, inner: RequestHandler, gate: _Gate) -> None:
        self._inner = inner
        self._gate = gate
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"a stream's transport, not {transport!r}")
        self._transport = transport
        if not self._gate.has_room():
            transport.abort()
            return
        self._gate.open[self._inner] = self
        self._inner.connection_made(transport)
        self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self._gate.open.pop(self._inner, None) is not None:
            self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._inner in self._gate.open:
            self._inner.data_received(data)

    def eof_received(self) -> None:
        self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def take_body(self) -> None:
        """A whole header is here. Its body has its own deadline; until it is here, too, others may need the room."""
        self._stop_clock()

    def begin(self) -> None:
        """A whole request is here: it is being answered, and nobody pushes it out."""
        self._stop_timer()

    def end(self) -> None:
        """It is answered; the answer must be taken and the next header come in time."""
        self._await_header()

    def abort(self) -> None:
        """Cut it off, now."""
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()

    def _await_header(self) -> None:
        self._stop_timer()
        if self._transport is None or self._transport.is_closing():
            return
        self._gate.waiting[self] = None
        self._timer = asyncio.get_running_loop().call_later(self._gate.limits.header_within_s, self._time_out)

    def _stop_timer(self) -> None:
        self._gate.waiting.pop(self, None)
        self._stop_clock()

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_out(self) -> None:
        self._gate.counts["timed_out"] += 1
        self.abort()
