"""Whether what a poll told was a gap in a stream: known once the consumer has recorded it."""

import asyncio
from typing import Final

import structlog

from producers.clock import now_s
from producers.poll.compare import Found, Suspect, Version, judge
from producers.poll.metrics import PollMetrics
from producers.poll.store import PollStore
from producers.store import Away
from schema.stellar import Network, format_stroops

log = structlog.get_logger(__name__)

LOOK_S: Final = 0.5
GIVE_UP_S: Final = 600.0
SUSPECTS_MAX: Final = 10_000


class Gaps:
    """Suspects wait here until the consumer has come to them; then they are counted, and gaps are named."""

    def __init__(self, store: PollStore, network: Network, metrics: PollMetrics) -> None:
        self.counts: dict[Found, int] = {}
        self._store = store
        self._network = network
        self._metrics = metrics
        self._open: dict[Version, tuple[Suspect, float]] = {}
        self._is_any = asyncio.Event()

    def note(self, found: Found | Suspect) -> None:
        """A fact was told."""
        if isinstance(found, Found):
            self._count(found)
            return
        version = found.event.account_id, found.event.ledger
        if version in self._open:  # it was told again before the consumer came to it
            return
        if len(self._open) >= SUSPECTS_MAX:
            self._count(Found.UNDECIDED)
            return
        self._open[version] = found, now_s()
        self._is_any.set()

    async def watch(self) -> None:
        """Decide what can be decided, for ever."""
        while True:
            await self._is_any.wait()
            await self.decided(GIVE_UP_S)

    async def decided(self, seconds: float) -> None:
        """Return when nothing is open; what is still open after so many seconds stays undecided."""
        while self._open:
            try:
                await self._look()
            except Away as away:
                log.warning("what the poll found waits for the database", reason=str(away)[:300])
            at_s = now_s()
            for version, (suspect, since_s) in list(self._open.items()):
                if at_s - since_s >= seconds:
                    self._end(version, suspect, Found.UNDECIDED)
            if self._open:
                await asyncio.sleep(LOOK_S)  # the consumer says nothing when it has come to a fact
        self._is_any.clear()

    async def _look(self) -> None:
        wanted = list(self._open)
        recorded = await self._store.recorded(wanted, self._network)
        for version in wanted:
            suspect = self._open[version][0]
            found = judge(suspect, recorded[version]) if version in recorded else Found.UNDECIDED
            if found is not None:
                self._end(version, suspect, found)

    def _end(self, version: Version, suspect: Suspect, found: Found) -> None:
        del self._open[version]
        self._count(found)
        if found is Found.GAP:
            event = suspect.event
            log.warning(
                "found by poll",
                account_id=event.account_id,
                event_id=str(event.event_id),
                ledger=event.ledger,
                balance=format_stroops(event.balance_stroops),
                movements=None if event.movements is None else len(event.movements),
                passed_by={str(name): ledger for name, ledger in suspect.passed.items()},
            )

    def _count(self, found: Found) -> None:
        self.counts[found] = self.counts.get(found, 0) + 1
        self._metrics.found.labels(found.value).inc()
