"""What no payment shows: the stream finds it by its effects, over Horizon's wire format, and loses none of it."""

import time
from datetime import UTC, datetime

import pytest

from producers import changes as changes_module
from producers.parts import Pace
from sandbox.chain_operations import (
    ClaimClaimableBalance,
    CreateClaimableBalance,
    LiquidityPoolWithdraw,
    SetTrustlineFlags,
)
from sandbox.horizon_faults import Fault
from schema.balance_event import SnapshotType
from tests.integration.producers.crossings import BLIND, ROWS, TWENTY, are_changes_saved, are_saved, crossed
from tests.integration.producers.scene import UNIT, Scene, until_true

PACE = Pace(idle_drain_s=20.0, wallets_refresh_s=20.0)


@pytest.mark.parametrize("row", ROWS)
async def test_what_no_payment_shows_is_told_by_its_effects(scene: Scene, row: str) -> None:
    """Nobody is paid, nobody asks: the fact comes with the balance after the change, as of its ledger, and says that
    no payment was there.
    """
    await scene.add_wallet(0)
    async with scene.stream() as running:
        baseline = await scene.until_told(0, units=100)
        scene.chain.enqueue(ROWS[row](scene, scene.account(0)))
        ledger = scene.close()
        fact = await scene.until_told(0, units=80)
        reads = running.parts.metrics.reads._value.get()
    assert (fact.ledger, fact.snapshot_type) == (ledger, SnapshotType.WEBHOOK)
    assert (fact.movements, fact.movements_since) == ((), baseline.ledger)
    assert reads == 2  # the baseline, and this


async def test_what_came_back_is_told_too(scene: Scene) -> None:
    """A claim and a withdrawal from a pool bring money in that no payment shows."""
    await scene.add_wallet(0)
    wallet, asset = scene.account(0), scene.people.asset
    async with scene.stream():
        await scene.until_told(0, units=100)
        payer = scene.people.payers[0].account_id
        scene.chain.enqueue(CreateClaimableBalance(source=payer, claimant=wallet, asset=asset, stroops=TWENTY))
        scene.chain.enqueue(ClaimClaimableBalance(source=wallet))
        scene.close()
        await scene.until_told(0, units=120)
        scene.chain.enqueue(ROWS["pool deposit"](scene, wallet))
        scene.close()
        await scene.until_told(0, units=100)
        scene.chain.enqueue(LiquidityPoolWithdraw(source=wallet, asset_a=None, asset_b=asset, shares_stroops=TWENTY))
        scene.close()
        await scene.until(lambda facts: sum(fact.balance_stroops == 120 * UNIT for fact in facts) == 2, what="back")


async def test_an_authorization_taken_away_is_told(scene: Scene) -> None:
    """The issuer freezes a wallet: a fact with the same balance says so."""
    await scene.add_wallet(0)
    async with scene.stream():
        await scene.until_told(0, units=100)
        issuer = scene.people.asset.issuer
        scene.chain.enqueue(
            SetTrustlineFlags(source=issuer, trustor=scene.account(0), asset=scene.people.asset, authorized=False)
        )
        ledger = scene.close()
        facts = await scene.until(lambda facts: len(facts) == 2, what="a second fact")
    assert (facts[1].ledger, facts[1].authorized, facts[1].balance_stroops) == (ledger, False, 100 * UNIT)


async def test_a_counterfeits_trade_is_nothing(scene: Scene) -> None:
    """A claimable balance of the same code from another issuer is fetched: nobody is read."""
    await scene.add_wallet(0)
    async with scene.stream() as running:
        await scene.until_told(0, units=100)
        fake = scene.people.counterfeiter.account_id
        scene.chain.enqueue(
            CreateClaimableBalance(
                source=fake, claimant=scene.account(0), asset=scene.people.counterfeit, stroops=TWENTY
            )
        )
        scene.chain.enqueue(ClaimClaimableBalance(source=scene.account(0)))
        ledger = scene.close()
        changes_ledger = running.parts.metrics.changes_ledger._value.get
        await until_true(lambda: changes_ledger() >= ledger, what="the ledger's changes were read")
        assert running.parts.metrics.reads._value.get() == 1


async def test_payments_are_read_once_whoever_sees_them_first(scene: Scene) -> None:
    """Every payment has effects too: they ask for no second read, and every movement is told."""
    for wallet in range(5):
        await scene.add_wallet(wallet)
    async with scene.stream() as running:
        for wallet in range(5):
            await scene.until_told(wallet, units=100)
        for number in range(1, 11):
            for wallet in range(5):
                scene.pay(wallet, 1)
            ledger = scene.close()
            for wallet in range(5):
                fact = await scene.until_told(wallet, units=100 + number)
                assert len(fact.movements or ()) == 1
        changes_ledger = running.parts.metrics.changes_ledger._value.get
        await until_true(lambda: changes_ledger() >= ledger, what="the changes were read")
        assert running.parts.metrics.reads._value.get() == 55
        assert running.parts.metrics.duplicates._value.get() == 0


