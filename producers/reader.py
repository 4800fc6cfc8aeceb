"""Reading the state of many wallets, a few at a time, each at least as new as what it was touched for."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from producers.metrics import Metrics
from producers.source import Source, State, Unavailable
from producers.wallets import Touch
from schema.stellar import AccountId, Asset, Malformed

log = structlog.get_logger(__name__)

READS_AT_ONCE: Final = 16
LAGGING_ATTEMPTS_MAX: Final = 8  # about six seconds; what still lags waits for the next cycle
LAGGING_WAIT_S: Final = 0.1
LAGGING_WAIT_S_MAX: Final = 1.5


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
        self,
        source: Source,
        *,
        asset: Asset,
        metrics: Metrics,
        clock: Callable[[], datetime],
        reads_at_once: int = READS_AT_ONCE,
    ) -> None:
        self._source = source
        self._asset = asset
        self._metrics = metrics
        self._clock = clock
        self._reads_at_once = reads_at_once

    async def read(self, due: Sequence[tuple[AccountId, Touch]], *, seconds: float) -> list[Sighting]:
        """Read these in order and begin none when the time is over. What is missing in the answer stays due: the
        source was away, or behind, or the time was short.
        """
        waiting = deque(due)
        found: list[Sighting] = []
        ends_at = asyncio.get_running_loop().time() + seconds

        async def work() -> None:
            while waiting and asyncio.get_running_loop().time() < ends_at:
                account_id, touch = waiting.popleft()
                sighting = await self._sight(account_id, touch)
                if sighting is not None:
                    found.append(sighting)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(self._reads_at_once, len(due))):
                tasks.create_task(work())
        return found

    async def _sight(self, account_id: AccountId, touch: Touch) -> Sighting | None:
        state = fault = None
        try:
            state = await self._read_new_enough(account_id, touch)
        except Unavailable as unavailable:
            log.warning("wallet not read", account_id=account_id, reason=str(unavailable)[:300])
            return None
        except Malformed as malformed:
            fault = malformed
        if state is None and fault is None:
            return None
        return Sighting(account_id=account_id, touch=touch, read_at=self._clock(), state=state, fault=fault)

    async def _read_new_enough(self, account_id: AccountId, touch: Touch) -> State | None:
        """The state in the ledger of the newest payment or later: an older one would be told as if it were after it."""
        wait_s = LAGGING_WAIT_S
        for _ in range(LAGGING_ATTEMPTS_MAX):
            state = await self._source.state(account_id, self._asset)
            self._metrics.reads.inc()
            if state.observed >= touch.at_least:
                return state
            self._metrics.reads_lagging.inc()
            await asyncio.sleep(wait_s * random.uniform(0.7, 1.3))  # noqa: S311 - jitter
            wait_s = min(2 * wait_s, LAGGING_WAIT_S_MAX)
        log.warning("the source's state is behind its history", account_id=account_id, ledger=touch.at_least)
        return None
