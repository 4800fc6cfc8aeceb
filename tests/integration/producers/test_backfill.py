"""`backfill` in a whole world: what a stream missed is found in the history, read once, and told."""

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from producers.backfill.run import Backfill, Order
from producers.progress import Steps
from producers.reconcile.store import RowStore
from producers.source import Fatal, Unavailable
from producers.start import Wish
from sandbox.chain_operations import CrossOffer, Payment
from sandbox.horizon_faults import Fault
from schema.stellar import Address, Ledger, Network, Stroops, cursor_after_ledger
from tests.integration.producers.recorder import compare, recording
from tests.integration.producers.scene import UNIT, Scene, until_true
from tests.integration.producers.test_reconcile import follow, stored_units
from tests.unit.consumer.worlds import POLICY
from tests.unit.producers.records import HASH

ORDER = Order(since=Ledger(1), patience_s=20.0, quiet_s=2.0)


async def backfill(
    scene: Scene,
    *,
    since: int,
    until: int | None = None,
    is_dry: bool = False,
    rpc: bool = False,
    patience_s: float = ORDER.patience_s,
) -> dict[str, Any]:
    """What `python -m producers backfill` says in the end."""
    last = Ledger(until) if until else None
    order = replace(ORDER, since=Ledger(since), until=last, is_dry=is_dry, patience_s=patience_s)
    async with scene.parts(rpc=rpc) as parts:
        rows = await RowStore.open(scene.database_url)
        try:
            work = Backfill(parts, rows, Steps(console=None), order)
            await work.run()
        finally:
            await rows.close()
    return work.summary()


def come_in(scene: Scene, wallet: int) -> None:
    """50 from somebody, 30 from the vault, each in a ledger of its own."""
    scene.pay(wallet, 50)
    scene.close()
    withdrawal = Payment(
        source=scene.people.vault.account_id,
        to=scene.account(wallet),
        asset=scene.people.asset,
        stroops=Stroops(30 * UNIT),
    )
    scene.chain.enqueue(withdrawal)
    scene.close()


def cross(scene: Scene, wallet: int, units: int) -> None:
    """Somebody takes the wallet's offer: no payment shows it."""
    scene.chain.enqueue(
        CrossOffer(
            source=scene.people.payers[0].account_id,
            maker=scene.account(wallet),
            sold=None,
            sold_stroops=Stroops(UNIT),
            bought=scene.people.asset,
            bought_stroops=Stroops(units * UNIT),
        )
    )


async def commanded(scene: Scene, wallet: int) -> int:
    """Stroops that commands of this wallet are for."""
    return int(
        await scene.connection.fetchval(
            "select coalesce(sum(amount) * 10000000, 0)::bigint from public.deposit_commands where account_id = $1",
            scene.account(wallet),
        )
    )


async def move_cursor_to_the_tip(scene: Scene) -> None:
    """As a hand does that should not."""
    newest = scene.chain.latest.sequence
    await scene.connection.execute(
        "update public.stream_cursors set cursor = $1, ledger = $2",
        cursor_after_ledger(Ledger(newest)),
        newest,
    )


