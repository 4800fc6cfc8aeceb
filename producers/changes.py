"""Following what changed without a payment: offers crossed, claims, clawbacks, pools, authorizations.

Effects only touch wallets: their states are read, and payments up to the version are drained, as for a payment. Most
effects belong to payments; those are left out where the payment was there first (`Wallets.change`).

A task of its own reads the pages, one at a time and within its own share of the requests, while the stream's cycles go
on: a busy network's effects hold up no payment. What it touched is read when there is no payment to be told of. Its
cursor is the stream's second one, saved by the same rule: never beyond a touched wallet that is not told yet.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

import structlog

from producers import effects, payments
from producers.budget import Budget
from producers.clock import now_s
from producers.dead_letters import DeadLetter
from producers.history import Position, SavedCursor, Trail
from producers.metrics import Metrics
from producers.pages import CHANGES, check_any_new, proved
from producers.parts import Pace, Parts
from producers.source import Fatal, History, Page, Source, Unavailable
from producers.start import begin_changes
from producers.waking import AGAIN_S, WAIT_S_MIN, pause
from producers.wallets import CHANGED_AT_ONCE, Wallets
from schema.stellar import Asset, Malformed, Network

log = structlog.get_logger(__name__)

SHARE: Final = 4  # of the requests an hour the pages may take one in so many, and the reads of what they touched too
BURST_REQUESTS: Final = 20
IDLE_DRAINS: Final = 3  # after so many of the stream's idle drains changes are looked for by themselves
BEHIND_S_MAX: Final = 30.0  # five ledgers
SAY_AGAIN_S: Final = 600.0
REMEDY: Final = (
    "raise HORIZON_REQUESTS_PER_HOUR, use a Horizon or Stellar RPC of your own, or set STREAM_CHANGES=false and let "
    "`python -m producers poll` find what is no payment; payments are not affected"
)


class Changes:
    """The stream's second reading: its position, and what it touched."""

    def __init__(  # noqa: PLR0913 - what reading takes
        self,
        source: Source,
        wallets: Wallets,
        *,
        network: Network,
        asset: Asset,
        position: Position,
        metrics: Metrics,
        clock: Callable[[], datetime],
        wake: asyncio.Event,
        requests_per_hour: int,
        wait_s_max: float,
    ) -> None:
        self.position = position
        self.refused: list[DeadLetter] = []  # to be stored before any cursor behind them
        self._source = source
        self._wallets = wallets
        self._network = network
        self._asset = asset
        self._metrics = metrics
        self._clock = clock
        self._wake = wake
        self._pages, self._reads = _share(requests_per_hour), _share(requests_per_hour)
        self._wait_s_max = wait_s_max
        self._newest: effects.Place = (0, 0)
        self._trail = Trail(position)
        self._may_begin = asyncio.Event()
        self._behind_since_s: float | None = now_s()
        self._said_at_s: float | None = None
        self._trouble = ""
        self._restarts = 0
        wallets.saw(position.ledger)

    def wallets_are_known(self) -> None:
        """What is read before that would touch nobody."""
        self._may_begin.set()

    async def follow(self) -> None:
        """Read page after page, for ever; wait where the source has no more."""
        await self._may_begin.wait()
        again_s = AGAIN_S
        while True:
            try:
                page = await self._next_page()
                if page is None or page.full:
                    continue
                self._is_level()
                is_calm = await self._wait()
                again_s = AGAIN_S if is_calm or page.records else await pause(again_s)
            except (Unavailable, Fatal) as error:
                self._trouble = str(error)
                self._is_behind()
                again_s = await pause(again_s)

    async def _next_page(self) -> Page | None:
        """Read and taken; None where it is of a place that was given up meanwhile."""
        restarts = self._restarts
        await self._pages.admit()
        page = await self._source.changes(self.position.cursor)
        if restarts != self._restarts:
            return None
        self._take(page)
        return page

    async def affordable_reads(self) -> int:
        """How many wallets that only changed may be read now; they are taken as read."""
        return await self._reads.afford(min(self._wallets.changed, CHANGED_AT_ONCE))

    def told_up_to(self, open_drain: int | None) -> Position | None:
        """As `Reading.told_up_to`."""
        return self._trail.before(self._wallets.drain + 1 if open_drain is None else open_drain)

    async def check(self, history: History) -> None:
        """Where the place is no longer in the history, or far behind: go on at the tip, and have every wallet read."""
        position, missed = begin_changes(
            history, self._network, SavedCursor(network=self._network, position=self.position)
        )
        if missed:
            log.warning("changes begin at the newest ledger, and every wallet is read", why=missed, remedy=REMEDY)
            self._wallets.drain += 1
            self._wallets.saw(position.ledger)
            await self._wallets.miss_all()
            self._restarts += 1
            self._move_to(position)

    def overdue(self) -> Mapping[str, str]:
        """For the readiness page: that it has been behind for too long, and what to do."""
        if self._behind_since_s is None or (since_s := now_s() - self._behind_since_s) <= BEHIND_S_MAX:
            return {}
        trouble = f" ({self._trouble})" if self._trouble else ""
        return {"changes": f"{self._ledgers_behind()} ledgers behind for {since_s:.0f} s{trouble}: {REMEDY}"}

    def _take(self, page: Page) -> None:
        last = CHANGES.last_in_order(page)
        if page.records and not last:  # where a proxy leads elsewhere
            raise Unavailable("/effects: a page without one effect that says its place")
        before, seen_at = self._newest, self._clock()
        self._wallets.drain += 1
        touched = sum(self._take_record(record, seen_at) for record in page.records)
        self._metrics.changes.inc(len(page.records))
        self._metrics.changes_touched.inc(touched)
        check_any_new(CHANGES.name, page, is_any=self._newest != before)
        complete = max(self.position.ledger, proved(page, last))
        self._move_to(Position(cursor=page.cursor or self.position.cursor, ledger=complete))
        if page.full:
            self._is_behind()
        if touched or self.refused:
            self._wake.set()

    def _take_record(self, record: object, seen_at: datetime) -> int:
        """How many wallets have to be read for it."""
        try:
            place, ledger = effects.place_of(record)
            if place <= self._newest:
                return 0  # the same page again, or a record twice
            self._newest = place
            self._wallets.saw(ledger)
            account_ids = effects.touched(record, self._asset)
            if not any(account_id in self._wallets for account_id in account_ids):
                return 0
            closed_at = payments.closed_at(record)
            return self._wallets.change(account_ids, ledger, closed_at=closed_at, seen_at=seen_at)
        except Malformed as malformed:
            return self._refuse(record, malformed, seen_at)

    def _refuse(self, record: object, malformed: Malformed, seen_at: datetime) -> int:
        letter, known = CHANGES.refuse(record, malformed, self._network)
        self.refused.append(letter)
        self._metrics.refused.inc()
        ledger = known or self._wallets.newest
        return self._wallets.change(payments.accounts_named(record), ledger, closed_at=seen_at, seen_at=seen_at)

    def _move_to(self, position: Position) -> None:
        self.position = position
        self._trail.note(self._wallets.drain, position)
        self._metrics.changes_ledger.set(position.ledger)

    async def _wait(self) -> bool:
        """Until there is more, or it is time to look whether there is. False: it did not wait, and there was no more
        the last time, so there is no hurry.
        """
        await self._pages.admit()
        began_s = now_s()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._wait_s_max):
                await self._source.change_after(self.position.cursor)
        return now_s() - began_s >= min(WAIT_S_MIN, self._wait_s_max)

    def _is_level(self) -> None:
        if self._said_at_s is not None:
            log.info("changes are read to their end again", ledger=self.position.ledger)
        self._behind_since_s = self._said_at_s = None
        self._trouble = ""
        self._metrics.changes_behind.set(0)

    def _is_behind(self) -> None:
        at_s = now_s()
        self._behind_since_s = self._behind_since_s or at_s
        self._metrics.changes_behind.set(self._ledgers_behind())
        is_said = self._said_at_s is not None and at_s - self._said_at_s < SAY_AGAIN_S
        if not is_said and at_s - self._behind_since_s > BEHIND_S_MAX:
            self._said_at_s = at_s
            log.warning(
                "changes are behind", ledgers=self._ledgers_behind(), ledger=self.position.ledger, remedy=REMEDY
            )

    def _ledgers_behind(self) -> int:
        return max(0, self._wallets.newest - self.position.ledger)


def changes_of(parts: Parts, pace: Pace, wallets: Wallets, *, position: Position, wake: asyncio.Event) -> Changes:
    """A stream's changes."""
    return Changes(
        parts.source,
        wallets,
        network=parts.network,
        asset=parts.asset,
        position=position,
        metrics=parts.metrics,
        clock=parts.clock,
        wake=wake,
        requests_per_hour=pace.requests_per_hour,
        wait_s_max=IDLE_DRAINS * pace.idle_drain_s,
    )


def _share(requests_per_hour: int) -> Budget:
    if requests_per_hour == 0:
        return Budget(0)
    return Budget(max(1, requests_per_hour // SHARE), burst_requests=BURST_REQUESTS)
