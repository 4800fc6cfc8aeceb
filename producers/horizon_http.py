"""Requests to Horizon: deadlines, limits, budget, attempts, and the wait in a stream. What is asked is in horizon.py.

Every request has a deadline, a limit on its body, a place in the budget, and a few jittered attempts; what still fails
is Unavailable, and the caller decides how long to go on asking. A 404 counts as "not there" only when Horizon itself
says so, with the ledger it looked at: a proxy's 404 is a failure, not a balance of 0. A ledger far beyond the newest
one known is another network's, whatever balancer led there.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import aiohttp
import stamina

from producers import horizon_wire, sse
from producers.budget import Budget
from producers.source import Fatal, Unavailable
from schema.service.readiness import Readiness
from schema.stellar import Cursor, Ledger, Malformed

ATTEMPTS_MAX: Final = 4
RETRY_WAIT_S_MAX: Final = 3.0
RETRY_JITTER_S: Final = 0.3
REQUEST_TIMEOUT: Final = aiohttp.ClientTimeout(total=8, sock_connect=5)  # a silent link: the next attempt by 9 s
IDLE_S_MAX: Final = 6.0  # shorter than that: when one attempt is given up, what else lay in the pool is too
PATIENCE_S: Final = 5.0  # failing for longer than this is said on the readiness page before the attempts are used up
BODY_BYTES_MAX: Final = 32 * 1024 * 1024  # 200 of the largest contract calls
CONNECTIONS_MAX: Final = 64  # more than hanging reads can fill: the history is read whatever hangs
REASON_CHARACTERS_MAX: Final = 300  # of an error that may quote what came over the wire
LEDGERS_AHEAD_MAX: Final = 1_000_000  # two months; the networks are further apart
SILENCE_S_MAX: Final = 70.0  # Horizon ends a stream after 55 s: a longer silence is a dead connection
STREAM_S_MAX: Final = 150.0
STREAM_LOOK_S: Final = 5  # a stream looks for a new ledger this often, and a look can cost one request
PAUSE_S: Final = 10.0  # after a 429 that does not say how long
_OK: Final = 200
_NOT_FOUND: Final = 404
_GONE: Final = 410
_TOO_MANY: Final = 429


def open_session() -> aiohttp.ClientSession:
    """The session to give to Horizon; the caller closes it."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, keepalive_timeout=IDLE_S_MAX),
        headers={"User-Agent": "stellar-auto-deposit", "Accept": "application/json"},
        timeout=REQUEST_TIMEOUT,
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, as JSON."""

    body: Any  # None: 404
    observed: Ledger | None  # in which ledger a state was read


class HorizonHttp:
    """One Horizon, asked. `newest` is the newest ledger that any answer told of; None: nobody asked yet."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        budget: Budget,
        readiness: Readiness,
        silence_s_max: float = SILENCE_S_MAX,
    ) -> None:
        self.url = url
        self.newest: Ledger | None = None
        self._session = session
        self._budget = budget
        self._readiness = readiness
        self._silence_s_max = silence_s_max
        self._looks_unpaid: dict[str, int] = {}  # what a path's last stream cost while it waited: paid before the next

    async def get(
        self,
        path: str,
        parameters: Mapping[str, str] | None = None,
        *,
        is_state: bool = False,
        must_be_there: bool = False,
    ) -> Answer:
        began_s = _now_s()
        try:
            async for attempt in stamina.retry_context(
                on=Unavailable,
                attempts=ATTEMPTS_MAX,
                timeout=None,
                wait_initial=0.1,
                wait_max=RETRY_WAIT_S_MAX,
                wait_jitter=RETRY_JITTER_S,
            ):
                with attempt:
                    try:
                        answer = await self._ask(path, parameters or {}, is_state=is_state, must_be_there=must_be_there)
                    except Unavailable as unavailable:
                        if _now_s() - began_s >= PATIENCE_S:
                            self._readiness.down("horizon", str(unavailable))
                        raise
        except Unavailable as unavailable:
            self._readiness.down("horizon", str(unavailable))
            raise
        self._readiness.up("horizon")
        return answer

    async def _ask(self, path: str, parameters: Mapping[str, str], *, is_state: bool, must_be_there: bool) -> Answer:
        await self._budget.admit()
        try:
            async with self._session.get(f"{self.url}{path}", params=parameters) as response:
                body = await _read(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{path}: {_words(error)}") from error
        observed = horizon_wire.latest_ledger(response.headers)
        if response.status not in (_OK, _NOT_FOUND):
            self._refuse(path, response.status, response.headers, body)
        if is_state:
            if observed is None:
                raise Unavailable(f"{path}: an answer without the header Latest-Ledger")
            self.check_newest(path, observed)
        if response.status == _NOT_FOUND:
            if must_be_there:
                raise Unavailable(f"{path}: not there yet")
            return Answer(None, observed)
        try:
            return Answer(horizon_wire.parse(body), observed)
        except Malformed as malformed:
            raise Unavailable(f"{path}: {malformed}") from malformed

    def _refuse(self, path: str, status: int, headers: Mapping[str, str], body: bytes) -> NoReturn:
        reason = f"{path}: {status} {horizon_wire.problem(body)}"
        if status == _GONE:
            raise Fatal(f"{reason}\nHorizon no longer has the ledgers that come next: see --accept-gap")
        pause_s = horizon_wire.retry_after_s(headers)
        if status == _TOO_MANY:
            self._budget.pause(PAUSE_S if pause_s is None else pause_s)
            self._readiness.down("horizon", reason)  # until the pause is over, and somebody was let through
        raise Unavailable(reason)

    def is_far_beyond(self, ledger: Ledger) -> bool:
        """Whether this ledger cannot be of the network that was asked so far."""
        return self.newest is not None and ledger > self.newest + LEDGERS_AHEAD_MAX

    def check_newest(self, path: str, ledger: Ledger) -> None:
        """Unavailable when it cannot."""
        if self.is_far_beyond(ledger):
            raise Unavailable(f"{path}: ledger {ledger}, and the newest was {self.newest}: another network's replica?")
        if self.newest is not None:
            self.newest = max(self.newest, ledger)

    async def record_after(self, path: str, cursor: Cursor, *, part: str) -> bool:
        """Wait until there is a record of this history after the cursor; False when the stream ends before. `part` is
        what the readiness page calls it.
        """
        try:
            return await self._wait_in_stream(path, cursor, part=part)
        except Unavailable as unavailable:
            self._readiness.down(part, str(unavailable))
            raise

    async def _wait_in_stream(self, path: str, cursor: Cursor, *, part: str) -> bool:
        """A stream that ends with its first record: Horizon's way to wait. Its bytes are never taken for payments."""
        await self._budget.admit(1 + self._looks_unpaid.pop(path, 0))
        began_s = _now_s()
        parser = sse.Parser()
        try:
            async with (
                asyncio.timeout(REQUEST_TIMEOUT.total) as greeting,  # Horizon says hello at once
                self._session.get(
                    f"{self.url}{path}",
                    params={"cursor": cursor, "order": "asc", "limit": "1"},
                    headers={"Accept": "text/event-stream", "Cache-Control": "no-cache"},
                    timeout=aiohttp.ClientTimeout(total=STREAM_S_MAX, sock_connect=5, sock_read=self._silence_s_max),
                ) as response,
            ):
                if response.status != _OK:
                    self._refuse(f"{path} (stream)", response.status, response.headers, await _read(response))
                async for chunk in response.content.iter_any():
                    for event in parser.feed(chunk):
                        if event.kind == "message":
                            return True
                        if event.kind == "close":
                            return False
                        if event.kind != "open":
                            raise Unavailable(f"the stream ended with {event.kind}: {event.data[:200]}")
                        greeting.reschedule(None)
                        self._readiness.up(part)
        except (aiohttp.ClientError, TimeoutError, OSError, Malformed) as error:
            raise Unavailable(f"the stream is dead: {_words(error)}") from error
        finally:
            self._looks_unpaid[path] = int((_now_s() - began_s) / STREAM_LOOK_S)
        raise Unavailable("the stream ended without a goodbye")


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:REASON_CHARACTERS_MAX]


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise Unavailable(f"{response.url.path}: more than {BODY_BYTES_MAX} bytes")
    return bytes(body)
