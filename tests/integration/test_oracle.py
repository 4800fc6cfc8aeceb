"""The oracle has teeth: a finished world is exact, and whatever is tampered with in it is found."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from sandbox import ledger_book, ledger_evidence
from sandbox.director import Director
from sandbox.ledger_evidence import Epoch, Evidence
from sandbox.options import Options
from sandbox.stage import set_up
from schema.stellar import Ledger, parse_stroops
from tests.integration.tampering import WRONGS, Tamper, World

MINIMUM = "10"


def options(folder: Path) -> Options:
    return Options(
        payments=90,
        wallets=3,
        payments_per_s=8.0,
        ledger_s=0.7,
        seed=4,
        min_deposit=MINIMUM,
        failure_rate=0.1,
        folder=folder,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """What a run of the whole sandbox left behind."""

    async def run() -> Evidence:
        async with set_up(options(tmp_path_factory.mktemp("oracle")), lambda _: None) as stage:
            await Director(stage, lambda _: None).lead()
            return await ledger_evidence.collect(stage, minimum_stroops=parse_stroops(MINIMUM))

    return asyncio.run(run())


def test_an_untouched_world_is_exact(finished: Evidence) -> None:
    """Nothing is found where nothing is wrong; and there was something to look at."""
    sums = ledger_book.judge(finished)
    assert sums.discrepancies == []
    assert sums.touched > 20
    assert sums.statuses["succeeded"] > 10


@pytest.mark.parametrize(("promise", "tamper", "words"), WRONGS, ids=[wrong[1].__name__ for wrong in WRONGS])
def test_whatever_is_wrong_is_found(finished: Evidence, promise: str, tamper: Tamper, words: str) -> None:
    """Each promise, broken in a finished world, is complained of in its own words."""
    assert promise in "abcdefg"
    world = World(finished)
    tamper(world)
    assert any(words in said for said in world.verdict()), world.verdict()


def test_a_version_that_was_never_told_is_covered_by_the_next(finished: Evidence) -> None:
    """Two changes between two reads are one fact: where the first was neither told nor recorded nothing is wrong."""
    gone, follower = next(
        (row, after)
        for rows in finished.snapshots.values()
        for row, after in pairwise(rows[1:])
        if row["event_id"] and after["event_id"] and not row["command_id"]
    )
    world = World(finished, wallet=gone["wallet_id"])
    world.snapshots.remove(dict(gone))
    world.forget_event(gone["ledger"])
    row = next(row for row in world.snapshots if row["id"] == follower["id"])
    row["previous_balance"] = gone["previous_balance"]
    row["balance_change"] = row["usdc_balance"] - gone["previous_balance"]
    before = ledger_book.judge(finished).collapsed
    sums = ledger_book.judge(world.evidence)
    assert sums.discrepancies == []
    assert sums.collapsed == before + 1


def test_a_version_told_after_a_newer_one_need_not_be_recorded(finished: Evidence) -> None:
    """Two streams may tell in another order: what comes late is stale, what comes in its order is not."""
    world = World(finished)
    [epoch] = finished.epochs
    baseline = next(event for event in epoch.events if event.account_id == world.account_id)
    between = replace(baseline, ledger=Ledger(baseline.ledger + 1))
    assert between.ledger not in {row["ledger"] for row in world.facts}
    world.change(epochs=[Epoch(events=(*epoch.events, between), complete=True)])
    assert world.verdict() == []
    place = epoch.events.index(baseline) + 1
    world.change(epochs=[Epoch(events=(*epoch.events[:place], between, *epoch.events[place:]), complete=True)])
    assert any("was told and is not recorded" in said for said in world.verdict())