async def test_what_a_stream_missed_leads_to_the_same_commands(scene: Scene) -> None:
    """A wallet paid while a stream ran, another one paid alike in a gap that no stream saw: after the backfill both
    have the same balance and are commanded the same, without what came from the vault. The running stream's cursor is
    left alone.
    """
    await follow(scene)
    vault = Address(scene.people.vault.account_id)
    policy = replace(POLICY, excluded_sources=frozenset((vault,)), min_deposit_stroops=Stroops(10 * UNIT))
    async with recording(scene, policy=policy):
        async with scene.stream():
            come_in(scene, 0)
            await until_true(lambda: _holds(scene, 0, 180), what="wallet 0 is recorded")
            await until_true(scene.saved_ledger, what="the cursor is saved")
        gap_begins = scene.chain.latest.sequence + 1
        come_in(scene, 1)
        cross(scene, 2, 40)
        scene.close()
        await move_cursor_to_the_tip(scene)
        async with scene.stream():
            scene.pay(3, 1)
            scene.close()
            await until_true(lambda: _holds(scene, 3, 101), what="the stream goes on behind the gap")
            assert await stored_units(scene, 1) == 100
            saved = await scene.connection.fetchrow("select * from public.stream_cursors")
            summary = await backfill(scene, since=gap_begins)
            await until_true(lambda: _holds(scene, 1, 180), what="wallet 1 is recorded")
            await until_true(lambda: _holds(scene, 2, 60), what="what no payment shows is recorded, too")
            assert await scene.connection.fetchrow("select * from public.stream_cursors") == saved
        report = await compare(scene)
    assert (await commanded(scene, 0), await commanded(scene, 1)) == (50 * UNIT, 50 * UNIT)
    fact = await scene.until_told(1, units=180)
    assert fact.movements is not None
    assert [each.amount_stroops // UNIT for each in fact.movements] == [50, 30]
    assert summary["done"]
    assert (summary["marked"], summary["told"]) == (3, 2)  # wallet 3 was told by the stream
    assert report.is_equal


async def _holds(scene: Scene, wallet: int, units: int) -> bool:
    return await stored_units(scene, wallet) == units


async def test_a_gap_without_a_payment_is_read_all_the_same(scene: Scene) -> None:
    """Where the ledgers hold nothing but an offer crossed, at their very end, its wallet is found."""
    await follow(scene)
    scene.close()
    cross(scene, 2, 40)
    ledger = scene.close()
    summary = await backfill(scene, since=ledger - 1)
    assert (summary["marked"], summary["told"], summary["read_up_to"]) == (1, 1, ledger)
    await scene.until_told(2, units=60)


async def test_a_dry_run_tells_nothing(scene: Scene) -> None:
    """It says how many wallets the ledgers touched, up to the last one asked for, and leaves everything as it was."""
    await follow(scene)
    first = scene.chain.latest.sequence + 1
    for wallet in (0, 1, 2):
        scene.pay(wallet, 5)
        scene.close()
    told = len([each for wallet in range(6) for each in await scene.facts_of(wallet)])
    summary = await backfill(scene, since=first, until=first + 1, is_dry=True)
    assert (summary["marked"], summary["told"], summary["done"]) == (2, 0, True)
    assert (summary["from_ledger"], summary["to_ledger"], summary["read_up_to"]) == (first, first + 1, first + 1)
    assert len([each for wallet in range(6) for each in await scene.facts_of(wallet)]) == told


@pytest.mark.parametrize(("since", "until"), [(-1, None), (1, 2), (2, 1)])
async def test_ledgers_outside_the_history_are_for_a_person(scene: Scene, since: int, until: int | None) -> None:
    """Before the history, behind it, or backwards: it says which ledgers there are."""
    elder, newest = scene.chain.history.elder_ledger, scene.chain.latest.sequence
    asked = {-1: elder - 1, 1: newest, 2: newest + 1}[since]
    with pytest.raises(Fatal, match=f"has the ledgers {elder} to {newest}"):
        await backfill(scene, since=asked, until=None if until is None else newest + until)


async def test_the_wrong_network_is_for_a_person(scene: Scene) -> None:
    """A source of another network is not read."""
    scene.chain.network = Network.MAINNET
    with pytest.raises(Fatal, match="STELLAR_NETWORK"):
        await backfill(scene, since=scene.chain.latest.sequence)


async def test_a_record_that_cannot_be_read_marks_whom_it_names(scene: Scene) -> None:
    """It becomes a dead letter, one row whether the stream or two backfills refuse it, and the wallet it names is read
    all the same; a dry run writes none.
    """
    await follow(scene)
    first = scene.chain.latest.sequence + 1
    token = str(first << 32 | 4097)
    asset = scene.people.asset
    bent = {
        "id": token,
        "paging_token": token,
        "transaction_successful": True,
        "source_account": scene.people.payers[0].account_id,
        "type": "payment",
        "created_at": "2026-01-31T12:00:00Z",
        "transaction_hash": HASH[:-1],
        "asset_type": asset.horizon_type,
        "asset_code": asset.code,
        "asset_issuer": asset.issuer,
        "from": scene.people.payers[0].account_id,
        "to": scene.account(0),
        "amount": "9.0000000",
    }
    scene.chain.replay(bent)
    scene.pay(1, 50)
    scene.close()
    dry = await backfill(scene, since=first, is_dry=True)
    assert (dry["marked"], dry["refused_records"]) == (2, 1)
    assert await dead_letters(scene) == 0
    summary = await backfill(scene, since=first)
    assert (summary["told"], summary["refused_records"]) == (2, 1)
    assert await dead_letters(scene) == 1
    fact = await scene.until_told(0, units=109)
    assert fact.movements is None  # what the record says of them cannot be read
    async with scene.stream(wish=Wish(from_ledger=Ledger(first))):
        await until_true(scene.saved_ledger, what="the stream has read it, too")
    assert await dead_letters(scene) == 1


async def dead_letters(scene: Scene) -> int:
    return int(await scene.connection.fetchval("select count(*) from public.dead_letters"))


async def test_lagging_replicas_leave_nothing_out(scene: Scene) -> None:
    """Every second answer comes from a replica that is behind: the newest payment is found all the same."""
    await follow(scene)
    first = scene.chain.latest.sequence + 1
    for wallet in range(6):
        scene.pay(wallet, 5)
        scene.close()
    for path in ("/payments", "/effects", "/accounts"):
        scene.horizon.faults.add(Fault(path_prefix=path, every=2, times=1_000, lag_ledgers=3))
    async with recording(scene):
        summary = await backfill(scene, since=first)
        assert (summary["marked"], summary["told"]) == (6, 6)
        await until_true(lambda: _holds(scene, 5, 105), what="the last one is recorded")


async def test_where_it_was_interrupted_it_goes_on(scene: Scene) -> None:
    """Cancelled while wallets are told, it names the ledger from which all that is left was touched; from there on it
    does the rest and nothing twice.
    """
    await follow(scene)
    first = scene.chain.latest.sequence + 1
    for wallet in range(6):
        scene.pay(wallet, 5)
        scene.close()
    scene.horizon.faults.add(Fault(path_prefix=f"/accounts/{scene.account(4)}", delay_s=30, times=1_000))
    async with scene.parts() as parts, recording(scene):
        rows = await RowStore.open(scene.database_url)
        work = Backfill(parts, rows, Steps(console=None), replace(ORDER, since=Ledger(first)))
        running = asyncio.create_task(work.run())
        await until_true(lambda: work.marks.marked == 6, what="all are marked")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await rows.close()
        summary = work.summary()
        assert not summary["done"]
        go_on = int(summary["go_on"].split("--from ")[1].split()[0])
        assert first <= go_on <= first + 4
        scene.horizon.faults.clear()
        rest = await backfill(scene, since=go_on)
        assert rest["done"]
        for wallet in range(6):
            await until_true(partial(_holds, scene, wallet, 105), what=f"wallet {wallet} is recorded")


async def test_a_replica_that_stands_still_is_not_the_end_of_the_history(scene: Scene) -> None:
    """The newest ledger is known, and nobody shows its records: quiet as that is, it is not done. It gives up with what
    is missing, or is done when the replica has caught up.
    """
    await follow(scene)
    first = scene.chain.latest.sequence + 1
    for wallet in (0, 1):
        scene.pay(wallet, 5)
        scene.close()
    for path in ("/payments", "/effects", "/ledgers"):
        scene.horizon.faults.add(Fault(path_prefix=path, lag_ledgers=2, times=10**6))
    task = asyncio.create_task(backfill(scene, since=first, patience_s=3.0))
    with pytest.raises(Unavailable, match=f"ledger {first + 1}"):
        await task
    task = asyncio.create_task(backfill(scene, since=first))
    fault = scene.horizon.faults._waiting[0]
    asked = fault.asked
    await until_true(lambda: fault.asked > asked + 3, what="it asks")
    scene.horizon.faults.clear()
    assert (await task)["marked"] == 2
