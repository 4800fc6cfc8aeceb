"""Repairing while everything runs: what others tell and record meanwhile is no failure of the repair."""

from producers.progress import Steps
from producers.read_now import read
from producers.reconcile.command import repair
from producers.reconcile.proof import Comparison
from producers.reconcile.report import Report
from producers.reconcile.store import RowStore
from sandbox.horizon_faults import Fault
from tests.integration.producers.recorder import PACE, compare, recording
from tests.integration.producers.scene import UNIT, Scene, until_true
from tests.integration.producers.test_backfill import backfill
from tests.integration.producers.test_reconcile import follow, stored_units


async def test_who_was_told_by_somebody_else_meanwhile_is_not_called_untold(scene: Scene) -> None:
    """Two wallets are behind; before they are told one of them is paid again and recorded by another producer. The
    other is told, all is equal, and nothing is said to be missing.
    """
    await follow(scene)
    scene.pay(0, 7)
    scene.pay(1, 7)
    scene.close()
    async with scene.parts() as parts, RowStore.opened(scene.database_url) as rows, recording(scene):
        pace, steps = PACE, Steps(console=None)
        comparison = Comparison(parts, rows, steps, pace)
        await comparison.prove()
        assert len(comparison.repairable()) == 2
        scene.pay(0, 5)
        scene.close()
        await read([scene.account(0)], parts)
        await until_true(lambda: stored_units_are(scene, 0, 112), what="the later fact is recorded")
        report = Report(comparison, await repair(comparison, parts, steps, pace))
    assert report.is_equal
    said = "\n".join(report.lines())
    assert "1 facts published, and recorded" in said
    assert "could not be told" not in said


async def stored_units_are(scene: Scene, wallet: int, units: int) -> bool:
    return await stored_units(scene, wallet) == units


async def test_a_baseline_that_is_repaired_is_not_of_before(scene: Scene) -> None:
    """What came before the wallet's row is baseline: a replica that is behind shows less, and the next fact would take
    the rest for new money.
    """
    scene.pay(0, 50)
    scene.close()
    await scene.add_wallet(0)
    scene.horizon.faults.add(Fault(path_prefix=f"/accounts/{scene.account(0)}", lag_ledgers=1, times=2))
    async with recording(scene):
        report = await compare(scene, mend=True)
    assert report.is_equal
    assert [fact.balance_stroops for fact in await scene.facts_of(0)] == [150 * UNIT]


async def test_a_baseline_that_a_backfill_tells_is_not_of_before(scene: Scene) -> None:
    """Ledgers of long ago mark a wallet whose row is new: what came before the row is baseline, whichever replica shows
    it; else the next fact would take the rest for new money.
    """
    scene.pay(0, 20)
    scene.close()
    until = scene.chain.latest.sequence
    scene.pay(0, 50)
    scene.close()
    await scene.add_wallet(0)
    scene.horizon.faults.add(Fault(path_prefix=f"/accounts/{scene.account(0)}", lag_ledgers=1, times=2))
    assert (await backfill(scene, since=until, until=until))["told"] == 1
    assert [fact.balance_stroops for fact in await scene.facts_of(0)] == [170 * UNIT]