async def test_where_it_is_switched_off_nothing_of_it_runs(scene: Scene) -> None:
    """With STREAM_CHANGES=false no effect is asked for, and no cursor of changes is kept."""
    await scene.add_wallet(0)
    effects = Fault(path_prefix="/effects", status=503, times=10**6)
    scene.horizon.faults.add(effects)
    async with scene.stream(pace=BLIND):
        await scene.until_told(0, units=100)
        scene.pay(0, 50)
        scene.close()
        await scene.until_told(0, units=150)
        await until_true(scene.saved_ledger, what="the cursor is saved")
    assert effects.asked == 0
    assert await scene.saved_ledger("stream:changes") is None


async def test_a_storm_of_effects_delays_no_payment(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty pages of strangers' effects, with a budget that lets a quarter of the requests through to them: payments
    are told as if there were none, and the page says that changes are behind and what to do.
    """
    monkeypatch.setattr(changes_module, "BEHIND_S_MAX", 0.5)
    monkeypatch.setattr(changes_module, "BURST_REQUESTS", 2)
    await scene.add_wallet(0)
    async with scene.stream() as running:
        await scene.store(await scene.until_told(0, units=100))
        await until_true(lambda: are_saved(scene), what="both cursors are saved")
    for _ in range(4):
        for number in range(1_000):
            scene.pay(1 + number % 9, 1)
        scene.close()
    pages = Fault(path_prefix="/effects", only="page", times=10**6)
    scene.horizon.faults.add(pages)
    pace = Pace(idle_drain_s=20.0, wallets_refresh_s=20.0, requests_per_hour=4 * 3600)
    began_s = time.monotonic()
    async with scene.stream(pace=pace) as running:
        await until_true(lambda: running.parts.readiness.reasons().get("changes"), what="it says that it is behind")
        for number in range(1, 6):
            scene.pay(0, 1)
            scene.close()
            await scene.until_told(0, units=100 + number)
        said = running.parts.readiness.reasons()["changes"]  # the storm is not over: nothing waited for it
        assert pages.asked <= 2 + 1 + 2 * (time.monotonic() - began_s)
    assert pages.asked < 40
    assert "HORIZON_REQUESTS_PER_HOUR" in said


async def test_wallets_that_changed_wait_for_their_share_and_one_that_was_paid_does_not(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one read in six seconds for what only changed, six wallets take long; a payment meanwhile is told at once.
    What still waits when the stream ends is found by the next one.
    """
    monkeypatch.setattr(changes_module, "BURST_REQUESTS", 1)
    for wallet in range(7):
        await scene.add_wallet(wallet)
    async with scene.stream():
        for wallet in range(7):
            await scene.store(await scene.until_told(wallet, units=100))
        await until_true(lambda: are_saved(scene), what="both cursors are saved")
    pace = Pace(idle_drain_s=20.0, wallets_refresh_s=20.0, requests_per_hour=4 * 600)
    async with scene.stream(pace=pace):
        for wallet in range(6):
            scene.chain.enqueue(crossed(scene, wallet))
        scene.close()
        await scene.until(lambda facts: any(each.balance_stroops == 80 * UNIT for each in facts), what="the first one")
        scene.pay(6, 50)
        scene.close()
        await scene.until_told(6, units=150)
        assert sum(each.balance_stroops == 80 * UNIT for each in await scene.read()) < 6
    async with scene.stream():
        await scene.until(
            lambda facts: len({each.account_id for each in facts if each.balance_stroops == 80 * UNIT}) == 6, what="all"
        )


async def test_an_effect_that_cannot_be_read_is_a_dead_letter(scene: Scene) -> None:
    """It is kept with its place and reason, the wallet it names is read, and the rest goes on."""
    await scene.add_wallet(0)
    async with scene.stream():
        await scene.store(await scene.until_told(0, units=100))
        await until_true(lambda: are_saved(scene), what="both cursors are saved")
        ledger = scene.chain.latest.sequence + 1
        token = f"{ledger << 32 | 4097}-1"
        bent = (
            f'{{"_embedded":{{"records":[{{"paging_token":"{token}","type":"trade","account":7,'
            f'"note":"{scene.account(0)}","created_at":"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}}]}}}}'
        )
        headers = {"Content-Type": "application/json"}
        scene.horizon.faults.add(
            Fault(path_prefix="/effects", only="page", status=200, body=bent.encode(), headers=headers)
        )
        scene.chain.enqueue(crossed(scene, 0))
        scene.close()
        await scene.until_told(0, units=80)
        await until_true(lambda: are_changes_saved(scene, ledger), what="the cursor moves on")
    row = await scene.connection.fetchrow("select * from public.dead_letters")
    assert (row["topic"], row["offset"], row["key"]) == ("horizon:effects", ledger << 32 | 4097, token.encode())
    assert row["reason"] == "malformed sold_asset_type"
