"""Whether what a poll told was a gap in a stream: known once the consumer has recorded it."""

import asyncio
from typing import Final

import structlog

from producers.poll_compare import Found, Suspect, judge
from producers.poll_metrics import PollMetrics
from producers.poll_store import PollStore
from producers.store import Away
from schema.stellar import AccountId, Network, format_stroops

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
        self._open: dict[AccountId, tuple[Suspect, float]] = {}
        self._is_any = asyncio.Event()

    def note(self, found: Found | Suspect) -> None:
        """A fact was told."""
        if isinstance(found, Found):
            self._count(found)
            return
        if len(self._open) >= SUSPECTS_MAX or found.event.account_id in self._open:
            self._count(Found.UNDECIDED)
            return
        self._open[found.event.account_id] = found, _now_s()
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
            now_s = _now_s()
            for account_id, (suspect, since_s) in list(self._open.items()):
                if now_s - since_s >= seconds:
                    self._end(account_id, suspect, Found.UNDECIDED)
            if self._open:
                await asyncio.sleep(LOOK_S)  # the consumer says nothing when it has come to a fact
        self._is_any.clear()

    async def _look(self) -> None:
        wanted = {account_id: suspect.event.ledger for account_id, (suspect, _) in self._open.items()}
        recorded = await self._store.recorded(wanted, self._network)
        for account_id in wanted:
            suspect = self._open[account_id][0]
            found = judge(suspect, recorded[account_id]) if account_id in recorded else Found.UNDECIDED
            if found is not None:
                self._end(account_id, suspect, found)

    def _end(self, account_id: AccountId, suspect: Suspect, found: Found) -> None:
        del self._open[account_id]
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


def _now_s() -> float:
    return asyncio.get_running_loop().time()
