"""Reading many wallets: all of them, within the limit, and none held up by another."""

import asyncio
from dataclasses import replace

import pytest

from producers import reader as reader_module
from producers.reader import FAULTS_MAX, Reader, Sighting
from producers.source import State, Unavailable
from producers.wallet import Touch
from schema.balance_event import SnapshotType
from schema.stellar import AccountId, Asset, Ledger, Malformed, Stroops
from tests.people import account_id
from tests.unit.producers.partial import PartialSource, parts_of
from tests.unit.producers.records import ASSET
from tests.waiting import until

LEDGER = Ledger(1_000)
AT_ONCE = 4


class States(PartialSource):
    """A source of states alone: some hang, some fail, some lag, as they are told to."""

    def __init__(self) -> None:
        self.hanging: set[AccountId] = set()
        self.freed = asyncio.Event()
        self.failing: set[AccountId] = set()
        self.lags: dict[AccountId, int] = {}
        self.faults: dict[AccountId, int] = {}
        self.most_at_once = 0
        self.in_bulk: dict[AccountId, bool] = {}
        self._now = 0

    async def state(self, account_id: AccountId, asset: Asset, *, in_bulk: bool = False) -> State:
        assert asset == ASSET
        self.in_bulk[account_id] = in_bulk
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            await asyncio.sleep(0)
            if account_id in self.hanging:
                await self.freed.wait()
        finally:
            self._now -= 1
        if account_id in self.failing:
            raise Unavailable("not now")
        if self.faults.get(account_id, 0) > 0:
            self.faults[account_id] -= 1
            raise Malformed({}, expected=account_id, field="account_id")
        lag = self.lags.get(account_id, 0)
        self.lags[account_id] = max(0, lag - 1)
        observed = Ledger(LEDGER - lag)
        return State(
            account_id=account_id, balance_stroops=Stroops(1), authorized=True, version=observed, observed=observed
        )


def reader_of(states: States) -> tuple[Reader, asyncio.Event]:
    wake = asyncio.Event()
    return Reader(parts_of(states), wake=wake, reads_at_once=AT_ONCE), wake


def due(count: int) -> list[tuple[AccountId, Touch]]:
    touch = Touch(at_least=LEDGER, snapshot_type=SnapshotType.WEBHOOK, drain=1)
    return [(account_id(f"wallet {number}"), touch) for number in range(count)]


async def test_all_are_read_within_the_limit() -> None:
    """Many more wallets than may be read at once are all read in one round, never more at once than allowed."""
    states = States()
    reader, _ = reader_of(states)
    found = await reader.read(due(200), seconds=30)
    assert {each.account_id for each in found} == {account for account, _ in due(200)}
    assert states.most_at_once == AT_ONCE


async def test_nothing_due_is_nothing() -> None:
    """A round without wallets ends at once."""
    assert await reader_of(States())[0].read([], seconds=30) == []


async def test_a_lagging_state_is_asked_for_again() -> None:
    """A state older than the payment is not told; the one that is new enough is."""
    states = States()
    wallets = due(3)
    states.lags = {wallets[0][0]: 2}
    found = await reader_of(states)[0].read(wallets, seconds=30)
    assert [each.state.observed for each in found if each.state] == [LEDGER] * 3


async def test_a_hanging_read_goes_on_and_comes_later() -> None:
    """The round ends in its time without it, the next do not wait for it; when it is done, it wakes and comes."""
    states = States()
    reader, wake = reader_of(states)
    wallets = due(20)
    states.hanging = {wallets[0][0]}
    assert len(await reader.read(wallets, seconds=1)) == 19
    async with asyncio.timeout(20):
        assert len(await reader.read(wallets, seconds=30)) == 19
        states.freed.set()
        await wake.wait()
        (late,) = await reader.read(wallets[:1], seconds=30)
    assert late.account_id == wallets[0][0]


async def test_when_all_slots_hang_the_round_still_ends() -> None:
    """As many hanging reads as may run at once cost the round its time, and no more."""
    states = States()
    reader, _ = reader_of(states)
    wallets = due(10)
    states.hanging = {account for account, _ in wallets[:AT_ONCE]}
    async with asyncio.timeout(20):
        assert await reader.read(wallets, seconds=0.2) == []
    reader.close()


async def test_a_failed_read_is_left_alone_for_a_while() -> None:
    """What failed stays due, is not asked for at once again, and is read when it works."""
    states = States()
    reader, _ = reader_of(states)
    wallets = due(2)
    states.failing = {wallets[0][0]}
    assert len(await reader.read(wallets, seconds=30)) == 1
    states.failing.clear()
    assert len(await reader.read(wallets, seconds=30)) == 1
    await until(lambda: reader.read(wallets[:1], seconds=30), "it is read after all")


async def test_a_state_that_makes_no_sense_once_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nonsense is refused only when nothing else comes for a while: one broken replica drops no wallet."""
    monkeypatch.setattr(reader_module, "FAILED_WAIT_S", 0.01)
    states = States()
    reader, _ = reader_of(states)
    wallets = due(2)
    states.faults = {wallets[0][0]: 2, wallets[1][0]: 1_000}

    async def found(number: int) -> list[Sighting]:
        return await reader.read(wallets[number : number + 1], seconds=30)

    (state,) = await until(lambda: found(0), "it is read after all")
    assert (state.fault, state.state is None) == (None, False)
    (refused,) = await until(lambda: found(1), "it is refused")
    assert refused.fault is not None
    assert states.faults[wallets[1][0]] == 1_000 - FAULTS_MAX - 1


async def test_who_only_asks_lets_others_go_first() -> None:
    """The source is told which reads may wait for those of wallets that were paid."""
    states = States()
    reader, _ = reader_of(states)
    (paid, touch), (asked, _other) = due(2)
    await reader.read([(paid, touch), (asked, replace(touch, holds_cursor=False))], seconds=30)
    assert states.in_bulk == {paid: False, asked: True}
