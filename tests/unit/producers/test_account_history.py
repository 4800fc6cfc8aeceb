"""One account's history from a source in trouble: what cannot be trusted is asked for again, never claimed."""

from collections.abc import Sequence
from typing import Any

import pytest

from producers import account_history
from producers.source import PAGE_RECORDS_MAX, Page, Unavailable
from schema.balance_event import Movement
from schema.stellar import AccountId, Cursor, Ledger
from tests.unit.producers.records import ASSET, BOB, LEDGER, payment
from tests.unit.producers.test_history import STORY, Pages


class Account(Pages):
    """The same pages, as one account's."""

    asked = 0

    async def account_payments(self, account_id: AccountId, cursor: Cursor) -> Page | None:
        assert account_id == BOB
        self.asked += 1
        return await self.payments(cursor)


async def movements(source: Account) -> tuple[Movement, ...] | None:
    return await account_history.movements(
        source, BOB, ASSET, after=Ledger(LEDGER), up_to=Ledger(LEDGER + 3), movements_max=1_000
    )


@pytest.mark.parametrize(
    "page", [STORY[3:], [record for record in STORY[3:] for _ in range(2)]], ids=["plain", "doubled"]
)
async def test_every_movement_counts_once(page: Sequence[dict[str, Any]]) -> None:
    """Up to the ledger asked for, each once, also where the source says each twice."""
    found = await movements(Account(page))
    assert found is not None
    assert [each.operation_id for each in found] == [record["id"] for record in STORY[3:12]]


async def test_a_page_out_of_order_is_asked_for_again() -> None:
    """A payment behind a later one would be left out of what is claimed."""
    with pytest.raises(Unavailable, match="out of order"):
        await movements(Account(STORY[::-1]))


async def test_the_same_full_page_for_ever_is_not_asked_for_for_ever() -> None:
    """A proxy that answers every cursor alike costs two requests, not hundreds."""
    many = [payment(ledger=LEDGER + 1, number=number) for number in range(1, PAGE_RECORDS_MAX + 1)]
    source = Account(*[many] * 600)
    with pytest.raises(Unavailable, match="nothing new"):
        await movements(source)
    assert source.asked == 2
