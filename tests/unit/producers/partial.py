"""A source of nothing, for tests of what needs a part of one: they say that part, and anything else is a failure."""

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import UTC, datetime
from typing import cast

from producers.metrics import Metrics
from producers.parts import Parts
from producers.publisher import Publisher
from producers.source import History, Page, Source, State
from producers.store import Store
from schema.balance_event import Movement
from schema.service.readiness import Readiness
from schema.stellar import AccountId, Asset, Cursor, Ledger, Network
from tests.unit.producers.records import ASSET


class PartialSource:
    """Every method refuses, but for the movements that have a source: all of them."""

    payments_show_every_change = False

    async def history(self) -> History:
        raise NotImplementedError

    async def payments(self, cursor: Cursor) -> Page:
        raise NotImplementedError

    async def ledger_payments(self, ledger: Ledger, cursor: Cursor | None) -> Page | None:
        raise NotImplementedError

    async def account_payments(self, account_id: AccountId, cursor: Cursor) -> Page | None:
        raise NotImplementedError

    async def sourced(self, account_id: AccountId, movements: Sequence[Movement]) -> Sequence[Movement] | None:
        del account_id
        return movements

    async def state(self, account_id: AccountId, asset: Asset, *, in_bulk: bool = False) -> State:
        raise NotImplementedError

    async def closed_at(self, ledger: Ledger) -> datetime:
        raise NotImplementedError

    async def payment_after(self, cursor: Cursor) -> bool:
        raise NotImplementedError

    async def changes(self, cursor: Cursor) -> Page:
        raise NotImplementedError

    async def change_after(self, cursor: Cursor) -> bool:
        raise NotImplementedError

    def states(
        self, account_ids: Collection[AccountId], asset: Asset, *, known_absent: Collection[AccountId] = ()
    ) -> AsyncIterator[State]:
        raise NotImplementedError

    async def states_requests(self, accounts: int, asset: Asset) -> int:
        raise NotImplementedError


def parts_of(source: Source) -> Parts:
    """Parts without a database and brokers, at a time that stands still."""
    return Parts(
        network=Network.TESTNET,
        asset=ASSET,
        source=source,
        store=cast("Store", None),
        publisher=cast("Publisher", None),
        readiness=Readiness(),
        metrics=Metrics(),
        clock=lambda: datetime(2026, 1, 31, tzinfo=UTC),
    )
