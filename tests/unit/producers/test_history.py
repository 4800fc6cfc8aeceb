"""Reading pages that a Horizon in trouble may give: twice, doubled, out of order, stale. No payment is passed over."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from producers.history import Position, Reading
from producers.metrics import Metrics
from producers.source import PAGE_RECORDS_MAX, Page, Unavailable
from producers.wallets import Wallets
from schema.stellar import Cursor, Ledger, Network, cursor_after_ledger
from tests.unit.producers.partial import PartialSource
from tests.unit.producers.records import ASSET, BOB, LEDGER, payment

BEGIN = Position(cursor=cursor_after_ledger(Ledger(LEDGER - 1)), ledger=Ledger(LEDGER - 1))
STORY = [
    payment(ledger=LEDGER + ledger, number=4096 + number, amount=f"{ledger}.{number:07d}")
    for ledger in range(5)
    for number in range(1, 4)
]


class Pages(PartialSource):
    """A source of pages alone, one after the other; Unavailable when they are used up."""

    def __init__(self, *pages: Sequence[dict[str, Any]]) -> None:
        self._pages = list(pages)

    async def payments(self, cursor: Cursor) -> Page:
        assert cursor.isdigit()
        if not self._pages:
            raise Unavailable("no more")
        records = self._pages.pop(0)
        after = Cursor(records[-1]["paging_token"]) if records else None
        return Page(records=records, cursor=after, full=len(records) >= PAGE_RECORDS_MAX)


async def read(*pages: Sequence[dict[str, Any]]) -> tuple[Reading, list[str]]:
    """Drain once a page, whatever is wrong with it, and once more; the reading, and the movements it found for Bob."""
    wallets = Wallets()
    wallets.begin_reload()
    wallets.see([(BOB, Ledger(LEDGER - 1))], now_s=0)
    wallets.end_reload()
    reading = Reading(
        Pages(*pages),
        wallets,
        network=Network.TESTNET,
        asset=ASSET,
        position=BEGIN,
        metrics=Metrics(),
        clock=lambda: datetime(2026, 1, 31, tzinfo=UTC),
    )
    for _ in range(len(pages) + 1):
        try:
            await reading.drain(seconds=30)
        except Unavailable:
            continue
    return reading, [movement.operation_id for movement in wallets.active(BOB).pending]


TROUBLES = {
    "twice in a row": [STORY, STORY],
    "doubled in one page": [STORY + STORY, STORY],
    "each record twice": [[record for record in STORY for _ in range(2)]],
    "backwards": [STORY[::-1], STORY],
    "two swapped": [[*STORY[:5], STORY[6], STORY[5], *STORY[7:]], STORY],
    "the last ones first": [STORY[9:] + STORY[:9], STORY],
    "shuffled": [STORY[::2] + STORY[1::2], STORY],
    "empty between": [[], STORY[:6], [], STORY[6:], []],
    "a stale page between": [STORY[:9], STORY[:4], STORY[9:]],
    "one by one": [[record] for record in STORY],
}


@pytest.mark.parametrize("pages", TROUBLES.values(), ids=TROUBLES)
async def test_whatever_is_wrong_with_the_pages_the_movements_are_the_same(pages: list[list[dict[str, Any]]]) -> None:
    """After the trouble, every movement was collected once and in order, and the reading stands behind the last."""
    reading, found = await read(*pages)
    assert found == [record["id"] for record in STORY]
    assert reading.position == Position(cursor=Cursor(STORY[-1]["paging_token"]), ledger=Ledger(LEDGER + 4))
    assert not reading.refused


async def test_a_page_out_of_order_is_no_page() -> None:
    """Nothing of it is taken: what it left out between two records would be passed over."""
    reading, found = await read(STORY[::-1])
    assert (reading.position, found) == (BEGIN, [])


async def test_a_stale_page_completes_no_ledger() -> None:
    """A full page that ends inside a ledger leaves it open; an old short page afterwards does not close it."""
    many = [payment(ledger=LEDGER, number=number) for number in range(1, PAGE_RECORDS_MAX)]
    inside = payment(ledger=LEDGER + 3, number=1)
    reading, _ = await read([*many, inside], many[:5])
    assert reading.position.ledger == LEDGER + 2


async def test_a_record_of_any_depth_holds_up_nothing() -> None:
    """A malformed record nested deeper than can be written out again is a dead letter like any other."""
    deep: Any = "x"
    for _ in range(1_000):  # what orjson still reads
        deep = [deep]
    bent = {**STORY[0], "transaction_hash": None, "extra": deep}
    reading, found = await read([bent, *STORY[1:]])
    assert len(found) == len(STORY) - 1
    assert [letter.reason for letter in reading.refused] == ["malformed transaction_hash"]


async def test_a_record_that_does_not_say_its_place_is_in_doubt_as_late_as_it_can_be() -> None:
    """It stands between two others, in a ledger up to the next one's: no claim of what came up to there rests on it."""
    nowhere = {**STORY[3], "id": None}
    for pages in ([[*STORY[:3], nowhere, *STORY[4:9]]], [[*STORY[:3], nowhere], [], STORY[4:9]]):
        reading, _ = await read(*pages)
        [letter] = reading.refused
        assert letter.reason == "malformed id"
        assert reading._wallets.active(BOB).complete_since >= LEDGER + 1


async def test_an_awaited_page_that_is_empty_is_asked_for_again() -> None:
    """Where somebody saw a payment, several replicas in a row are asked for it; where nobody did, one is."""
    reading, found = await read()
    reading._source = Pages([], [], [], STORY)
    assert await reading.drain(seconds=30)
    assert (reading.position, found) == (BEGIN, [])
    reading.is_awaited = True
    assert await reading.drain(seconds=30)
    assert reading.position.ledger == LEDGER + 4
