"""A comparison in many random worlds, in virtual time: ledgers close between any two answers, each answer comes from
another replica, wallets change with and without a payment, rows come late or never, or are tampered with. Whatever is
proved must be true of the chain, which keeps everything; whatever is named must be so.
"""

import asyncio
import os
import random
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import pytest

from producers.parts import Parts
from producers.progress import Steps
from producers.reconcile.differences import Kind
from producers.reconcile.proof import Comparison, Pace
from producers.reconcile.report import Report
from producers.reconcile.store import RowStore
from schema.stellar import Network
from tests.unit.producers import virtual_time
from tests.unit.producers.random_worlds import FIRST, USDC, RandomRows, RandomSource, Weather, World, name_of

PACE = Pace(wait_s=20.0, patience_s=60.0, quiet_s=5.0)
WORLDS = int(os.environ.get("RECONCILE_WORLDS", "60"))
SEED = int(os.environ.get("RECONCILE_SEED", "1"))


async def compared(world: World) -> Report:
    """The world goes on while it is compared."""
    living = asyncio.create_task(world.live())
    parts = SimpleNamespace(
        source=RandomSource(world), network=Network.TESTNET, asset=USDC, clock=lambda: datetime.now(UTC)
    )
    comparison = Comparison(cast("Parts", parts), cast("RowStore", RandomRows(world)), Steps(console=None), PACE)
    try:
        await comparison.prove()
    finally:
        living.cancel()
    return Report(comparison, None)


def judge(world: World, report: Report) -> None:
    """By the chain alone: at the named ledger, or for a wallet apart at the ledger of its read."""
    comparison, book = report.comparison, report.comparison.book
    assert len(book) == world.wallets
    for number in range(len(book)):
        wallet = next(each for each in range(world.wallets) if name_of(each) == book.accounts[number])
        kind = comparison.kind(number) if number in comparison.differing else None
        state = book.state(number)
        ledger = state.observed if number in comparison.apart else comparison.ledger
        if kind is None:
            assert wallet not in world.tampered, f"wallet {wallet} passed for equal"
            facts, row = world.recorded[wallet], book.row(number)
            if book.is_recalled(number):
                row = facts[max(version for version in facts if version <= max(ledger, state.observed))]
            held = world.held[ledger - FIRST][wallet]
            assert (row.balance_stroops, row.authorized) == (held[:2] if held else (0, False)), (wallet, ledger)
        elif kind in (Kind.CONFLICT, Kind.AUTHORIZED, Kind.AHEAD):
            assert wallet in world.tampered, f"wallet {wallet} is no {kind}"
        elif kind in (Kind.BEHIND, Kind.MISSING):
            assert wallet in world.stuck | world.tampered, f"wallet {wallet} is recorded in time, and yet {kind}"


@pytest.mark.parametrize(
    ("name", "weather", "share"),
    [
        ("calm", Weather(change=0.05, lag=0, failing=0.0), 0.9),
        ("ordinary", Weather(), 0.9),
        ("lagging", Weather(lag=12, failing=0.3), 0.8),
        ("busy", Weather(change=2.0, lag=2), 0.8),
        ("quiet", Weather(silent=0.7, others=0.0), 0.8),
        ("forgetful", Weather(keeps=2, lag=1, tampered=0.3), 0.0),
        ("frantic", Weather(change=20.0, lag=1), 0.0),  # every wallet in nearly every ledger
        ("malformed", Weather(malformed=0.3, tampered=0.3), 0.5),
        ("tampered", Weather(tampered=0.3), 0.8),
    ],
)
def test_whatever_is_proved_is_true(name: str, weather: Weather, share: float) -> None:
    """In every world: equal wallets are, on the chain, at the ledger that is named; differences are real; and unless
    somebody tampered or stopped telling, so many of the worlds end with a proof for all wallets at one ledger.
    """
    proved = tried = 0
    for number in range(WORLDS):
        rng = random.Random(f"{SEED} {name} {number}")  # noqa: S311 - repeatable
        random.seed(number)  # jitter
        world = World(rng=rng, weather=weather, wallets=rng.choice([1, 3, 8]))
        for wallet in range(world.wallets):
            if rng.random() < weather.tampered:
                (world.tamper if rng.random() < 0.5 else world.stuck.add)(wallet)
        report = virtual_time.run(compared(world))
        judge(world, report)
        if not world.tampered and not world.stuck:
            tried += 1
            proved += report.is_equal and not report.apart
    assert tried or not share or WORLDS < 20, "no world was left alone"
    assert proved >= tried * share, f"only {proved} of {tried} worlds were proved"
