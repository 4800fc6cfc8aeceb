"""The stream over Horizon's wire format, a real PostgreSQL and a broker: what it tells, and when."""

import asyncio

from producers.parts import Pace
from producers.start import Wish
from sandbox.chain_operations import ChangeTrust, CrossOffer, Payment, SetTrustlineFlags
from schema.balance_event import BalanceEvent, SnapshotType
from schema.stellar import STROOPS_MAX, Ledger, Stroops
from tests.integration.producers.scene import UNIT, Scene, until_true


async def test_a_first_start_tells_every_baseline(scene: Scene) -> None:
    """Every wallet without a stored fact gets its baseline: a poll, which claims no movements; then the cursor is
    saved.
    """
    for wallet in range(5):
        await scene.add_wallet(wallet)
    async with scene.stream():
        facts = await scene.until(lambda facts: len(facts) >= 5, what="five baselines")
        await until_true(scene.saved_ledger, what="the cursor is saved")
    assert {fact.account_id for fact in facts} == {scene.account(wallet) for wallet in range(5)}
    assert all(fact.snapshot_type is SnapshotType.POLL for fact in facts)
    assert all(fact.movements is None and fact.movements_since is None for fact in facts)
    assert all(fact.balance_stroops == 100 * UNIT for fact in facts)


async def test_a_payment_becomes_a_fact_with_its_movements(scene: Scene) -> None:
    """A payment is told as a webhook fact: the balance after it, and the payment with its source and amount."""
    await scene.add_wallet(0)
    async with scene.stream():
        baseline = await scene.until_told(0, units=100)
        scene.pay(0, 50)
        ledger = scene.close()
        fact = await scene.until_told(0, units=150)
    assert (fact.snapshot_type, fact.ledger, fact.movements_since) == (SnapshotType.WEBHOOK, ledger, baseline.ledger)
    assert fact.movements is not None
    (movement,) = fact.movements
    assert movement.amount_stroops == 50 * UNIT
    assert str(movement.counterparty) == scene.people.payers[0].account_id
    assert (movement.ledger, movement.type) == (ledger, "payment")


