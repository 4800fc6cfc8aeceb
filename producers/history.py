"""Reading the network's payments in order, and knowing up to which ledger all of them were read.

A page that is not full ends at the newest ledger the source has, whole, as a ledger's records appear at once: so its
last record's ledger is complete. An empty page proves nothing, for behind a load balancer it may come from a replica
that is behind; unless the source says with it how far it has looked (`Page.complete`). Where no record is new enough,
the ledgers are read one by one: a replica that lacks one says so.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from producers import payments
from producers.clock import now_s
from producers.dead_letters import DeadLetter
from producers.effects import Place
from producers.metrics import Metrics
from producers.pages import PAYMENTS, check_any_new, proved, whole_ledger
from producers.source import History, Page, Source
from producers.wallets import Wallets
from schema.stellar import AccountId, Asset, Cursor, Ledger, Malformed, Network, cursor_after_ledger

REPLICA_LAG_LEDGERS: Final = 120  # some ten minutes: less is a replica that is behind, more may be a reset network
LAGGING_ASKED_MAX: Final = 8
LAGGING_WAIT_S: Final = 0.5
AWAITED_ASKED_MAX: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in the history. Every payment in ledgers up to `ledger` lies before `cursor`."""

    cursor: Cursor
    ledger: Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedCursor:
    """A stream's saved position, and of which network it is."""

    network: str
    position: Position


class Trail:
    """Where a reading stood after each drain, for as long as an older place may still have to be saved."""

    def __init__(self, position: Position) -> None:
        self._places = deque([(0, position)])

    def note(self, drain: int, position: Position) -> None:
        """It stands here after this drain."""
        if self._places[-1][0] == drain:
            self._places.pop()
        self._places.append((drain, position))

    def before(self, drain: int) -> Position | None:
        """Where it stood before this drain, which is never asked for an earlier one again; None: nowhere."""
        while len(self._places) > 1 and self._places[1][0] < drain:
            self._places.popleft()
        number, position = self._places[0]
        return position if number < drain else None


class Reading:
    """The stream's reading of the history: its position, and what it found for the wallets."""

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
    ) -> None:
        self.position = position
        self.is_awaited = False  # somebody saw a payment behind the position: an empty page is asked for again
        self.refused: list[DeadLetter] = []  # to be stored before any cursor behind them
        self._source = source
        self._wallets = wallets
        self._network = network
        self._asset = asset
        self._metrics = metrics
        self._clock = clock
        self._newest: Place = (0, 0)
        self._in_doubt: set[AccountId] = set()  # named by records that do not say their place, up to the next page
        self._trail = Trail(position)
        wallets.begin(position.ledger)

    async def drain(self, *, seconds: float) -> bool:
        """Read on until a page is not full: True; or False when the time is over before."""
        ends_at = now_s() + seconds
        with self._counted():
            while True:
                page = await self._next_page()
                self._take(page)
                if not page.full:
                    return True
                if now_s() > ends_at:
                    return False

    async def _next_page(self) -> Page:
        """The next page. An awaited one that is empty comes from a replica that is behind, and is asked for several
        times in a row: a balancer that gives each request to the next replica might always give pages to the same.
        """
        asked_max = AWAITED_ASKED_MAX if self.is_awaited else 1
        self.is_awaited = False
        for _ in range(asked_max):
            page = await self._source.payments(self.position.cursor)
            if page.records:
                break
        return page

    async def drain_up_to(self, ledger: Ledger, *, seconds: float) -> None:
        """Read on until everything up to this ledger is read, or the time is over."""
        ends_at = now_s() + seconds
        if self.position.ledger >= ledger or not await self.drain(seconds=seconds):
            return
        with self._counted():
            while self.position.ledger < ledger and now_s() < ends_at:
                await self._read_ledger(Ledger(self.position.ledger + 1))

    async def _read_ledger(self, ledger: Ledger) -> None:
        for page in await whole_ledger(self._source.ledger_payments, ledger):
            self._take_records(page)
        self._wallets.saw(ledger)
        self.position = Position(cursor=cursor_after_ledger(ledger), ledger=ledger)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """One more drain, and where it ended, however it ended."""
        self._wallets.drain += 1
        try:
            yield
        finally:
            self._trail.note(self._wallets.drain, self.position)
            self._metrics.history_ledger.set(self.position.ledger)

    def told_up_to(self, open_drain: int | None) -> Position | None:
        """The position before the drain that first touched a wallet which is not told yet; the present one when there
        is no such drain. None: there was no position before it.
        """
        return self._trail.before(self._wallets.drain + 1 if open_drain is None else open_drain)

    def _take(self, page: Page) -> None:
        before = self._newest
        last = self._take_records(page)
        check_any_new(PAYMENTS.name, page, is_any=self._newest != before)
        complete = max(self.position.ledger, proved(page, last))
        self.position = Position(cursor=page.cursor or self.position.cursor, ledger=complete)

    def _take_records(self, page: Page) -> Ledger:
        """The ledger of the last one that says it; 0 when there is none."""
        last = PAYMENTS.last_in_order(page)
        self._wallets.saw(last)  # a record that does not say its place may be as new
        if last:
            self._wallets.doubt(self._in_doubt, last)
            self._in_doubt.clear()
        seen_at = self._clock()
        for record in page.records:
            self._take_record(record, seen_at)
        self._metrics.records.inc(len(page.records))
        return last

    def _take_record(self, record: object, seen_at: datetime) -> None:
        try:
            place, ledger = PAYMENTS.place_of(record)
            if place <= self._newest:
                return  # the same page again, or a record twice
            self._newest = place
            moved = payments.movements(record, self._asset)
            if moved:
                taken = self._wallets.collect(moved, closed_at=payments.closed_at(record), seen_at=seen_at)
                self._metrics.movements.inc(taken)
            authorized = payments.authorized(record)
            if authorized:
                self._wallets.change(authorized, ledger, closed_at=payments.closed_at(record), seen_at=seen_at)
        except Malformed as malformed:
            self._refuse(record, malformed)

    def _refuse(self, record: object, malformed: Malformed) -> None:
        letter, ledger = PAYMENTS.refuse(record, malformed, self._network)
        self.refused.append(letter)
        self._metrics.refused.inc()
        named = payments.accounts_named(record)
        self._wallets.doubt(named, ledger or self._wallets.newest)
        if ledger is None:
            self._in_doubt |= named


async def ledgers(source: Source, position: Position | None) -> History:
    """The ledgers there are. Before the newest is believed to be far behind our position, it is asked for again for a
    few seconds: one replica of several may be, after a reset all are.
    """
    history = await source.history()
    for _ in range(LAGGING_ASKED_MAX):
        if position is None or position.ledger <= history.latest + REPLICA_LAG_LEDGERS:
            break
        await asyncio.sleep(LAGGING_WAIT_S)
        history = await source.history()
    return history
