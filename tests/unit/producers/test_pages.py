"""What all readers of a history share: the same record is refused alike by each, and a ledger is read whole or not."""

from typing import Any

import pytest

from producers.pages import CHANGES, LEDGER_PAGES_MAX, PAYMENTS, Records, whole_ledger
from producers.reconcile.histories import Histories
from producers.source import Page, Unavailable
from schema.stellar import Cursor, Ledger, Malformed, Network
from tests.unit.producers.partial import PartialSource
from tests.unit.producers.records import ASSET, LEDGER, operation_id, payment
from tests.unit.producers.test_history import read

BENT = {**payment(), "transaction_hash": None}


class Payments(PartialSource):
    """One page of payments, and no changes."""

    payments_show_every_change = True

    async def payments(self, cursor: Cursor) -> Page:
        assert cursor
        return Page(records=[BENT], cursor=Cursor(BENT["paging_token"]), full=False)


@pytest.mark.parametrize(
    ("records", "token", "id_"),
    [
        (PAYMENTS, operation_id(), "687d9df6-22ba-52da-9632-05143e4f286c"),
        (CHANGES, f"{operation_id()}-2", "01b6c4fb-1503-5873-b875-06fc61fd89ea"),
    ],
    ids=["payments", "changes"],
)
def test_the_golden_ids_of_dead_letters(records: Records, token: str, id_: str) -> None:
    """An id follows from network, history and place, in every version: what was refused before is not kept twice."""
    fault = Malformed(None, expected="text", field="amount")
    letter, ledger = records.refuse({"id": operation_id(), "paging_token": token}, fault, Network.TESTNET)
    assert (str(letter.id), letter.offset, letter.key) == (id_, int(operation_id()), token.encode())
    assert ledger == LEDGER


async def test_a_stream_and_a_backfill_refuse_alike() -> None:
    """A record that both come across is one dead letter, with the same words."""
    reading, _ = await read([BENT])
    histories = Histories(Payments(), network=Network.TESTNET, asset=ASSET, after=Ledger(LEDGER - 1))
    assert list((await histories.step()).refused) == reading.refused


def pages_of(*pages: Page | None) -> Any:
    """Gives these, one after the other, whatever it is asked."""
    left = list(pages)

    async def ask(_ledger: Ledger, _cursor: Cursor | None) -> Page | None:
        return left.pop(0)

    return ask


def full(cursor: int) -> Page:
    return Page(records=[payment()], cursor=Cursor(str(cursor)), full=True)


LAST = Page(records=[], cursor=None, full=False)


async def test_a_ledger_is_read_to_its_last_page() -> None:
    """All of its pages, the one that is not full last."""
    assert list(await whole_ledger(pages_of(full(1), full(2), LAST), Ledger(LEDGER))) == [full(1), full(2), LAST]


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        ((None,), "not in the source's history yet"),
        ((full(1), None), "not in the source's history yet"),
        ((full(1), full(1)), "the same full page again"),
        (tuple(full(number) for number in range(LEDGER_PAGES_MAX)), "no end"),
    ],
    ids=["not there", "half of it", "a cursor without effect", "without an end"],
)
async def test_a_ledger_that_is_not_whole_is_a_source_in_trouble(pages: tuple[Page | None, ...], said: str) -> None:
    """Nothing is said of it, and the source is asked again."""
    with pytest.raises(Unavailable, match=said):
        await whole_ledger(pages_of(*pages), Ledger(LEDGER))
