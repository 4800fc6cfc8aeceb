"""A source of pages of effects, wallets that are followed, and who reads the one for the other."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from producers.changes import Changes
from producers.history import Position
from producers.metrics import Metrics
from producers.source import PAGE_RECORDS_MAX, Page, State
from producers.wallets import Wallets
from schema.stellar import AccountId, Asset, Cursor, Ledger, Network, Stroops, cursor_after_ledger
from tests.people import account_id
from tests.unit.producers.partial import PartialSource
from tests.unit.producers.records import ALICE, ASSET, LEDGER, asset_fields, effect

NOW = datetime(2026, 1, 31, tzinfo=UTC)
BEGIN = Position(cursor=cursor_after_ledger(Ledger(LEDGER - 1)), ledger=Ledger(LEDGER - 1))
COUNTERFEIT = Asset("USDC", account_id("counterfeiter"))
STRANGER = account_id("stranger")


def debit(ledger: int = LEDGER, *, account: str = ALICE, asset: Asset = ASSET, **more: Any) -> dict[str, Any]:
    return effect("account_debited", account=account, ledger=ledger, **asset_fields(asset), **more)


class Pages(PartialSource):
    """A source of changes alone, one page after the other; then it waits for ever."""

    def __init__(self, *pages: Sequence[dict[str, Any]]) -> None:
        self._pages = list(pages)
        self.asked: list[Cursor] = []
        self.is_waiting = asyncio.Event()
        self.full = PAGE_RECORDS_MAX

    async def changes(self, cursor: Cursor) -> Page:
        self.asked.append(cursor)
        if not self._pages:
            return Page(records=[], cursor=None, full=False)
        records = self._pages.pop(0)
        after = Cursor(records[-1]["paging_token"]) if records else None
        return Page(records=records, cursor=after, full=len(records) >= self.full)

    async def change_after(self, cursor: Cursor) -> bool:
        assert cursor
        self.is_waiting.set()
        return await asyncio.Event().wait()


def followed(*accounts: AccountId, stored: int = LEDGER - 100) -> Wallets:
    """These wallets, with a fact each."""
    wallets = Wallets()
    wallets.begin(BEGIN.ledger)
    wallets.begin_reload()
    wallets.see([(each, Ledger(stored)) for each in accounts], now_s=0)
    wallets.end_reload()
    return wallets


def changes_of(source: Pages, wallets: Wallets, *, requests_per_hour: int = 0) -> Changes:
    found = Changes(
        source,
        wallets,
        network=Network.TESTNET,
        asset=ASSET,
        position=BEGIN,
        metrics=Metrics(),
        clock=lambda: NOW,
        wake=asyncio.Event(),
        requests_per_hour=requests_per_hour,
        wait_s_max=30,
    )
    found.wallets_are_known()
    return found


async def read_all(source: Pages, changes: Changes) -> None:
    """Follow until the source has no more."""
    task = asyncio.create_task(changes.follow())
    await asyncio.wait_for(source.is_waiting.wait(), 30)
    task.cancel()


def state(account: AccountId, ledger: int) -> State:
    return State(
        account_id=account,
        balance_stroops=Stroops(7),
        authorized=True,
        version=Ledger(ledger),
        observed=Ledger(ledger),
    )


async def is_true(value: object) -> bool:
    return bool(value)
