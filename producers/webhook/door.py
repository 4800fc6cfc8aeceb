"""The public door: aiohttp's server, with a deadline on everything that a sender may take its time for.

By itself aiohttp waits an hour for a request to begin, and for ever for one to go on. Here a connection must bring its
headers in time, from when it was made or from the first byte after an answer, and may rest only so long in between.
The body's deadline and the answer's are the handler's. Where there are too many connections, the one that is longest
without a request that proved itself is cut, so that whoever only sits there never keeps anybody out.
"""

import asyncio
import contextlib
import logging
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import structlog
from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from yarl import URL

from producers.source import Fatal
from producers.webhook import limits as webhook_limits
from producers.webhook.answers import PROBLEM_TYPE, Outcome, Problem
from producers.webhook.limits import Crowd, IpNetwork
from producers.webhook.metrics import WebhookMetrics

log = structlog.get_logger(__name__)

BACKLOG: Final = 1_024
LINGER_S: Final = 2.0  # after an answer to a body that nobody wants: long enough for the sender to read it
FILES_BESIDE: Final = 300  # open files of everything else: Horizon, brokers, database, connections being closed
HEADER_LINE_BYTES_MAX: Final = 8_190
HEADERS_MAX: Final = 64
_NEVER_S: Final = 1e6  # aiohttp's own timer: ours come before it

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """What is expected of who is connected."""

    headers_within_s: float
    rest_s: float
    connections_max: int
    per_address_max: int
    trusted: tuple[IpNetwork, ...]
    stop_within_s: float


class Door(web.RequestHandler):
    """One connection."""

    def __init__(self, server: "Server", **options: Any) -> None:
        super().__init__(server, **options)
        self.address = ""
        self.is_trusted = False
        self.is_busy = False
        self.is_proven = False
        self.since_s = 0.0
        self._house = server
        self._is_resting = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self.address = webhook_limits.group(peer[0]) if peer else ""
        self.is_trusted = bool(peer) and webhook_limits.is_in(peer[0], self._house.manners.trusted)
        self.since_s = self._loop.time()
        in_the_way = self._house.crowd.in_the_way(self)
        if in_the_way is not self:
            self._house.crowd.guests.add(self)
            self._expect(self._house.manners.headers_within_s)
        if in_the_way is not None:
            in_the_way.cut("crowded")
        self._house.metrics.connections.set(len(self._house.crowd.guests))

    def data_received(self, data: bytes) -> None:
        if self._is_resting:
            self._is_resting = False
            self._expect(self._house.manners.headers_within_s)
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def begin(self) -> None:
        """The headers are here: what comes next has deadlines of its own."""
        self._is_resting = False
        self._expect(None)

    def prove(self) -> None:
        """The request is from who may send it: it is finished whatever the crowd."""
        self.is_busy = self.is_proven = True

    def rest(self) -> None:
        """The request is answered."""
        if self.transport is None:
            return  # the sender hung up meanwhile
        if self.is_busy:
            self.since_s = self._loop.time()
        self.is_busy = False
        self._is_resting = True
        self._expect(self._house.manners.rest_s)

    def cut(self, why: str) -> None:
        """End the connection now."""
        self._house.metrics.cut.labels(why).inc()
        self._forget()
        transport = self.transport
        if isinstance(transport, asyncio.Transport):
            if why == "slow" and not transport.get_write_buffer_size():
                transport.write(_TOO_SLOW)
                self.force_close()
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
        if status == Problem(Outcome.BAD_HTTP, "").status:
            problem = Problem(Outcome.BAD_HTTP, f"it cannot be read as HTTP: {type(exc).__name__}")
        else:
            log.error("a bug", exc_info=exc)
            problem = Problem(Outcome.BUG, "it is logged, and nothing was recorded")
        self._house.metrics.requests.labels(problem.outcome.value).inc()
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        return response(problem)

    def _expect(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self._loop.call_later(seconds, self._run_out)

    def _run_out(self) -> None:
        self.cut("rested" if self._is_resting else "slow")

    def _forget(self) -> None:
        self._expect(None)
        self._house.crowd.guests.discard(self)
        self._house.metrics.connections.set(len(self._house.crowd.guests))


class Server(web.Server):
    """Makes a Door for each connection."""

    def __init__(self, handler: Handler, manners: Manners, metrics: WebhookMetrics) -> None:
        super().__init__(handler, request_factory=self._request)
        self.manners = manners
        self.metrics = metrics
        self.crowd: Crowd[Door] = Crowd(
            connections_max=manners.connections_max, per_address_max=manners.per_address_max
        )

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> web.BaseRequest:
        """In `CONNECT  ` aiohttp's parser finds no address, on which its request would break: it is for no page."""
        if cast("URL | None", message.url) is None:
            message = message._replace(url=URL())
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop)

    def __call__(self) -> web.RequestHandler:
        return Door(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=_NEVER_S,
            lingering_time=LINGER_S,
            max_line_size=HEADER_LINE_BYTES_MAX,
            max_field_size=HEADER_LINE_BYTES_MAX,
            max_headers=HEADERS_MAX,
            auto_decompress=False,  # what is signed are the bytes; and nobody sends us a bomb
            access_log=None,
            logger=logging.getLogger(__name__),
        )


def response(problem: Problem) -> web.Response:
    """The problem as an answer."""
    answer = web.Response(
        status=problem.status, body=problem.body(), content_type=PROBLEM_TYPE, headers=problem.headers()
    )
    if problem.ends_connection:
        answer.force_close()
    return answer


@contextlib.asynccontextmanager
async def opened(
    handler: Handler, manners: Manners, metrics: WebhookMetrics, *, host: str, port: int
) -> AsyncIterator[None]:
    """Serve until the block ends; then nobody new is let in, and what is in hand is finished, within its time."""
    _allow_files(manners.connections_max + FILES_BESIDE)
    runner = web.ServerRunner(Server(handler, manners, metrics), shutdown_timeout=manners.stop_within_s)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=BACKLOG).start()
        log.info("webhooks are taken in", door="http://{}:{}".format(*runner.addresses[0][:2]))
        yield
    finally:
        closing = asyncio.ensure_future(runner.cleanup())
        while not closing.done():  # a signal is repeated while we finish: it ends by itself, within stop_within_s
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(closing)
        closing.result()


def _allow_files(wanted: int) -> None:
    """Fatal when the connections that may come are more than this process may have files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise Fatal(
                f"WEBHOOK_CONNECTIONS_MAX needs {wanted} open files, and this process may have {hard}: "
                "raise its limit (ulimit -n) or lower WEBHOOK_CONNECTIONS_MAX"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _raw(problem: Problem) -> bytes:
    """The problem as bytes, where there is no request to answer."""
    body = problem.body()
    head = f"HTTP/1.1 {problem.status} Request Timeout\r\nContent-Type: {PROBLEM_TYPE}\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


_TOO_SLOW: Final = _raw(
    Problem(Outcome.TOO_SLOW, "the headers did not come in time", where="headers", expected="all of them at once")
)
