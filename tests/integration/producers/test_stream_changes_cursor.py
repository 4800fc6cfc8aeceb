"""The place of the changes: saved behind what it touched, gone on with after any end, left for the tip once lost."""

from pathlib import Path

import pytest

from producers import start, stream
from producers.parts import Pace
from sandbox.broker import EmbeddedBroker
from sandbox.children import Child
from sandbox.horizon_faults import Fault
from schema.balance_event import SnapshotType
from tests.acceptance.test_stream import environment
from tests.fixtures_brokers import Broker
from tests.integration.producers.crossings import BLIND, are_changes_saved, are_saved, crossed, is_saved
from tests.integration.producers.scene import UNIT, Scene, until_true


async def test_what_was_crossed_while_it_was_dead_is_found_by_the_changes_cursor(scene: Scene) -> None:
    """After a restart the changes go on where they were saved: the wallet that changed is read, and no other."""
    for wallet in range(3):
        await scene.add_wallet(wallet)
    async with scene.stream():
        for wallet in range(3):
            await scene.store(await scene.until_told(wallet, units=100))
        await until_true(lambda: are_saved(scene), what="both cursors are saved")
    scene.chain.enqueue(crossed(scene, 1))
    ledger = scene.close()
    scene.close()
    async with scene.stream() as running:
        fact = await scene.until_told(1, units=80)
        await until_true(lambda: are_saved(scene, ledger), what="both cursors are saved")
        assert running.parts.metrics.reads._value.get() == 1
    assert fact.ledger == ledger


async def test_the_changes_cursor_waits_for_the_brokers_ack(scene: Scene, mortal: Broker) -> None:
    """With the broker frozen the place of the changes is not saved, however long; once it answers, it is."""
    assert isinstance(mortal.node, EmbeddedBroker)
    await scene.add_wallet(0)
    scene.kafka = mortal.settings
    async with scene.stream() as running:
        await until_true(lambda: are_saved(scene), what="both cursors are saved")
        before = await scene.saved_ledger("stream:changes")
        mortal.node.pause()
        scene.chain.enqueue(crossed(scene, 0))
        ledger = scene.close()
        await until_true(lambda: running.parts.readiness.reasons().get("broker"), what="it says so")
        assert await scene.saved_ledger("stream:changes") == before
        mortal.node.resume()
        await until_true(lambda: are_changes_saved(scene, ledger), what="the place is saved")
        assert running.parts.metrics.facts.labels("webhook")._value.get() == 1


async def test_what_cannot_be_read_now_holds_the_cursor_of_the_changes(scene: Scene) -> None:
    """A wallet that changed and whose state the source refuses does not hold up the others; the place of the changes
    stays before its effect, so that a crash would read it again.
    """
    for wallet in (0, 1):
        await scene.add_wallet(wallet)
    async with scene.stream():
        for wallet in (0, 1):
            await scene.store(await scene.until_told(wallet, units=100))
        await until_true(lambda: are_saved(scene), what="both cursors are saved")
        scene.horizon.faults.add(Fault(path_prefix=f"/accounts/{scene.account(0)}", status=504, times=1_000))
        before = await scene.saved_ledger("stream:changes")
        for wallet in (0, 1):
            scene.chain.enqueue(crossed(scene, wallet))
        ledger = scene.close()
        await scene.until_told(1, units=80)
        scene.pay(1, 1)
        scene.close()
        await scene.until_told(1, units=81)
        assert await scene.saved_ledger("stream:changes") == before
    scene.horizon.faults.clear()
    async with scene.stream():
        fact = await scene.until_told(0, units=80)
        await until_true(lambda: are_changes_saved(scene, ledger), what="the place moves on")
    assert fact.ledger == ledger


async def test_killed_between_the_touch_and_the_ack_it_tells_it_at_the_next_start(
    scene: Scene, mortal: Broker, tmp_path: Path
) -> None:
    """Kill -9 of the process while a change is read and its fact has no ack: the next one reads the change again."""
    assert isinstance(mortal.node, EmbeddedBroker)
    await scene.add_wallet(0)
    alive, scene.kafka = scene.kafka, mortal.settings
    child = Child("stream", ["producers", "stream"], environment(scene), tmp_path)
    await child.start()
    await until_true(lambda: are_saved(scene), what="both cursors are saved")
    mortal.node.pause()
    scene.chain.enqueue(crossed(scene, 0))
    scene.close()
    reads = Fault(path_prefix="/accounts/", times=10**6)  # it only counts
    scene.horizon.faults.add(reads)
    await until_true(lambda: reads.asked, what="the wallet is read")
    await child.kill()
    scene.kafka = alive
    async with scene.stream() as running:
        await scene.until_told(0, units=80)
        assert running.parts.metrics.changes_touched._value.get() == 1


