"""Requests to a source over HTTP, whatever it speaks: deadlines, limits, budget, attempts.

Every request has a deadline, a limit on its body, a place in the budget, and a few jittered attempts; what still fails
is Unavailable, and the caller decides how long to go on asking. A ledger far beyond the newest one known is another
network's, whatever balancer led there. The address may carry a key: no error's own words show it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NoReturn, TypeVar

import aiohttp
import stamina

from producers import horizon_wire
from producers.budget import Budget
from producers.clock import now_s
from producers.source import Unavailable
from schema.service.readiness import Readiness
from schema.stellar import Ledger

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
PAUSE_S: Final = 10.0  # after a 429 that does not say how long
OK: Final = 200
_TOO_MANY: Final = 429
T = TypeVar("T")


def open_session() -> aiohttp.ClientSession:
    """The session to give to a source; the caller closes it."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, keepalive_timeout=IDLE_S_MAX),
        headers={"User-Agent": "stellar-auto-deposit", "Accept": "application/json"},
        timeout=REQUEST_TIMEOUT,
    )


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Asking:
    """One source, asked. `newest` is the newest ledger it told of since it first said which it has; 0: not yet."""

    part: ClassVar[str]  # what the readiness page calls it; with _URL behind it, the variable that says where it is
    final: ClassVar[tuple[type[Unavailable], ...]] = ()  # answers, if bad ones: to ask again would not help

    def __init__(self, session: aiohttp.ClientSession, url: str, *, budget: Budget, readiness: Readiness) -> None:
        self.url = url
        self.newest = Ledger(0)
        self._session = session
        self._budget = budget
        self._readiness = readiness

    def is_far_beyond(self, ledger: Ledger) -> bool:
        """Whether this ledger cannot be of the network that was asked so far."""
        return self.newest > 0 and ledger > self.newest + LEDGERS_AHEAD_MAX

    def check_newest(self, what: str, ledger: Ledger) -> None:
        """Unavailable when it cannot."""
        if self.is_far_beyond(ledger):
            raise Unavailable(f"{what}: ledger {ledger}, and the newest was {self.newest}: another network's replica?")
        if self.newest:
            self.newest = max(self.newest, ledger)

    async def _answered(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What it brings in a few attempts, and on the readiness page whether it does."""
        began_s = now_s()
        try:
            async for attempt in stamina.retry_context(
                on=self._is_worth_another,
                attempts=ATTEMPTS_MAX,
                timeout=None,
                wait_initial=0.1,
                wait_max=RETRY_WAIT_S_MAX,
                wait_jitter=RETRY_JITTER_S,
            ):
                with attempt:
                    try:
                        found = await ask()
                    except Unavailable as unavailable:
                        if now_s() - began_s >= PATIENCE_S:
                            self._readiness.down(self.part, str(unavailable))
                        raise
        except self.final:
            self._readiness.up(self.part)  # it answers
            raise
        except Unavailable as unavailable:
            self._readiness.down(self.part, str(unavailable))
            raise
        self._readiness.up(self.part)
        return found

    def _is_worth_another(self, error: Exception) -> bool:
        return isinstance(error, Unavailable) and not isinstance(error, self.final)

    async def _send(self, what: str, method: str, url: str, *, in_bulk: bool = False, **request: Any) -> Reply:
        """One request, when the budget has a place for it."""
        await self._budget.admit(in_bulk=in_bulk)
        try:
            async with self._session.request(method, url, **request) as response:
                if response.method != method:  # a redirect that made a GET of it, and lost the question
                    raise Unavailable(
                        f"{what}: {response.history[0].status} to {response.url.origin()}, where a {method} is not "
                        f"asked again: set {self.part.upper()}_URL to where it leads"
                    )
                return await self._read(what, response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{what}: {self._words(error)}") from error

    async def _read(self, what: str, response: aiohttp.ClientResponse) -> Reply:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                raise Unavailable(f"{what}: more than {BODY_BYTES_MAX} bytes")
        return Reply(response.status, response.headers, bytes(body))

    def _fail(self, what: str, reply: Reply, problem: str) -> NoReturn:
        """Unavailable; where it was asked too much, nobody asks it for as long as it says."""
        reason = f"{what}: {reply.status} {problem}"
        if reply.status == _TOO_MANY:
            pause_s = horizon_wire.retry_after_s(reply.headers)
            self._budget.pause(PAUSE_S if pause_s is None else pause_s)
            self._readiness.down(self.part, reason)  # until the pause is over, and somebody was let through
        raise Unavailable(reason)

    def _words(self, error: BaseException) -> str:
        said = f"{type(error).__name__}: {error}".replace(self.url, f"{self.part.upper()}_URL")
        return said[:REASON_CHARACTERS_MAX]
