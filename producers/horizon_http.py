"""Requests to Horizon, and the wait in a stream. How often, and for how long, is in asking.py; what, in horizon.py.

A 404 counts as "not there" only when Horizon itself says so: of a state with the ledger it looked at, of a history in
its own words. A proxy's 404 is a failure, no balance of 0 and no history that was forgotten; its 410 is one, too.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import aiohttp

from producers import asking, horizon_wire, sse
from producers.asking import Asking, Reply
from producers.budget import Budget
from producers.clock import now_s
from producers.source import Fatal, Unavailable, making_sense
from schema.service.readiness import Readiness
from schema.stellar import Cursor, Ledger, Malformed

SILENCE_S_MAX: Final = 70.0  # Horizon ends a stream after 55 s: a longer silence is a dead connection
STREAM_S_MAX: Final = 150.0
STREAM_LOOK_S: Final = 5  # a stream looks for a new ledger this often, and a look can cost one request
_NOT_FOUND: Final = 404
_GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Parsed:
    """What came back, as JSON."""

    body: Any  # None: 404
    observed: Ledger | None  # in which ledger a state was read


class HorizonHttp(Asking):
    """One Horizon, asked."""

    part = "horizon"

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        budget: Budget,
        readiness: Readiness,
        silence_s_max: float = SILENCE_S_MAX,
    ) -> None:
        super().__init__(session, url, budget=budget, readiness=readiness)
        self._silence_s_max = silence_s_max
        self._looks_unpaid: dict[str, int] = {}  # what a path's last stream cost while it waited: paid before the next

    async def get(
        self,
        path: str,
        parameters: Mapping[str, str] | None = None,
        *,
        is_state: bool = False,
        must_be_there: bool = False,
        in_bulk: bool = False,
    ) -> Parsed:
        return await self._answered(
            lambda: self._ask(path, parameters or {}, is_state=is_state, must_be_there=must_be_there, in_bulk=in_bulk)
        )

    async def _ask(
        self, path: str, parameters: Mapping[str, str], *, is_state: bool, must_be_there: bool, in_bulk: bool
    ) -> Parsed:
        reply = await self._send(path, "GET", f"{self.url}{path}", in_bulk=in_bulk, params=parameters)
        observed = horizon_wire.latest_ledger(reply.headers)
        if reply.status not in (asking.OK, _NOT_FOUND):
            self._refuse(path, reply)
        if is_state:
            if observed is None:
                raise Unavailable(f"{path}: an answer without the header Latest-Ledger")
            self.check_newest(path, observed)
        if reply.status == _NOT_FOUND:
            if must_be_there:
                raise Unavailable(f"{path}: not there yet")
            if not is_state and not horizon_wire.is_problem(reply.body, "not_found"):
                raise Unavailable(f"{path}: {_NOT_FOUND} by another than Horizon: {horizon_wire.problem(reply.body)}")
            return Parsed(None, observed)
        with making_sense(path):
            return Parsed(horizon_wire.parse(reply.body), observed)

    def _refuse(self, path: str, reply: Reply) -> NoReturn:
        problem = horizon_wire.problem(reply.body)
        if reply.status == _GONE and horizon_wire.is_problem(reply.body, "before_history"):
            raise Fatal(
                f"{path}: {_GONE} {problem}\nHorizon no longer has the ledgers that come next: see --accept-gap"
            )
        self._fail(path, reply, problem)

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
        began_s = now_s()
        parser = sse.Parser()
        try:
            async with (
                asyncio.timeout(asking.REQUEST_TIMEOUT.total) as greeting,  # Horizon says hello at once
                self._session.get(
                    f"{self.url}{path}",
                    params={"cursor": cursor, "order": "asc", "limit": "1"},
                    headers={"Accept": "text/event-stream", "Cache-Control": "no-cache"},
                    timeout=aiohttp.ClientTimeout(total=STREAM_S_MAX, sock_connect=5, sock_read=self._silence_s_max),
                ) as response,
            ):
                if response.status != asking.OK:
                    self._refuse(f"{path} (stream)", await self._read(path, response))
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
            raise Unavailable(f"the stream is dead: {self._words(error)}") from error
        finally:
            self._looks_unpaid[path] = int((now_s() - began_s) / STREAM_LOOK_S)
        raise Unavailable("the stream ended without a goodbye")
