"""The stream when the source is in trouble: behind, refusing, silent, broken off. Nothing is lost."""

import time

import pytest

from producers import stream
from producers.asking import open_session
from producers.parts import Pace
from sandbox.horizon_faults import Fault
from tests.integration.producers.scene import UNIT, Scene, until_true


async def test_a_state_behind_the_payment_is_read_again(scene: Scene) -> None:
    """A replica that has not seen the payment yet is asked again; its old balance is never told as the new one."""
    await scene.add_wallet(0)
    async with scene.stream() as running:
        await scene.until_told(0, units=100)
        scene.pay(0, 50)
        scene.horizon.faults.add(Fault(path_prefix="/accounts/", lag_ledgers=1, times=3))
        ledger = scene.close()
        fact = await scene.until_told(0, units=150)
        assert running.parts.metrics.reads_lagging._value.get() == 3
    assert fact.observed_ledger >= ledger
    assert len(await scene.read()) == 2


async def test_what_cannot_be_read_now_waits_and_holds_the_cursor(scene: Scene) -> None:
    """A wallet whose state the source refuses does not hold up the others; the saved cursor stays before its payment,
    so that a crash would read it again.
    """
    await scene.add_wallet(0)
    await scene.add_wallet(1)
    async with scene.stream():
        for wallet in (0, 1):
            await scene.store(await scene.until_told(wallet, units=100))
        await until_true(scene.saved_ledger, what="the cursor is saved")
        path = f"/accounts/{scene.account(0)}"
        scene.horizon.faults.add(Fault(path_prefix=path, status=504, times=1_000))
        before = await scene.saved_ledger()
        scene.pay(0, 50)
        scene.pay(1, 50)
        ledger = scene.close()
        await scene.until_told(1, units=150)
        assert await scene.saved_ledger() == before
    assert await scene.saved_ledger() == before
    scene.horizon.faults.clear()
    async with scene.stream():
        fact = await scene.until_told(0, units=150)
        await until_true(lambda: _is_saved(scene, ledger), what="the cursor moves on")
    assert fact.movements is not None
    assert [each.amount_stroops for each in fact.movements] == [50 * UNIT]


async def test_a_read_that_hangs_does_not_hold_up_the_others(scene: Scene) -> None:
    """One account whose page never comes costs the others one round; afterwards they are told as quickly as ever."""
    for wallet in (0, 1):
        await scene.add_wallet(wallet)
    async with scene.stream():
        for wallet in (0, 1):
            await scene.until_told(wallet, units=100)
        scene.horizon.faults.add(Fault(path_prefix=f"/accounts/{scene.account(0)}", delay_s=120, times=1_000))
        scene.pay(0, 50)
        scene.pay(1, 1)
        scene.close()
        await scene.until_told(1, units=101)
        began = time.monotonic()
        for units in (102, 103, 104):
            scene.pay(1, 1)
            scene.close()
            await scene.until_told(1, units=units)
        assert time.monotonic() - began < 2 * stream.ROUND_S  # and not a round for each of the three
        scene.horizon.faults.clear()
        await scene.until_told(0, units=150)


@pytest.mark.parametrize("status", [429, 500, 503, 504])
async def test_a_source_in_trouble_is_asked_again(scene: Scene, status: int) -> None:
    """Refusals of every kind, with a body that is no JSON, delay a fact and lose nothing."""
    await scene.add_wallet(0)
    async with scene.stream():
        await scene.until_told(0, units=100)
        headers = {"Retry-After": "1"} if status == 429 else {}
        for path in ("/payments", "/accounts/", "/payments"):
            scene.horizon.faults.add(Fault(path_prefix=path, status=status, headers=headers, body=b"<html>", times=2))
        began = time.monotonic()
        scene.pay(0, 50)
        scene.close()
        fact = await scene.until_told(0, units=150)
    assert fact.movements is not None
    if status == 429:
        assert time.monotonic() - began >= 1


async def test_a_body_cut_short_is_asked_for_again(scene: Scene) -> None:
    """A connection that ends inside a body is a failure, not a shorter page."""
    await scene.add_wallet(0)
    async with scene.stream():
        await scene.until_told(0, units=100)
        for path in ("/payments", "/accounts/"):
            scene.horizon.faults.add(Fault(path_prefix=path, cut_after_bytes=100, times=2))
        scene.pay(0, 50)
        scene.close()
        await scene.until_told(0, units=150)


async def test_a_proxys_404_is_no_balance_of_zero(scene: Scene) -> None:
    """A 404 that does not come from Horizon's state (no ledger in its headers) never becomes an absence."""
    await scene.add_wallet(0)
    async with scene.stream():
        await scene.until_told(0, units=100)
        scene.horizon.faults.add(Fault(path_prefix="/accounts/", status=404, body=b"not here", times=6))
        scene.pay(0, 50)
        scene.close()
        await scene.until_told(0, units=150)
        assert len(await scene.facts_of(0)) == 2


async def test_a_silent_stream_is_dead(scene: Scene) -> None:
    """A stream without a byte for too long is said to be dead and connected anew; its payments come by the interval."""
    await scene.add_wallet(0)
    async with scene.stream(pace=Pace(idle_drain_s=1.0), silence_s_max=0.2) as running:
        await scene.until_told(0, units=100)
        await until_true(lambda: "dead" in running.parts.readiness.reasons().get("stream", ""), what="it says so")
        scene.pay(0, 50)
        scene.close()
        await scene.until_told(0, units=150)


async def test_a_stream_that_ends_with_an_error_is_connected_anew(scene: Scene) -> None:
    """`event: error` ends a stream early; the next one wakes again."""
    await scene.add_wallet(0)
    scene.horizon.faults.add(Fault(path_prefix="/payments", stream_error="sql: no rows in result set", times=4))
    async with scene.stream() as running:
        await scene.until_told(0, units=100)

        def is_said() -> bool:
            scene.close()  # a stream that was not connected yet hears of the next one
            return "no rows" in running.parts.readiness.reasons().get("stream", "")

        await until_true(is_said, what="it says so")
        await until_true(lambda: not running.parts.readiness.reasons(), what="the stream is up again")
        scene.pay(0, 50)
        scene.close()
        await scene.until_told(0, units=150)


async def test_a_full_page_of_the_same_records_does_not_run_for_ever(scene: Scene) -> None:
    """A proxy that answers every cursor with the same full page is a source in trouble, and no payment counts twice."""
    await scene.add_wallet(0)
    async with scene.stream() as running:
        await scene.store(await scene.until_told(0, units=100))
        await until_true(scene.saved_ledger, what="the cursor is saved")
    for _ in range(250):
        scene.pay(0, 1)
    scene.close()
    url = f"{scene.horizon.url}/payments?order=asc&limit=200&cursor="
    async with open_session() as session:
        page = await (await session.get(url)).read()
    scene.horizon.faults.add(Fault(path_prefix="/payments", status=200, body=page, times=4))
    async with scene.stream() as running:
        await until_true(lambda: running.parts.readiness.reasons().get("cycle"), what="it says so")
        fact = await scene.until_told(0, units=350)
    assert len(fact.movements or ()) == 250


async def _is_saved(scene: Scene, ledger: int) -> bool:
    return (await scene.saved_ledger() or 0) >= ledger
