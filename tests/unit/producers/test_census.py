"""Reading very many wallets beside the cycles: all of them, none older than it may be, no more at once than fits."""

import asyncio
from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime

import pytest

from producers import census as census_module
from producers import waking
from producers.census import Census
from producers.history import Position, Trail
from producers.source import State, Unavailable
from producers.wallets import Wallets
from schema.stellar import AccountId, Asset, Cursor, Ledger, Stroops
from tests.people import account_id
from tests.unit.producers.partial import PartialSource
from tests.unit.producers.records import ASSET

BEGAN = Ledger(1_000)
EVERYONE = sorted(account_id(f"wallet {number}") for number in range(60))


class States(PartialSource):
    """A source of many states alone, in the order asked for; it may fail, lag, or leave some out."""

    def __init__(self) -> None:
        self.left_out: set[AccountId] = set()
        self.fails_after: int | None = None
        self.observed = [BEGAN]  # of each pass; the last one of all the others
        self.asked: list[int] = []

    async def states(
        self, account_ids: Collection[AccountId], asset: Asset, *, known_absent: Collection[AccountId] = ()
    ) -> AsyncIterator[State]:
        assert (asset, known_absent) == (ASSET, ())
        self.asked.append(len(account_ids))
        observed = self.observed[min(len(self.asked), len(self.observed)) - 1]
        for number, each in enumerate(account_ids):
            if number == self.fails_after:
                self.fails_after = None
                raise Unavailable("not now")
            if each not in self.left_out:
                yield State(
                    account_id=each,
                    balance_stroops=Stroops(7),
                    authorized=True,
                    version=Ledger(900),
                    observed=observed,
                )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten are many here, in portions of eight."""
    monkeypatch.setattr(census_module, "SINGLY_MAX", 10)
    monkeypatch.setattr(census_module, "PORTION", 8)
    monkeypatch.setattr(census_module, "WAITING_MAX", 16)
    monkeypatch.setattr(waking, "AGAIN_S_MAX", 0.01)


async def missed(*, first_sights: int = 0) -> Wallets:
    wallets = Wallets()
    wallets.begin(BEGAN)
    wallets.begin_reload()
    wallets.see([(each, None if at < first_sights else Ledger(900)) for at, each in enumerate(EVERYONE)], now_s=0)
    wallets.end_reload()
    await wallets.miss_all()
    return wallets


async def cycles(source: States, wallets: Wallets, *, skip: Collection[AccountId] = ()) -> list[int]:
    """What the stream's cycles are given until the census has ended; the sizes of the portions."""
    census = Census(source, wallets, asset=ASSET, clock=lambda: datetime(2026, 1, 31, tzinfo=UTC), wake=asyncio.Event())
    census.look()
    task = asyncio.create_task(census.run())
    portions: list[int] = []
    async with asyncio.timeout(30):
        while census.is_at_work:
            found = census.take()
            for each in found:
                assert each.state is not None
                assert each.state.observed >= each.touch.at_least
                if each.account_id not in skip:
                    wallets.settle(each.state, each.touch, told=False, now_s=0)
            census.taken()
            portions += [len(found)] if found else []
            await asyncio.sleep(0)
    task.cancel()
    return portions


@pytest.mark.usefixtures("small")
async def test_everyone_is_read_in_portions() -> None:
    """First sights and the others, each once, and never more waiting than two portions."""
    source, wallets = States(), await missed(first_sights=20)
    portions = await cycles(source, wallets)
    assert sum(portions) == 60
    assert max(portions) == 8
    assert len(wallets.unread) == 0
    assert source.asked == [60]