async def test_a_cursor_of_changes_that_is_too_old_has_every_wallet_read(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Payments go on where they were. Changes begin at the newest ledger, and what they would have told is found by
    reading the wallets; a wallet that did not change is told of by nobody.
    """
    monkeypatch.setattr(start, "CHANGES_LEDGERS_MAX", 3)
    for wallet in range(3):
        await scene.add_wallet(wallet)
    async with scene.stream():
        for wallet in range(3):
            await scene.store(await scene.until_told(wallet, units=100))
        await until_true(lambda: are_saved(scene), what="both cursors are saved")
    scene.chain.enqueue(crossed(scene, 1))
    crossed_at = scene.close()
    scene.pay(2, 7)
    for _ in range(4):
        ledger = scene.close()
    async with scene.stream() as running:
        fact = await scene.until_told(1, units=80)
        paid = await scene.until_told(2, units=107)
        await until_true(lambda: are_saved(scene, crossed_at), what="both cursors are saved")
        assert running.parts.metrics.changes_touched._value.get() == 0
        assert running.parts.metrics.reads._value.get() == 3
        assert len(await scene.facts_of(0)) == 1
    assert (fact.ledger, fact.snapshot_type, fact.observed_ledger) == (crossed_at, SnapshotType.POLL, ledger)
    assert [each.amount_stroops for each in paid.movements or ()] == [7 * UNIT]


async def test_changes_that_fall_out_of_the_history_while_it_runs_begin_anew(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Effects that cannot be read for too long are given up where they are: every wallet is read, payments go on."""
    monkeypatch.setattr(stream, "CHECK_S", 0.2)
    monkeypatch.setattr(start, "CHANGES_LEDGERS_MAX", 3)
    await scene.add_wallet(0)
    await scene.add_wallet(1)
    async with scene.stream(pace=Pace(idle_drain_s=0.2)):
        for wallet in (0, 1):
            await scene.store(await scene.until_told(wallet, units=100))
        await until_true(lambda: are_saved(scene), what="both cursors are saved")
        scene.horizon.faults.add(Fault(path_prefix="/effects", status=503, times=10**6))
        scene.chain.enqueue(crossed(scene, 0))
        scene.close()
        for number in range(1, 6):
            scene.pay(1, 1)
            scene.close()
            await scene.until_told(1, units=100 + number)
        await scene.until_told(0, units=80)
        scene.horizon.faults.clear()
        scene.chain.enqueue(crossed(scene, 0))
        scene.close()
        await scene.until_told(0, units=60)


async def test_a_first_start_reads_wallets_that_have_a_stored_fact(scene: Scene) -> None:
    """Under a new name nobody knows what came after the stored facts: every wallet is read, also when effects are not
    followed, and what changed is told with its movements.
    """
    for wallet in range(3):
        await scene.add_wallet(wallet)
    async with scene.stream():
        for wallet in range(3):
            await scene.store(await scene.until_told(wallet, units=100))
    scene.pay(1, 50)
    paid_at = scene.close()
    scene.close()
    async with scene.stream("another", pace=BLIND) as running:
        fact = await scene.until_told(1, units=150)
        await until_true(lambda: is_saved(scene, "another"), what="its cursor is saved")
        assert running.parts.metrics.reads._value.get() == 3
    assert (fact.ledger, fact.snapshot_type) == (paid_at, SnapshotType.POLL)
    assert [each.amount_stroops for each in fact.movements or ()] == [50 * UNIT]


async def test_very_many_wallets_are_read_beside_the_payments(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A census reads them the bulk way, pages of holders here; a payment meanwhile is told, and no cursor is saved
    before all are read.
    """
    monkeypatch.setattr("producers.census.SINGLY_MAX", 4)
    for wallet in range(10):
        await scene.add_wallet(wallet)
    async with scene.stream():
        for wallet in range(10):
            await scene.store(await scene.until_told(wallet, units=100))
    scene.chain.enqueue(crossed(scene, 3))
    scene.close()
    singly = Fault(path_prefix="/accounts/", times=10**6)  # it only counts
    holders = Fault(path_prefix="/accounts", status=503, headers={"Retry-After": "0"}, times=10**6)
    scene.horizon.faults.add(singly)
    scene.horizon.faults.add(holders)
    async with scene.stream("another") as running:
        await until_true(lambda: running.parts.metrics.missed._value.get() == 10 and holders.asked, what="it began")
        scene.pay(5, 50)
        scene.close()
        await scene.until_told(5, units=150)
        assert await scene.saved_ledger("another") is None
        scene.horizon.faults.clear()
        scene.horizon.faults.add(singly)
        await scene.until_told(3, units=80)
        await until_true(lambda: is_saved(scene, "another"), what="its cursor is saved")
        assert running.parts.metrics.missed._value.get() == 0
    assert singly.asked <= 3  # the one that was paid