async def test_many_payments_in_one_ledger_are_one_fact(scene: Scene) -> None:
    """A hundred payments in one ledger are one fact, with every one of them in order."""
    await scene.add_wallet(0)
    async with scene.stream():
        await scene.until_told(0, units=100)
        for number in range(100):
            scene.pay(0, 1 + number % 3)
        scene.close()
        fact = await scene.until_told(0, units=100 + 199)
        assert len(await scene.facts_of(0)) == 2
    assert fact.movements is not None
    assert [each.amount_stroops // UNIT for each in fact.movements] == [1 + number % 3 for number in range(100)]


async def test_a_counterfeit_is_not_even_a_fact(scene: Scene) -> None:
    """A payment of the same code from another issuer touches nobody."""
    await scene.add_wallet(0)
    async with scene.stream() as running:
        await scene.until_told(0, units=100)
        fake = scene.people.counterfeiter.account_id
        scene.chain.enqueue(
            Payment(source=fake, to=scene.account(0), asset=scene.people.counterfeit, stroops=Stroops(UNIT))
        )
        ledger = scene.close()
        await until_true(
            lambda: running.parts.metrics.history_ledger._value.get() >= ledger, what="the ledger was read"
        )
        assert len(await scene.facts_of(0)) == 1


async def test_an_outage_loses_no_payment(scene: Scene) -> None:
    """What was paid while no stream ran is told afterwards: every payment, once, in order."""
    for wallet in range(3):
        await scene.add_wallet(wallet)
    async with scene.stream():
        for wallet in range(3):
            await scene.store(await scene.until_told(wallet, units=100))
        await until_true(scene.saved_ledger, what="the cursor is saved")
    for number in range(30):  # 900 payments: five pages
        for _ in range(10):
            for wallet in range(3):
                scene.pay(wallet, 1 + number % 2)
        scene.close()
    async with scene.stream():
        facts = [await scene.until_told(wallet, units=100 + 450) for wallet in range(3)]
    for fact in facts:
        assert fact.movements is not None
        assert [each.amount_stroops // UNIT for each in fact.movements] == [
            1 + number % 2 for number in range(30) for _ in range(10)
        ]


async def test_a_change_without_a_payment_is_covered_by_the_next_fact(scene: Scene) -> None:
    """A crossed offer shows in no payment. Where effects are not followed the next fact holds it in its balance and not
    in its movements, and its version may be beyond the newest payment's ledger: everything up to it is read first.
    """
    await scene.add_wallet(0)
    async with scene.stream(pace=Pace(idle_drain_s=20.0, wallets_refresh_s=20.0, changes=False)):
        await scene.until_told(0, units=100)
        scene.pay(0, 50)
        scene.close()
        await scene.until_told(0, units=150)
        scene.chain.enqueue(
            CrossOffer(
                source=scene.account(0),
                maker=scene.people.market.account_id,
                sold=scene.people.asset,
                sold_stroops=Stroops(20 * UNIT),
                bought=None,
                bought_stroops=Stroops(5),
            )
        )
        crossed = scene.close()
        wallet_id = await scene.connection.fetchval("select id from public.stellar_wallets")
        await scene.request(wallet_id)
        fact = await scene.until_told(0, units=130)
    assert (fact.ledger, fact.movements, fact.snapshot_type) == (crossed, (), SnapshotType.MANUAL)


async def test_a_trustline_that_ends_is_told_once(scene: Scene) -> None:
    """Without its trustline a wallet holds 0 as of the ledger observed; seen absent again it is a duplicate; with a new
    trustline its payments are facts again.
    """
    await scene.add_wallet(0)
    account, asset = scene.account(0), scene.people.asset
    async with scene.stream() as running:
        await scene.until_told(0, units=100)
        scene.chain.enqueue(
            Payment(source=account, to=scene.people.vault.account_id, asset=asset, stroops=Stroops(100 * UNIT))
        )
        scene.chain.enqueue(ChangeTrust(source=account, asset=asset, limit_stroops=Stroops(0)))
        scene.close()
        gone = await scene.until_told(0, units=0)
        scene.chain.enqueue(ChangeTrust(source=account, asset=asset, limit_stroops=Stroops(STROOPS_MAX)))
        scene.pay(0, 5)
        scene.chain.enqueue(
            Payment(source=account, to=scene.people.vault.account_id, asset=asset, stroops=Stroops(5 * UNIT))
        )
        scene.chain.enqueue(ChangeTrust(source=account, asset=asset, limit_stroops=Stroops(0)))
        scene.close()
        await until_true(lambda: running.parts.metrics.duplicates._value.get() >= 1, what="absent again")
        scene.chain.enqueue(ChangeTrust(source=account, asset=asset, limit_stroops=Stroops(STROOPS_MAX)))
        scene.pay(0, 8)
        scene.close()
        back = await scene.until_told(0, units=8)
        told = await scene.facts_of(0)
    assert gone.is_absence
    assert gone.movements is not None
    assert [each.amount_stroops // UNIT for each in gone.movements] == [-100]
    assert len(told) == 3
    assert back.movements is not None
    assert [each.amount_stroops // UNIT for each in back.movements] == [5, -5, 8]


async def test_an_unauthorized_trustline_says_so(scene: Scene) -> None:
    """A balance the issuer has frozen is told as not authorized."""
    await scene.add_wallet(0)
    scene.chain.enqueue(
        SetTrustlineFlags(
            source=scene.people.issuer.account_id,
            trustor=scene.account(0),
            asset=scene.people.asset,
            authorized=False,
        )
    )
    scene.close()
    async with scene.stream():
        fact = await scene.until_told(0, units=100)
    assert not fact.authorized


async def test_two_streams_agree(scene: Scene) -> None:
    """Two streams side by side tell the same facts under the same ids, each with a cursor of its own."""
    for wallet in range(3):
        await scene.add_wallet(wallet)
    async with scene.stream("one"), scene.stream("two"):
        for wallet in range(3):
            await scene.until_told(wallet, units=100)
        await until_true(lambda: scene.saved_ledger("one"), what="one is under way")
        await until_true(lambda: scene.saved_ledger("two"), what="two is under way")
        for wallet in range(3):
            scene.pay(wallet, 50)
        ledger = scene.close()
        facts = await scene.until(lambda facts: sum(_is_increase(fact) for fact in facts) == 6, what="six facts")
        await until_true(lambda: _are_at(scene, ledger), what="both cursors are saved")
    increases = [fact for fact in facts if _is_increase(fact)]
    assert len({fact.event_id for fact in increases}) == 3
    assert len({(fact.account_id, fact.balance_stroops, fact.movements) for fact in increases}) == 3


async def test_from_a_ledger_on_everything_is_read_again(scene: Scene) -> None:
    """With --from-ledger old payments touch their wallets again; what is stored already is a duplicate."""
    await scene.add_wallet(0)
    async with scene.stream():
        await scene.store(await scene.until_told(0, units=100))
        scene.pay(0, 1)
        ledger = scene.close()
        await scene.store(await scene.until_told(0, units=101))
    async with scene.stream(wish=Wish(from_ledger=Ledger(ledger))) as running:
        await until_true(lambda: running.parts.metrics.duplicates._value.get() >= 1, what="read again")
        assert len(await scene.facts_of(0)) == 2


async def test_a_quiet_stream_looks_by_itself(scene: Scene) -> None:
    """When the wake-up never comes, the history is still drained at its interval."""
    await scene.add_wallet(0)
    scene.horizon._instance.stream_ledger = 2**31  # streams are never told of a ledger again
    async with scene.stream(pace=Pace(idle_drain_s=0.3)):
        await scene.until_told(0, units=100)
        await asyncio.sleep(0)
        scene.pay(0, 50)
        scene.close()
        await scene.until_told(0, units=150)


def _is_increase(fact: BalanceEvent) -> bool:
    return fact.balance_stroops == 150 * UNIT


async def _are_at(scene: Scene, ledger: int) -> bool:
    saved = [await scene.saved_ledger(name) or 0 for name in ("one", "two")]
    return min(saved) >= ledger
