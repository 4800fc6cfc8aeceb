"""Movements must add up to the change they are told of: a history from a replica that is behind is not believed."""

from producers import read_now
from producers.facts import Told, Verdict
from producers.parts import Parts
from producers.telling import Teller
from producers.wallet import Touch
from sandbox import keys
from sandbox.chain_operations import ChangeTrust, CreateAccount, CrossOffer, Payment
from sandbox.horizon_faults import Fault
from schema.balance_event import BalanceEvent, SnapshotType
from schema.stellar import AccountId, Ledger, Stroops
from tests.integration.producers.scene import UNIT, Scene, until_true

TOUCH = Touch(at_least=Ledger(1), snapshot_type=SnapshotType.POLL, drain=0)


async def read(scene: Scene, parts: Parts, account_id: AccountId | None = None) -> Told:
    """Read wallet 0, or an account, and tell it, as every producer but the stream does."""
    teller = Teller(parts)
    (told,) = await teller.tell(await teller.read([(account_id or scene.account(0), TOUCH)], seconds=30))
    return told


async def baseline(scene: Scene, parts: Parts) -> None:
    """Give wallet 0 a row and a stored fact, and let two ledgers pass."""
    await scene.add_wallet(0)
    first = (await read(scene, parts)).event
    assert first is not None
    await scene.store(first)
    scene.close()
    scene.close()


def withdraw(scene: Scene, units: int) -> None:
    """Enqueue what comes back from the vault."""
    vault, asset = scene.people.vault.account_id, scene.people.asset
    scene.chain.enqueue(Payment(source=vault, to=scene.account(0), asset=asset, stroops=Stroops(units * UNIT)))


def cross(scene: Scene, units: int) -> None:
    """Enqueue that an offer of wallet 0's is crossed: so much comes in without a payment."""
    crossing = CrossOffer(
        source=scene.people.market.account_id,
        maker=scene.account(0),
        sold=scene.people.asset,
        sold_stroops=Stroops(units * UNIT),
        bought=None,
        bought_stroops=Stroops(1),
    )
    scene.chain.enqueue(crossing)


