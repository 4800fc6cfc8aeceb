"""One account's own payments in a range of ledgers: what a fact's movements are filled from."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from producers import payments
from producers.clock import wait_about
from producers.pages import PAYMENTS, check_any_new, whole_ledger
from producers.source import Page, Source, Unavailable
from schema.balance_event import Movement
from schema.stellar import AccountId, Asset, Ledger, Malformed, cursor_after_ledger

PAGES_MAX: Final = 500  # of 200 records: an account whose other payments are so many is told as unknown

FILLS_AT_ONCE: Final = 16
ASKED_MAX: Final = 4  # with the waits between some two seconds; a replica is seldom behind for longer
ASK_AGAIN_S: Final = 0.3
PROVEN_LEDGERS: Final = 3  # what a page of a replica that is further behind lacks shows in none of these
LEDGERS_KEPT_MAX: Final = 32  # several accounts often changed in the same one


class UnknownAccount(Unavailable):
    """The source's history does not know the account, or does not go back so far."""


async def movements(  # noqa: PLR0913 - a range of one account's history
    source: Source, account_id: AccountId, asset: Asset, *, after: Ledger, up_to: Ledger, movements_max: int
) -> tuple[Movement, ...] | None:
    """Every movement in ledgers after `after` up to `up_to`, in order. None when that cannot be said: too many, or a
    record that cannot be read.

    Unavailable when a page is out of order, or full of what was read before; UnknownAccount when there is none. The
    source must have been seen to have `up_to`, and, afterwards, still to have `after + 1`.
    """
    cursor = cursor_after_ledger(after)
    found: list[Movement] = []
    newest = 0
    for _ in range(PAGES_MAX):
        page = await source.account_payments(account_id, cursor)
        if page is None:
            raise UnknownAccount(f"the history does not know {account_id}")
        PAYMENTS.last_in_order(page)
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
            _check_complete(page, account_id, up_to)
            return tuple(found)
        check_any_new(f"payments of {account_id}", page, is_any=newest != before)
        cursor = page.cursor
    return None


def _check_complete(page: Page, account_id: AccountId, up_to: Ledger) -> None:
    if page.complete is not None and page.complete < up_to:
        raise Unavailable(f"payments of {account_id} end with ledger {page.complete}: a replica is behind")


async def operations_in(source: Source, asset: Asset, ledger: Ledger) -> Mapping[AccountId, set[str]] | None:
    """The operations that moved each account in one ledger, by the payments of that ledger: a source that does not have
    it says so (Unavailable), where an account's page would merely lack its newest records. None: it cannot be said.
    """
    found: dict[AccountId, set[str]] = {}
    for page in await whole_ledger(source.ledger_payments, ledger):
        try:
            moved = [each for record in page.records for each in payments.movements(record, asset)]
        except Malformed:
            return None
        for account_id, movement in moved:
            found.setdefault(account_id, set()).add(movement.operation_id)
    return found


class Filling:
    """Movements that must add up. An account's page does not say how new it is: one from a replica that is behind
    lacks the newest payments, and a fact that lists the others would pass a withdrawal from the vault for new money.
    """

    def __init__(self, source: Source, asset: Asset, *, movements_max: int) -> None:
        self._source = source
        self._asset = asset
        self._movements_max = movements_max
        self._asking = asyncio.Semaphore(FILLS_AT_ONCE)
        self._ledgers: dict[Ledger, Mapping[AccountId, set[str]] | None] = {}

    async def movements(
        self, account_id: AccountId, *, after: Ledger, up_to: Ledger, change_stroops: int | None
    ) -> tuple[Movement, ...] | None:
        """As `movements`. Where their sum is not the change (None: that is not known) the newest ledgers are read:
        if they show nothing more the change has no payment, an offer was crossed, and it is believed; else the account
        is asked again, a few times, for the next replica may be less behind. Unavailable when none is.

        An account that is not known may be new, and the replica behind: it is asked again too; None when it stays so.
        """
        wait_s = ASK_AGAIN_S
        for asked in range(1, ASKED_MAX + 1):
            async with self._asking:
                found, is_known = None, True
                try:
                    found = await movements(
                        self._source,
                        account_id,
                        self._asset,
                        after=after,
                        up_to=up_to,
                        movements_max=self._movements_max,
                    )
                except UnknownAccount:
                    if change_stroops == 0:
                        return None  # nothing to explain: most of these were never opened
                    is_known = False
                if is_known and (found is None or change_stroops in (None, sum(each.amount_stroops for each in found))):
                    return found
                try:
                    missing = await self._missing(account_id, found, after=after, up_to=up_to)
                except Unavailable:
                    if asked == ASKED_MAX:
                        raise
                else:
                    if missing is None or (not missing and (is_known or asked == ASKED_MAX)):
                        return None if missing is None else found
                    if asked == ASKED_MAX:
                        raise Unavailable(f"payments of {account_id} lack {sorted(missing)}: a replica is behind")
            await wait_about(wait_s)
            wait_s *= 2
        raise AssertionError("the last one returns or raises")

    async def _missing(
        self, account_id: AccountId, found: Sequence[Movement] | None, *, after: Ledger, up_to: Ledger
    ) -> set[str] | None:
        """What the newest ledgers say of the account and `found` does not (None: the account is not known, and nobody
        will ever know where its history is forgotten); None: it cannot be said.
        """
        elder = (await self._source.history()).elder
        if found is None and after + 1 < elder:
            return None
        moved: set[str] = set()
        for number in range(max(after + 1, up_to - PROVEN_LEDGERS + 1, elder), up_to + 1):
            ledger = Ledger(number)
            if ledger not in self._ledgers:
                self._ledgers[ledger] = await operations_in(self._source, self._asset, ledger)
                while len(self._ledgers) > LEDGERS_KEPT_MAX:
                    del self._ledgers[next(iter(self._ledgers))]
            operations = self._ledgers.get(ledger)
            if operations is None:
                return None
            moved |= operations.get(account_id, set())
        return moved - {each.operation_id for each in found or ()}
