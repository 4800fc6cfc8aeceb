"""Reading the state of many wallets, a few at a time, each at least as new as what it was touched for.

A wallet whose read hangs or fails does not hold up the others: a round ends without it, its read goes on, and after a
failure it is left alone for a while.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from producers.clock import wait_about
from producers.parts import Parts
from producers.source import State, Unavailable
from producers.wallet import Touch
from schema.stellar import AccountId, Malformed

log = structlog.get_logger(__name__)

READS_AT_ONCE: Final = 16
LAGGING_ATTEMPTS_MAX: Final = 8  # about six seconds; what still lags waits for the next cycle
LAGGING_WAIT_S: Final = 0.1
FAILED_WAIT_S: Final = 0.25
FAILED_WAIT_S_MAX: Final = 15.0
LAGGING_WAIT_S_MAX: Final = 1.5
FAULTS_MAX: Final = 4  # some eight seconds: what makes no sense once may come from one broken replica of several


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A wallet's state as it was read for a touch; or, instead, what made no sense about it."""

    account_id: AccountId
    touch: Touch
    read_at: datetime
    state: State | None
    fault: Malformed | None = None


class Reader:
    """Reads states from the source, with a limit on how many at once."""

    def __init__(
        self, parts: Parts, *, wake: asyncio.Event, reads_at_once: int = READS_AT_ONCE, faults_max: int = FAULTS_MAX
    ) -> None:
        self._source, self._asset = parts.source, parts.asset
        self._metrics, self._clock = parts.metrics, parts.clock
        self._wake = wake
        self._reads_at_once = reads_at_once
        self._faults_max = faults_max
        self._in_flight: dict[AccountId, asyncio.Task[Sighting | None]] = {}
        self._failures: dict[AccountId, tuple[int, float]] = {}  # how many in a row, and until when it is left alone

    async def read(self, due: Sequence[tuple[AccountId, Touch]], *, seconds: float) -> list[Sighting]:
        """Read these in order, for so long. What is missing in the answer stays due: the source was away or behind for
        it, or the time was short. Reads of earlier rounds come with a later one, when they are done.
        """
        now_s = asyncio.get_running_loop().time()
        ends_at = now_s + seconds
        found = self._take_done()
        known = {sighting.account_id for sighting in found} | self._in_flight.keys()
        waiting = deque(each for each in due if each[0] not in known and not self._is_left_alone(each[0], now_s))
        begun: set[asyncio.Task[Sighting | None]] = set()
        while True:
            while waiting and len(self._in_flight) < self._reads_at_once and now_s < ends_at:
                account_id, touch = waiting.popleft()
                task = asyncio.create_task(self._sight(account_id, touch))
                self._in_flight[account_id] = task
                begun.add(task)
            if now_s >= ends_at or (not begun and not (waiting and self._in_flight)):
                self._wake_when_done()
                return found
            reading = self._in_flight.values()
            await asyncio.wait(reading, timeout=ends_at - now_s, return_when=asyncio.FIRST_COMPLETED)
            found += self._take_done()
            begun = {task for task in begun if not task.done()}
            now_s = asyncio.get_running_loop().time()

    def close(self) -> None:
        """End what is still being read."""
        for task in self._in_flight.values():
            task.cancel()

    def _wake_when_done(self) -> None:
        for task in self._in_flight.values():
            task.add_done_callback(lambda _task: self._wake.set())

    def _take_done(self) -> list[Sighting]:
        found = []
        for account_id, task in list(self._in_flight.items()):
            if not task.done():
                continue
            del self._in_flight[account_id]
            sighting = task.result()
            failures = self._failures.get(account_id, (0, 0.0))[0] + 1
            if sighting is not None and (sighting.fault is None or failures > self._faults_max):
                self._failures.pop(account_id, None)
                found.append(sighting)
                continue
            wait_s = min(FAILED_WAIT_S * 2 ** min(failures, 10), FAILED_WAIT_S_MAX)
            self._failures[account_id] = (failures, asyncio.get_running_loop().time() + wait_s)
        return found

    def _is_left_alone(self, account_id: AccountId, now_s: float) -> bool:
        return account_id in self._failures and now_s < self._failures[account_id][1]

    async def _sight(self, account_id: AccountId, touch: Touch) -> Sighting | None:
        state = fault = None
        try:
            state = await self._read_new_enough(account_id, touch)
        except Unavailable as unavailable:
            log.warning("wallet not read", account_id=account_id, reason=str(unavailable)[:300])
            return None
        except Malformed as malformed:
            log.warning("a wallet's state makes no sense", account_id=account_id, reason=str(malformed)[:300])
            fault = malformed
        if state is None and fault is None:
            return None
        return Sighting(account_id=account_id, touch=touch, read_at=self._clock(), state=state, fault=fault)

    async def _read_new_enough(self, account_id: AccountId, touch: Touch) -> State | None:
        """The state in the ledger of the newest payment or later: an older one would be told as if it were after it."""
        wait_s = LAGGING_WAIT_S
        for _ in range(LAGGING_ATTEMPTS_MAX):
            state = await self._source.state(account_id, self._asset, in_bulk=not touch.holds_cursor)
            self._metrics.reads.inc()
            if state.observed >= touch.at_least:
                return state
            self._metrics.reads_lagging.inc()
            await wait_about(wait_s)
            wait_s = min(2 * wait_s, LAGGING_WAIT_S_MAX)
        log.warning("the source's state is behind its history", account_id=account_id, ledger=touch.at_least)
        return None
