"""One account's own payments in a range of ledgers: what a fact's movements are filled from."""

from typing import Final

from producers import payments
from producers.history import last_in_order
from producers.source import Source, Unavailable
from schema.balance_event import Movement
from schema.stellar import AccountId, Asset, Ledger, Malformed, cursor_after_ledger

PAGES_MAX: Final = 500  # of 200 records: an account whose other payments are so many is told as unknown


async def movements(  # noqa: PLR0913 - a range of one account's history
    source: Source, account_id: AccountId, asset: Asset, *, after: Ledger, up_to: Ledger, movements_max: int
) -> tuple[Movement, ...] | None:
    """Every movement in ledgers after `after` up to `up_to`, in order. None when that cannot be said: too many, a
    record that cannot be read, or an account that the history does not know.

    Unavailable when a page is out of order, or full of what was read before. The source must have been seen to have
    `up_to`, and, afterwards, still to have `after + 1`.
    """
    cursor = cursor_after_ledger(after)
    found: list[Movement] = []
    newest = 0
    for _ in range(PAGES_MAX):
        page = await source.account_payments(account_id, cursor)
        if page is None:
            return None
        last_in_order(page)
        before = newest
        for record in page.records:
            try:
                operation_id, ledger = payments.operation_of(record)
                if int(operation_id) <= newest:
                    continue
                newest = int(operation_id)
                if ledger > up_to:
                    return tuple(found)
                moved = payments.movements(record, asset)
            except Malformed:
                return None
            found += [movement for wallet, movement in moved if wallet == account_id]
            if len(found) > movements_max:
                return None
        if not page.full or page.cursor is None:
            return tuple(found)
        if newest == before:
            raise Unavailable(f"payments of {account_id}: a full page with nothing new: the cursor has no effect")
        cursor = page.cursor
    return None