def moved(event: BalanceEvent | None) -> list[int]:
    """What the fact lists, in whole units."""
    assert event is not None
    assert event.movements is not None
    return [each.amount_stroops // UNIT for each in event.movements]


async def test_a_lagging_history_is_asked_again(scene: Scene) -> None:
    """The account's page lacks the newest payment: the claim would be called whole, and a withdrawal from the vault be
    deposited. It does not add up, and is read again until it does.
    """
    async with scene.parts() as parts:
        await baseline(scene, parts)
        withdraw(scene, 50)
        scene.close()
        fault = Fault(path_prefix=f"/accounts/{scene.account(0)}/payments", lag_ledgers=2, times=2)
        scene.horizon.faults.add(fault)
        told = await read(scene, parts)
    assert moved(told.event) == [50]
    assert told.event is not None
    assert told.event.movements[0].counterparty == scene.people.vault.account_id  # type: ignore[index]


async def test_a_history_that_stays_behind_is_not_told(scene: Scene) -> None:
    """However often the same replica answers for the account, the ledger of the change says that a payment is missing:
    nothing is told, and later all of it.
    """
    async with scene.parts() as parts:
        await baseline(scene, parts)
        withdraw(scene, 50)
        scene.pay(0, 7)
        scene.close()
        fault = Fault(path_prefix=f"/accounts/{scene.account(0)}/payments", lag_ledgers=2, times=10_000)
        scene.horizon.faults.add(fault)
        told = await read(scene, parts)
        assert (told.verdict, told.event) == (Verdict.LATER, None)
        scene.horizon.faults.clear()
        told = await read(scene, parts)
    assert sorted(moved(told.event)) == [7, 50]


async def test_a_proxys_404_is_no_history_that_was_forgotten(scene: Scene) -> None:
    """A page that Horizon did not write does not say that the account has no history: its payments would be of unknown
    source, and protected for good. It is asked again, and told when Horizon answers.
    """
    async with scene.parts() as parts:
        await baseline(scene, parts)
        scene.pay(0, 7)
        for _ in range(4):  # longer ago than the ledgers that would show that a payment is missing
            scene.close()
        cross(scene, 3)
        scene.close()
        path = f"/accounts/{scene.account(0)}/payments"
        for body in (b"<html>default backend - 404</html>", b'{"message": "no Route matched", "type": 404}', b""):
            scene.horizon.faults.add(Fault(path_prefix=path, status=404, body=body, times=10_000))
            told = await read(scene, parts)
            assert (told.verdict, told.event) == (Verdict.LATER, None)
            scene.horizon.faults.clear()
        told = await read(scene, parts)
    assert moved(told.event) == [7]


async def test_the_first_payment_of_a_new_account_has_its_source(scene: Scene) -> None:
    """A row comes first, then the account, then money. A replica without the account yet does not know it (404): that
    is no history that was forgotten, or the money would be protected for good.
    """
    asset, payer = scene.people.asset, scene.people.payers[0].account_id
    late = keys.derive(0, "late").account_id
    async with scene.parts() as parts:
        await scene.add_account(late)
        first = (await read(scene, parts, late)).event
        assert first is not None
        assert first.is_absence
        await scene.store(first)
        scene.chain.enqueue(CreateAccount(source=payer, account=late, starting_stroops=Stroops(10 * UNIT)))
        scene.chain.enqueue(ChangeTrust(source=late, asset=asset, limit_stroops=Stroops(1_000 * UNIT)))
        scene.chain.enqueue(Payment(source=payer, to=late, asset=asset, stroops=Stroops(50 * UNIT)))
        scene.close()
        scene.horizon.faults.add(Fault(path_prefix=f"/accounts/{late}/payments", lag_ledgers=1, times=2))
        told = await read(scene, parts, late)
    assert told.event is not None
    assert (told.event.balance_stroops, moved(told.event)) == (50 * UNIT, [50])


async def test_what_an_operator_has_read_is_not_of_before(scene: Scene) -> None:
    """A replica that is behind shows a baseline without what came before the row, which would be new money then."""
    await scene.add_wallet(0)
    scene.pay(0, 50)
    scene.close()
    scene.horizon.faults.add(Fault(path_prefix=f"/accounts/{scene.account(0)}", lag_ledgers=1, times=2))
    async with scene.parts() as parts:
        [found] = await read_now.read([scene.account(0)], parts)
    assert (found["published"], found["balance"]) == (True, "150.0000000")


async def test_a_change_without_a_payment_is_told_without_one(scene: Scene) -> None:
    """A crossed offer shows in no payment, so nothing can add up: it is told, covered, with what payments there are."""
    async with scene.parts() as parts:
        await baseline(scene, parts)
        scene.pay(0, 7)
        scene.close()
        cross(scene, 3)
        ledger = scene.close()
        told = await read(scene, parts)
    assert told.event is not None
    assert (told.event.ledger, told.event.balance_stroops) == (ledger, 110 * UNIT)
    assert moved(told.event) == [7]


async def test_a_stream_that_comes_back_asks_again_too(scene: Scene) -> None:
    """After an outage a stream fills what it did not see from the account's history: there too it must add up."""
    async with scene.parts() as parts:
        await baseline(scene, parts)
    withdraw(scene, 50)
    scene.close()
    fault = Fault(path_prefix=f"/accounts/{scene.account(0)}/payments", lag_ledgers=1, times=2)
    scene.horizon.faults.add(fault)
    async with scene.stream():  # it begins at the tip, behind the withdrawal
        await until_true(scene.saved_ledger, what="the stream begins")
        scene.pay(0, 1)
        scene.close()
        await scene.until_told(0, units=151)
    told = {fact.ledger: fact for fact in await scene.facts_of(0)}
    [_, *changes] = [told[ledger] for ledger in sorted(told)]
    overlapping = {each.operation_id: each.amount_stroops // UNIT for fact in changes for each in fact.movements or ()}
    assert sorted(overlapping.values()) == [1, 50]
    assert all(fact.movements_since is not None for fact in changes)


async def test_a_version_from_before_the_history_is_told(scene: Scene) -> None:
    """A Horizon may keep less history than a wallet has been still: a first sight needs none, and a change whose
    payments are gone is told with its sources unknown.
    """
    async with scene.parts() as parts:
        await baseline(scene, parts)
        await scene.add_wallet(1)
        scene.pay(0, 7)
        for _ in range(4):
            last = scene.close()
        scene.chain.history.trim(before_ledger=last)
        told = await read(scene, parts)
        assert told.event is not None
        assert (told.event.balance_stroops, told.event.movements) == (107 * UNIT, None)
        teller = Teller(parts)
        (first,) = await teller.tell(await teller.read([(scene.account(1), TOUCH)], seconds=30))
    assert first.verdict is Verdict.FACT