@pytest.mark.usefixtures("small")
async def test_cycles_are_woken_for_whole_portions() -> None:
    """Each cycle drains the payments, which costs a request: one that is given what is full has no more of them than
    there are portions, however the states trickle in; only the last of a pass, or of a pass that broke off, is smaller.
    """
    source, wallets, wake = States(), await missed(), asyncio.Event()
    source.fails_after = 20
    census = Census(source, wallets, asset=ASSET, clock=lambda: datetime(2026, 1, 31, tzinfo=UTC), wake=wake)
    census.look()
    task = asyncio.create_task(census.run())
    portions: list[int] = []
    async with asyncio.timeout(30):
        while census.is_at_work:
            if not census.is_full:
                await wake.wait()
            wake.clear()
            found = census.take()
            for each in found:
                assert each.state is not None
                wallets.settle(each.state, each.touch, told=False, now_s=0)
            census.taken()
            portions += [len(found)] if found else []
    task.cancel()
    assert portions == [8, 8, 4, 8, 8, 8, 8, 8]
    assert len(wallets.unread) == 0


@pytest.mark.usefixtures("small")
async def test_who_is_paid_is_told_with_few_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cycle that has wallets of its own to read is given a small portion; the rest comes with later ones."""
    monkeypatch.setattr(census_module, "BESIDE_OTHERS", 3)
    census = Census(
        States(), await missed(), asset=ASSET, clock=lambda: datetime(2026, 1, 31, tzinfo=UTC), wake=asyncio.Event()
    )
    census.look()
    task = asyncio.create_task(census.run())
    async with asyncio.timeout(30):
        while not census.is_full:  # noqa: ASYNC110 - it says nothing more
            await asyncio.sleep(0)
    assert [len(census.take(beside_others=True)), len(census.take())] == [3, 8]
    task.cancel()


@pytest.mark.usefixtures("small")
async def test_an_interrupted_census_goes_on_with_those_that_did_not_come() -> None:
    """The source gives up in the midst: those that were read are not asked for again."""
    source, wallets = States(), await missed()
    source.fails_after = 32
    await cycles(source, wallets)
    assert len(wallets.unread) == 0
    assert source.asked[0] == 60
    assert source.asked[1] < 60


@pytest.mark.usefixtures("small")
async def test_a_replica_that_is_behind_does_not_count() -> None:
    """States from before the gap was noticed are not taken; the census asks again."""
    source, wallets = States(), await missed()
    source.observed = [Ledger(BEGAN - 1), Ledger(BEGAN - 1), BEGAN]
    await cycles(source, wallets)
    assert len(wallets.unread) == 0
    assert source.asked == [60, 60, 60]


@pytest.mark.usefixtures("small")
async def test_who_was_paid_is_left_to_the_cycles() -> None:
    """A payment's fact says that it was seen: such a wallet is read for the payment, and not by the census."""
    source, wallets = States(), await missed()
    wallets.doubt(EVERYONE[:5], Ledger(1_001))
    await cycles(source, wallets)
    assert {each for each, _ in wallets.due(drained=True)} == set(EVERYONE[:5])


@pytest.mark.usefixtures("small")
async def test_what_makes_no_sense_is_left_to_the_cycles() -> None:
    """Wallets that no pass brings are read one by one, where a state without sense becomes a dead letter."""
    source, wallets = States(), await missed()
    source.left_out = set(EVERYONE[:15])
    await cycles(source, wallets)
    assert source.asked == [60, 15]
    assert {each for each, _ in wallets.due(drained=True)} == set(EVERYONE[:15])


@pytest.mark.usefixtures("small")
async def test_what_is_not_settled_is_read_again() -> None:
    """A sighting that must wait, for its payments are not read yet, stays unread; it is no endless work."""
    source, wallets = States(), await missed()
    await cycles(source, wallets, skip=EVERYONE[:20])
    assert source.asked == [60, 20]
    assert len(wallets.unread) == 20


def test_a_trail_knows_where_a_reading_stood() -> None:
    """Before a drain it stood where the drain before had ended, and where it began before the first."""
    places = [Position(cursor=Cursor(str(number)), ledger=Ledger(number)) for number in range(1, 6)]
    trail = Trail(places[0])
    for drain, place in zip((1, 2, 2, 5), places[1:], strict=True):
        trail.note(drain, place)
    assert trail.before(1) == places[0]
    assert trail.before(2) == places[1]
    assert trail.before(5) == places[3]  # the second of drain 2 took the place of the first
    assert trail.before(6) == places[4]
    assert trail.before(3) is None  # never asked for an older one again
