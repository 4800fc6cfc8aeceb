"""Telling what a repair or a backfill read: how long it may take, and for what it does not wait."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import pytest

from producers.budget import Budget
from producers.parts import Parts
from producers.publisher import Publisher
from producers.reconcile.states import Read
from producers.reconcile.telling import Telling
from producers.source import History, Page, State, Unavailable
from producers.store import Store
from producers.wallet import Stored
from schema.balance_event import BalanceEvent
from schema.stellar import AccountId, Cursor, Ledger, Network, Stroops
from tests.people import account_id
from tests.unit.producers import virtual_time
from tests.unit.producers.partial import PartialSource, parts_of

WALLETS = 700
STORED_AT, CHANGED_AT, READ_AT = Ledger(900), Ledger(950), Ledger(1_000)


class FrugalSource(PartialSource):
    """Each request waits for its place in the public Horizon's budget."""

    def __init__(self) -> None:
        self.budget = Budget(3600)

    async def history(self) -> History:
        return History(passphrase=Network.TESTNET.passphrase, elder=Ledger(1), latest=READ_AT)

    async def account_payments(self, account_id: AccountId, cursor: Cursor) -> Page | None:  # noqa: ARG002
        await self.budget.admit()
        return Page(records=[], cursor=None, full=False)

    async def closed_at(self, ledger: Ledger) -> datetime:  # noqa: ARG002
        return datetime(2026, 1, 31, tzinfo=UTC)


class Rows:
    """Every wallet is stored as of an older ledger."""

    async def stored(self, account_ids: Sequence[AccountId], network: Network) -> dict[AccountId, Stored]:  # noqa: ARG002
        return {
            each: Stored(account_id=each, version=STORED_AT, balance_stroops=Stroops(7), absent=False)
            for each in account_ids
        }


class Brokers:
    """They ack each fact, or, away, nothing."""

    def __init__(self, *, away: bool = False) -> None:
        self.acked: list[BalanceEvent] = []
        self._away = away

    async def publish(self, events: Sequence[BalanceEvent]) -> None:
        if self._away:
            await asyncio.Event().wait()
        self.acked += events


def behind(brokers: Brokers) -> Parts:
    """The parts of a producer whose wallets are all behind."""
    return replace(parts_of(FrugalSource()), store=cast("Store", Rows()), publisher=cast("Publisher", brokers))


def reads(count: int) -> list[Read]:
    """As many wallets, changed by nothing that a payment shows."""
    return [
        Read(
            account_id=each,
            state=State(
                account_id=each, balance_stroops=Stroops(7), authorized=True, version=CHANGED_AT, observed=READ_AT
            ),
        )
        for each in (account_id(str(number)) for number in range(count))
    ]


@pytest.mark.parametrize("patience_s", [300.0, 0.0])
def test_a_source_that_is_asked_frugally_is_waited_for(patience_s: float) -> None:
    """The patience is for what is away: however long the budget makes many movements take, their facts are told."""
    brokers = Brokers()
    telling = Telling(behind(brokers), patience_s=patience_s)
    assert virtual_time.run(telling.tell(reads(WALLETS))) == []
    assert (telling.published, len(brokers.acked)) == (WALLETS, WALLETS)


def test_brokers_that_stay_away_are_named() -> None:
    """They are waited for as long as the patience lasts, once, then it is said who is away."""

    async def tell() -> float:
        telling = Telling(behind(Brokers(away=True)), patience_s=30.0)
        with pytest.raises(Unavailable, match="the brokers acked nothing for 30 s"):
            await telling.tell(reads(3))
        return asyncio.get_running_loop().time()

    assert virtual_time.run(tell()) < 31
