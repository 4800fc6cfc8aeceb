"""Where going on would be wrong until a person decides, the stream stops and says what to do."""

import asyncio
from datetime import UTC, datetime

import pytest

from producers import history, stream
from producers.history import REPLICA_LAG_LEDGERS
from producers.parts import Pace
from producers.source import Fatal
from producers.start import Wish
from producers.stream import Stream
from sandbox import world
from sandbox.horizon import Horizon
from sandbox.horizon_faults import Fault
from sandbox.horizon_instance import Options
from sandbox.horizon_problems import before_history
from schema.balance_event import SnapshotType
from schema.stellar import Network
from tests.integration.producers.scene import PACE, Scene, until_true


@pytest.mark.parametrize("problem", ["network", "beyond", "before"])
async def test_what_a_person_must_decide_stops_the_stream(scene: Scene, problem: str) -> None:
    """The wrong network, a cursor beyond the tip and one before the history end the stream with the remedy."""
    await scene.add_wallet(0)
    async with scene.stream():
        await scene.store(await scene.until_told(0, units=100))
        await until_true(scene.saved_ledger, what="the cursor is saved")
    remedy = "--accept-gap"
    if problem == "network":
        scene.chain.network, remedy = Network.MAINNET, "STELLAR_NETWORK"
    elif problem == "beyond":
        await scene.connection.execute("update public.stream_cursors set ledger = ledger + 1000000")
    else:
        for _ in range(5):
            scene.close()
        scene.chain.history.trim(before_ledger=scene.chain.latest.sequence)
    with pytest.raises(Fatal, match=remedy):
        async with scene.stream() as running:
            await asyncio.wait([running.task], timeout=30)


async def test_a_history_that_is_lost_while_running_stops_the_stream(scene: Scene) -> None:
    """Horizon's `410 before history` ends a running stream with the remedy, as at a start."""
    await scene.add_wallet(0)
    async with scene.parts() as parts:
        following = asyncio.create_task(Stream("stream", parts, PACE).run(Wish()))
        await scene.until_told(0, units=100)
        fault = Fault(path_prefix="/payments", status=410, body=before_history().body, times=1_000)
        scene.horizon.faults.add(fault)
        await scene.request(await scene.connection.fetchval("select id from public.stellar_wallets"))
        with pytest.raises(Fatal, match="--accept-gap"):
            await asyncio.wait_for(following, 30)


async def test_a_410_that_is_not_horizons_stops_nothing(scene: Scene) -> None:
    """A proxy that says "gone" does not say that the history is: the stream says so, goes on, and loses nothing."""
    await scene.add_wallet(0)
    async with scene.stream() as running:
        await scene.until_told(0, units=100)
        scene.horizon.faults.add(Fault(path_prefix="/payments", status=410, body=b"<html>Gone</html>", times=1_000))
        scene.pay(0, 50)
        scene.close()
        await until_true(lambda: "410" in str(running.parts.readiness.reasons()), what="the readiness page says it")
        scene.horizon.faults.clear()
        await scene.until_told(0, units=150)


async def test_an_accepted_gap_reads_every_wallet(scene: Scene) -> None:
    """After a gap every balance is right again, and movements that nobody can know are not claimed."""
    for wallet in (0, 1):
        await scene.add_wallet(wallet)
    async with scene.stream():
        for wallet in (0, 1):
            await scene.store(await scene.until_told(wallet, units=100))
        await until_true(scene.saved_ledger, what="the cursor is saved")
    scene.pay(0, 50)
    for _ in range(5):
        scene.close()
    scene.chain.history.trim(before_ledger=scene.chain.latest.sequence)
    async with scene.stream(wish=Wish(accept_gap=True)) as running:
        fact = await scene.until_told(0, units=150)
        await until_true(lambda: running.parts.metrics.duplicates._value.get() == 1, what="the other is as it was")
    assert (fact.movements, fact.movements_since, fact.snapshot_type) == (None, None, SnapshotType.POLL)


@pytest.mark.parametrize("problem", ["reset", "trimmed"])
async def test_what_happens_to_the_source_while_it_runs_stops_the_stream(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    """A network that begins again at its first ledger, and a history cut off behind the cursor while Horizon was away,
    end a running stream with the remedy; nothing is told of what is not there.
    """
    monkeypatch.setattr(stream, "CHECK_S", 0.2)
    monkeypatch.setattr(history, "LAGGING_WAIT_S", 0.05)
    await scene.add_wallet(0)
    async with scene.parts() as parts:
        following = asyncio.create_task(Stream("stream", parts, Pace(idle_drain_s=0.2)).run(Wish()))
        await scene.store(await scene.until_told(0, units=100))
        await until_true(scene.saved_ledger, what="the cursor is saved")
        before = await scene.saved_ledger()
        if problem == "reset":
            chain, people = world.build(seed=11, wallets=1, started_at=datetime.now(UTC), start_ledger=3)
            async with Horizon(chain, people, options=Options(stream_check_s=0)) as reset:
                parts.source._http.url = reset.url  # type: ignore[attr-defined]
                with pytest.raises(Fatal, match=r"reset.*--accept-gap"):
                    await asyncio.wait_for(following, 30)
        else:
            scene.horizon.faults.add(Fault(status=503, times=1_000_000))
            await until_true(parts.readiness.reasons, what="it is away")
            scene.pay(0, 50)
            for _ in range(5):
                scene.close()
            scene.chain.history.trim(before_ledger=scene.chain.latest.sequence)
            scene.horizon.faults.clear()
            with pytest.raises(Fatal, match=r"begins with.*--accept-gap"):
                await asyncio.wait_for(following, 30)
    assert await scene.saved_ledger() == before
    assert len(await scene.facts_of(0)) == 1


async def test_one_replica_far_behind_stops_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where some answers come from a replica hours behind, neither a start nor the check while it runs takes that for a
    network that was reset.
    """
    monkeypatch.setattr(stream, "CHECK_S", 0.1)
    monkeypatch.setattr(history, "LAGGING_WAIT_S", 0.05)
    await scene.add_wallet(0)
    for _ in range(REPLICA_LAG_LEDGERS + 30):
        scene.close()
    async with scene.stream():
        await scene.until_told(0, units=100)
        await until_true(scene.saved_ledger, what="the cursor is saved")
    behind = Fault(lag_ledgers=REPLICA_LAG_LEDGERS + 20, times=1_000_000, every=2)
    scene.horizon.faults.add(behind)
    async with scene.stream(pace=Pace(idle_drain_s=0.1)):
        for units in (150, 200, 250):
            scene.pay(0, 50)
            scene.close()
            await scene.until_told(0, units=units)
