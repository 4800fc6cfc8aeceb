"""What no payment shows: the stream finds it by its effects, over Horizon's wire format, and loses none of it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from producers import changes as changes_module
from producers import start, stream
from producers.parts import Pace
from sandbox.broker import EmbeddedBroker
from sandbox.chain_operations import (
    ClaimClaimableBalance,
    Clawback,
    CreateClaimableBalance,
    CrossOffer,
    LiquidityPoolDeposit,
    LiquidityPoolWithdraw,
    Operation,
    SetTrustlineFlags,
)
from sandbox.children import Child
from sandbox.horizon_faults import Fault
from schema.balance_event import SnapshotType
from schema.stellar import AccountId, Stroops
from tests.acceptance.test_stream import environment
from tests.fixtures_brokers import Broker
from tests.integration.producers.scene import UNIT, Scene, until_true
from tests.integration.producers.test_stream_troubles import mortal as mortal  # noqa: PLC0414 - the same broker

PACE = Pace(idle_drain_s=20.0, wallets_refresh_s=20.0)
BLIND = Pace(idle_drain_s=20.0, wallets_refresh_s=20.0, changes=False)
TWENTY = Stroops(20 * UNIT)


def crossed(scene: Scene, wallet: int) -> CrossOffer:
    """The wallet's offer to sell 20 is taken by the market."""
    return CrossOffer(
        source=scene.people.market.account_id,
        maker=scene.account(wallet),
        sold=None,
        sold_stroops=Stroops(5),
        bought=scene.people.asset,
        bought_stroops=TWENTY,
    )


ROWS: dict[str, Callable[[Scene, AccountId], Operation]] = {
    "offer crossed": lambda scene, _: crossed(scene, 0),
    "claimable balance created": lambda scene, wallet: CreateClaimableBalance(
        source=wallet, claimant=scene.people.payers[0].account_id, asset=scene.people.asset, stroops=TWENTY
    ),
    "clawback": lambda scene, wallet: Clawback(
        source=scene.people.asset.issuer, account=wallet, asset=scene.people.asset, stroops=TWENTY
    ),
    "pool deposit": lambda scene, wallet: LiquidityPoolDeposit(
        source=wallet, asset_a=None, asset_b=scene.people.asset, a_stroops=TWENTY, b_stroops=TWENTY
    ),
}


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


async def test_what_was_crossed_while_it_was_dead_is_found_by_the_changes_cursor(scene: Scene) -> None:
    """After a restart the changes go on where they were saved: the wallet that changed is read, and no other."""
    for wallet in range(3):
        await scene.add_wallet(wallet)
    async with scene.stream():
        for wallet in range(3):
            await scene.store(await scene.until_told(wallet, units=100))
        await until_true(lambda: _are_saved(scene), what="both cursors are saved")
    scene.chain.enqueue(crossed(scene, 1))
    ledger = scene.close()
    scene.close()
    async with scene.stream() as running:
        fact = await scene.until_told(1, units=80)
        await until_true(lambda: _are_saved(scene, ledger), what="both cursors are saved")
        assert running.parts.metrics.reads._value.get() == 1
    assert fact.ledger == ledger


