"""Reading the network's history from a ledger on, for whom it touched: payments, and the changes that are none.

What proves that nothing up to a ledger is missing is what a page itself says: its last record's ledger, as a ledger's
records appear at once, or the ledger before that where the page is full. An empty page proves nothing, for it may come
from a replica that is behind. The one history that is further behind decides for both.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field

from producers import effects, payments
from producers.dead_letters import DeadLetter
from producers.effects import Place
from producers.pages import CHANGES, PAYMENTS, Records, check_any_new, proved, whole_ledger
from producers.source import Page, Source
from schema.stellar import AccountId, Asset, Cursor, Ledger, Malformed, Network, cursor_after_ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one page brought."""

    touched: Sequence[tuple[AccountId, Ledger]] = ()
    refused: Sequence[DeadLetter] = ()
    blind: Ledger | None = None  # the newest ledger with a record that cannot be read: it may be about anybody
    more: bool = False  # the page was full
    records: int = 0


@dataclass(slots=True, kw_only=True)
class Pages:
    """One of the two histories, and how far it was read. Every record up to `complete` was given out."""

    records: Records
    ask: Callable[[Cursor], Awaitable[Page]]
    touched: Callable[[object], Collection[AccountId]]
    network: Network
    cursor: Cursor
    complete: Ledger
    ask_ledger: Callable[[Ledger, Cursor | None], Awaitable[Page | None]] | None = None
    _newest: Place = field(default=(0, 0))

    async def step(self) -> Step:
        """Read the next page. Unavailable when it is out of order, or full of what was read before."""
        page = await self.ask(self.cursor)
        before = self._newest
        last, step = self._take(page)
        check_any_new(self.records.name, page, is_any=self._newest != before)
        self.cursor = page.cursor or self.cursor
        self.complete = max(self.complete, proved(page, last))
        return step

    async def step_ledger(self) -> Step:
        """Read the next ledger whole, where there is a way to: a source that does not have it says so, Unavailable."""
        if self.ask_ledger is None:
            return Step()
        ledger = Ledger(self.complete + 1)
        steps = [self._take(page)[1] for page in await whole_ledger(self.ask_ledger, ledger)]
        self.complete, self.cursor = ledger, cursor_after_ledger(ledger)
        return Step(
            touched=[each for step in steps for each in step.touched],
            refused=[each for step in steps for each in step.refused],
            blind=max((step.blind for step in steps if step.blind is not None), default=None),
            records=sum(step.records for step in steps),
        )

    def _take(self, page: Page) -> tuple[Ledger, Step]:
        """The last record's ledger, 0 when none says it, and what the records say."""
        last = self.records.last_in_order(page)
        touched: list[tuple[AccountId, Ledger]] = []
        refused: list[DeadLetter] = []
        blind: Ledger | None = None
        for record in page.records:
            try:
                place, ledger = self.records.place_of(record)
                if place <= self._newest:
                    continue  # the same page again, or a record twice
                self._newest = place
                touched += [(account_id, ledger) for account_id in self.touched(record)]
            except Malformed as malformed:
                letter, known = self.records.refuse(record, malformed, self.network)
                refused.append(letter)
                blind = known or Ledger(max(self.complete + 1, last))
                touched += [(account_id, blind) for account_id in payments.accounts_named(record)]
        return last, Step(touched=touched, refused=refused, blind=blind, more=page.full, records=len(page.records))


class Histories:
    """Both histories, read side by side from behind a ledger on."""

    def __init__(self, source: Source, *, network: Network, asset: Asset, after: Ledger) -> None:
        cursor = cursor_after_ledger(after)
        self._both = [
            Pages(
                records=PAYMENTS,
                ask=source.payments,
                touched=lambda record: _moved(record, asset),
                network=network,
                cursor=cursor,
                complete=after,
                ask_ledger=source.ledger_payments,
            )
        ]
        if not source.payments_show_every_change:
            self._both.append(
                Pages(
                    records=CHANGES,
                    ask=source.changes,
                    touched=lambda record: effects.touched(record, asset),
                    network=network,
                    cursor=cursor,
                    complete=after,
                )
            )

    @property
    def complete(self) -> Ledger:
        """Everything up to this ledger was given out."""
        return min(pages.complete for pages in self._both)

    async def step(self) -> Step:
        """One page of whichever history is further behind. Where it shows nothing more: of the other; or, when that is
        ahead, the next ledger, whole.
        """
        behind, *others = sorted(self._both, key=lambda pages: pages.complete)
        step = await behind.step()
        if step.records or step.more:
            return step
        if any(pages.complete > behind.complete for pages in others):
            return await behind.step_ledger()
        for pages in others:
            step = await pages.step()
        return step


def _moved(record: object, asset: Asset) -> set[AccountId]:
    moved = {account_id for account_id, _ in payments.movements(record, asset)}
    return moved.union(payments.authorized(record))
