"""The pages of a history, whoever reads them: their order, what they prove, ledgers read whole, records refused."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from producers import effects, payments
from producers.dead_letters import DeadLetter, as_bytes, dead_letter
from producers.effects import Place
from producers.source import Page, Unavailable
from schema.stellar import Cursor, Ledger, Malformed, Network

log = structlog.get_logger(__name__)

LEDGER_PAGES_MAX: Final = 500  # of 200 records; a ledger has a thousand operations, and some


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """The records of one history."""

    name: str
    origin: str  # where a dead letter comes from, in the column for topics
    place_of: Callable[[object], tuple[Place, Ledger]]  # in the order of the history; Malformed when it does not say

    def last_in_order(self, page: Page) -> Ledger:
        """The ledger of a page's last record; 0 when none says it. Unavailable when the page is out of order: who skips
        what he has seen, by its place, would pass over a record that comes behind a later one.
        """
        newest, last = (0, 0), Ledger(0)
        for record in page.records:
            try:
                place, ledger = self.place_of(record)
            except Malformed:
                continue  # refused when it is taken
            if place < newest:
                raise Unavailable(f"{self.name}: a page out of order: {place} comes behind {newest}")
            newest, last = place, ledger
        return last

    def refuse(self, record: object, fault: Malformed, network: Network) -> tuple[DeadLetter, Ledger | None]:
        """The dead letter of a record that cannot be read, and the ledger it is of; None: it does not say."""
        ledger = None
        try:
            (operation_id, _), ledger = self.place_of(record)
        except Malformed:
            operation_id = 0
        token = record.get("paging_token") if isinstance(record, dict) else None
        letter = dead_letter(
            self.origin, network=network, key=str(token), offset=operation_id, value=as_bytes(record), fault=fault
        )
        log.warning(
            "record refused",
            history=self.name,
            cursor=letter.key.decode(),
            reason=letter.reason,
            detail=letter.detail,
        )
        return letter, ledger


def check_any_new(what: str, page: Page, *, is_any: bool) -> None:
    """Unavailable when a full page has only records that were seen: the next one would be the same."""
    if page.full and not is_any:
        raise Unavailable(f"{what}: a full page with nothing new: the cursor has no effect")


def proved(page: Page, last: Ledger) -> Ledger:
    """Up to which ledger nothing is missing, by what the page itself says. `last` is that of its last record."""
    if page.complete is not None:
        return page.complete
    return Ledger(last - 1) if page.full else last


async def whole_ledger(
    ask: Callable[[Ledger, Cursor | None], Awaitable[Page | None]], ledger: Ledger
) -> Sequence[Page]:
    """The pages of one ledger. Unavailable when the source does not have it, or gives the same page again."""
    cursor: Cursor | None = None
    pages: list[Page] = []
    while len(pages) < LEDGER_PAGES_MAX:
        page = await ask(ledger, cursor)
        if page is None:
            raise Unavailable(f"ledger {ledger} is not in the source's history yet")
        pages.append(page)
        if not page.full:
            return pages
        if page.cursor == cursor:
            raise Unavailable(f"ledger {ledger}: the same full page again: the cursor has no effect")
        cursor = page.cursor
    raise Unavailable(f"ledger {ledger}: no end in {LEDGER_PAGES_MAX} pages")


def _place_of_payment(record: object) -> tuple[Place, Ledger]:
    operation_id, ledger = payments.operation_of(record)
    return (int(operation_id), 0), ledger


PAYMENTS: Final = Records(name="/payments", origin="horizon:payments", place_of=_place_of_payment)
CHANGES: Final = Records(name="/effects", origin="horizon:effects", place_of=effects.place_of)