async def test_the_changes_cursor_waits_for_the_brokers_ack(scene: Scene, mortal: Broker) -> None:
    """With the broker frozen the place of the changes is not saved, however long; once it answers, it is."""
    assert isinstance(mortal.node, EmbeddedBroker)
    await scene.add_wallet(0)
    scene.kafka = mortal.settings
    async with scene.stream() as running:
        await until_true(lambda: _are_saved(scene), what="both cursors are saved")
        before = await scene.saved_ledger("stream:changes")
        mortal.node.pause()
        scene.chain.enqueue(crossed(scene, 0))
        ledger = scene.close()
        await until_true(lambda: running.parts.readiness.reasons().get("broker"), what="it says so")
        assert await scene.saved_ledger("stream:changes") == before
        mortal.node.resume()
        await until_true(lambda: _are_changes_saved(scene, ledger), what="the place is saved")
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
        await until_true(lambda: _are_saved(scene), what="both cursors are saved")
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
        await until_true(lambda: _are_changes_saved(scene, ledger), what="the place moves on")
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
    await until_true(lambda: _are_saved(scene), what="both cursors are saved")
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
        await until_true(lambda: _are_saved(scene), what="both cursors are saved")
    scene.chain.enqueue(crossed(scene, 1))
    crossed_at = scene.close()
    scene.pay(2, 7)
    for _ in range(4):
        ledger = scene.close()
    async with scene.stream() as running:
        fact = await scene.until_told(1, units=80)
        paid = await scene.until_told(2, units=107)
        await until_true(lambda: _are_saved(scene, crossed_at), what="both cursors are saved")
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
        await until_true(lambda: _are_saved(scene), what="both cursors are saved")
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
        await until_true(lambda: _is_saved(scene, "another"), what="its cursor is saved")
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
    holders = Fault(path_prefix="/accounts", delay_s=1.0, times=1)
    scene.horizon.faults.add(holders)
    scene.horizon.faults.add(singly)
    async with scene.stream("another") as running:
        await until_true(lambda: running.parts.metrics.missed._value.get() == 10, what="it began")
        scene.pay(5, 50)
        scene.close()
        await scene.until_told(5, units=150)
        assert await scene.saved_ledger("another") is None
        await scene.until_told(3, units=80)
        await until_true(lambda: _is_saved(scene, "another"), what="its cursor is saved")
        assert running.parts.metrics.missed._value.get() == 0
    assert singly.asked <= 3  # the one that was paid


async def test_a_storm_of_effects_delays_no_payment(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty pages of strangers' effects, with a budget that lets a quarter of the requests through to them: payments
    are told as if there were none, and the page says that changes are behind and what to do.
    """
    monkeypatch.setattr(changes_module, "BEHIND_S_MAX", 0.5)
    monkeypatch.setattr(changes_module, "BURST_REQUESTS", 2)
    await scene.add_wallet(0)
    async with scene.stream() as running:
        await scene.store(await scene.until_told(0, units=100))
        await until_true(lambda: _are_saved(scene), what="both cursors are saved")
    for _ in range(4):
        for number in range(1_000):
            scene.pay(1 + number % 9, 1)
        scene.close()
    pages = Fault(path_prefix="/effects", only="page", times=10**6)
    scene.horizon.faults.add(pages)
    pace = Pace(idle_drain_s=20.0, wallets_refresh_s=20.0, requests_per_hour=4 * 3600)
    async with scene.stream(pace=pace) as running:
        await until_true(lambda: running.parts.readiness.reasons().get("changes"), what="it says that it is behind")
        began_s, slowest_s = time.monotonic(), 0.0
        for number in range(1, 6):
            paid_s = time.monotonic()
            scene.pay(0, 1)
            scene.close()
            await scene.until_told(0, units=100 + number)
            slowest_s = max(slowest_s, time.monotonic() - paid_s)
        assert pages.asked <= 2 + 1 + 2 * (time.monotonic() - began_s + 5)
        said = running.parts.readiness.reasons()["changes"]
    assert slowest_s < 3.0
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
        await until_true(lambda: _are_saved(scene), what="both cursors are saved")
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
        await until_true(lambda: _are_saved(scene), what="both cursors are saved")
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
        await until_true(lambda: _are_changes_saved(scene, ledger), what="the cursor moves on")
    row = await scene.connection.fetchrow("select * from public.dead_letters")
    assert (row["topic"], row["offset"], row["key"]) == ("horizon:effects", ledger << 32 | 4097, token.encode())
    assert row["reason"] == "malformed sold_asset_type"


async def _are_saved(scene: Scene, ledger: int = 0) -> bool:
    """Both cursors, and the one of the changes at least here."""
    return await scene.saved_ledger() is not None and await _are_changes_saved(scene, ledger)


async def _are_changes_saved(scene: Scene, ledger: int) -> bool:
    found = await scene.saved_ledger("stream:changes")
    return found is not None and found >= ledger


async def _is_saved(scene: Scene, name: str) -> bool:
    return await scene.saved_ledger(name) is not None
