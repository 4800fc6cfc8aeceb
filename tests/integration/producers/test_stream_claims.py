"""What a fact claims of its movements is literally true: the chain itself is asked, in random stories with restarts."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from uuid import UUID

import pytest

from producers.parts import Pace
from sandbox.chain_operations import (
    AssetChange,
    ChangeKind,
    ContractCall,
    CrossOffer,
    Operation,
    PathPayment,
    Payment,
    is_payment,
)
from sandbox.horizon_faults import Fault
from schema.balance_event import BalanceEvent
from schema.stellar import Address, Stroops
from tests.integration.producers.scene import UNIT, Scene, until_true

WALLETS = 6
LEDGERS = 40
PACE = Pace(idle_drain_s=0.2)


def payments_in(scene: Scene, fact: BalanceEvent) -> list[tuple[str, int, int]]:
    """What the chain's own history says: operation id, ledger and stroops of each payment the fact should list."""
    assert fact.movements_since is not None
    found = []
    for change in scene.chain.changes_of(fact.account_id):
        entry, posting = change.entry, change.posting
        if posting.asset == fact.asset and is_payment(entry.operation):
            ledger = entry.transaction.ledger
            if fact.movements_since < ledger <= fact.ledger:
                found.append((str(entry.operation_id), ledger, int(posting.stroops)))
    return sorted(found)


def balance_at(scene: Scene, fact: BalanceEvent) -> int:
    """The balance after the fact's ledger: what it is now, less what happened since."""
    account = scene.chain.state.account(fact.account_id)
    assert account is not None
    later = sum(
        change.posting.stroops
        for change in scene.chain.changes_of(fact.account_id)
        if change.posting.asset == fact.asset and change.entry.transaction.ledger > fact.ledger
    )
    return int(account.trustlines[fact.asset].balance_stroops) - later


def check(scene: Scene, fact: BalanceEvent) -> None:
    """The balance is that of the version, and the movements are exactly the payments since."""
    assert fact.balance_stroops == balance_at(scene, fact)
    if fact.movements is not None:
        told = sorted((each.operation_id, int(each.ledger), int(each.amount_stroops)) for each in fact.movements)
        assert told == payments_in(scene, fact)


def something(scene: Scene, rng: random.Random) -> Operation:
    """One thing that happens to a wallet; a crossed offer shows in no payment."""
    people = scene.people
    wallet, other = (people.wallets[each].account_id for each in rng.sample(range(WALLETS), 2))
    payer = rng.choice(people.payers).account_id
    stroops = Stroops(rng.randint(1, 5 * UNIT))
    market = people.market.account_id
    stories: list[Callable[[], Operation]] = [
        lambda: Payment(source=payer, to=wallet, asset=people.asset, stroops=stroops),
        lambda: Payment(source=wallet, to=other, asset=people.asset, stroops=stroops),
        lambda: PathPayment(
            source=payer,
            to=wallet,
            strict_send=rng.random() < 0.5,
            sent=None,
            sent_stroops=Stroops(10),
            received=people.asset,
            received_stroops=stroops,
            maker=market,
        ),
        lambda: ContractCall(
            source=payer,
            contract=people.contract,
            changes=(
                AssetChange(
                    kind=ChangeKind.TRANSFER,
                    asset=people.asset,
                    source=people.contract,
                    to=Address(wallet),
                    stroops=stroops,
                ),
                AssetChange(
                    kind=ChangeKind.TRANSFER,
                    asset=people.asset,
                    source=Address(wallet),
                    to=Address(other),
                    stroops=Stroops(1),
                ),
            ),
        ),
        lambda: CrossOffer(
            source=wallet,
            maker=market,
            sold=people.asset,
            sold_stroops=stroops,
            bought=None,
            bought_stroops=Stroops(3),
        ),
    ]
    return rng.choice(stories)()


class Story:
    """A random story: what happens on the chain, to the database and to the stream, from one seed."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self.scene = scene
        self.rng = random.Random(seed)  # noqa: S311 - a story
        self.ids: list[UUID] = []
        self._stored = 0

    async def add_wallet(self) -> None:
        if len(self.ids) < WALLETS:
            self.ids.append(await self.scene.add_wallet(len(self.ids)))

    async def close_ledger(self) -> None:
        for _ in range(self.rng.randint(0, 6)):
            self.scene.chain.enqueue(something(self.scene, self.rng))
        self.scene.close()

    async def lag(self) -> None:
        """Some answers of a replica that is behind."""
        path = self.rng.choice(["/accounts/", "/payments"])
        self.scene.horizon.faults.add(Fault(path_prefix=path, lag_ledgers=self.rng.randint(1, 3), times=2))

    async def consume(self) -> None:
        """The consumer comes to some of what was told."""
        await self.scene.read()
        until = self.rng.randint(self._stored, len(self.scene.facts))
        for fact in self.scene.facts[self._stored : until]:
            await self.scene.store(fact)
        self._stored = until

    async def request(self) -> None:
        await self.scene.request(self.rng.choice(self.ids))

    async def linger(self) -> None:
        await asyncio.sleep(self.rng.random() * 0.05)

    async def hear(self) -> None:
        """A payment is told, however slow this machine is: lives that tell nothing claim nothing."""
        self.scene.pay(0, 1)
        ledger, account_id = self.scene.close(), self.scene.account(0)
        await self.scene.until(
            lambda facts: any(each.account_id == account_id and each.ledger >= ledger for each in facts),
            what="a payment's fact",
        )

    async def tell(self, stack: AsyncExitStack) -> None:
        """All of it, with a stream that is restarted now and then."""
        chances = (
            (self.lag, 0.3),
            (self.linger, 0.5),
            (self.consume, 0.4),
            (self.add_wallet, 0.2),
            (self.request, 0.2),
        )
        for _ in range(LEDGERS):
            await self.close_ledger()
            for act, chance in chances:
                if self.rng.random() < chance:
                    await act()
            if self.rng.random() < 0.2:
                if self.rng.random() < 0.5:
                    await self.hear()
                await stack.aclose()
                await stack.enter_async_context(self.scene.stream(pace=PACE))
        self.scene.horizon.faults.clear()


@pytest.mark.parametrize("seed", range(8))
async def test_claims_are_literally_true(scene: Scene, seed: int) -> None:
    """Through restarts, slow and quick consumers, lagging replicas, wallets that come late and reads on request, every
    fact's balance and movements are what the chain says; and in the end every wallet's last fact is its true balance.
    """
    story = Story(scene, seed)
    for _ in range(3):
        await story.add_wallet()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(scene.stream(pace=PACE))
        await story.tell(stack)
        for wallet_id in story.ids:
            await scene.request(wallet_id)
        await until_true(lambda: _is_all_done(scene), what="every request is answered")
        await scene.until(lambda facts: _are_true(scene, facts, len(story.ids)), what="the last balances")
    for fact in await scene.read():
        check(scene, fact)
    claimed = sum(fact.movements is not None for fact in scene.facts)
    assert claimed > len(scene.facts) / 5


async def test_what_lies_between_stored_and_cursor_is_filled(scene: Scene) -> None:
    """A wallet whose consumer never saw its facts: after a restart the next fact lists every payment since the stored
    version, also those told before.
    """
    await scene.add_wallet(0)
    async with scene.stream():
        baseline = await scene.until_told(0, units=100)
        await scene.store(baseline)
        for units in (1, 2, 3):
            scene.pay(0, units)
            scene.close()
        await scene.until_told(0, units=106)
        await until_true(lambda: _is_saved(scene), what="the cursor is saved")
    async with scene.stream():
        scene.pay(0, 4)
        scene.close()
        fact = await scene.until_told(0, units=110)
    assert fact.movements_since == baseline.ledger
    assert [each.amount_stroops // UNIT for each in fact.movements or ()] == [1, 2, 3, 4]


async def test_more_movements_than_a_fact_may_carry_are_not_claimed(scene: Scene) -> None:
    """Beyond the limit a fact says that its movements are unknown, and the one after it is whole again."""
    await scene.add_wallet(0)
    async with scene.stream(pace=Pace(movements_max=5)):
        await scene.until_told(0, units=100)
        for _ in range(6):
            scene.pay(0, 1)
        scene.close()
        many = await scene.until_told(0, units=106)
        for _ in range(5):
            scene.pay(0, 1)
        scene.close()
        few = await scene.until_told(0, units=111)
    assert (many.movements, many.movements_since) == (None, None)
    assert few.movements_since == many.ledger
    assert len(few.movements or ()) == 5


async def test_a_history_that_lost_its_beginning_is_not_claimed(scene: Scene) -> None:
    """When the source no longer has the ledgers after the stored version, the movements are unknown, not fewer."""
    await scene.add_wallet(0)
    async with scene.stream():
        await scene.store(await scene.until_told(0, units=100))
        scene.pay(0, 1)
        scene.close()
        await scene.until_told(0, units=101)
        for _ in range(5):
            ledger = scene.close()
        scene.pay(1, 1)
        ledger = scene.close()
        await until_true(lambda: _is_saved(scene, ledger), what="the cursor is saved")
    scene.chain.history.trim(before_ledger=ledger)
    async with scene.stream():
        scene.pay(0, 50)
        scene.close()
        fact = await scene.until_told(0, units=151)
    assert (fact.movements, fact.movements_since) == (None, None)


async def _is_all_done(scene: Scene) -> bool:
    left = await scene.connection.fetchval("select count(*) from public.read_requests where done_at is null")
    return bool(left == 0)


def _are_true(scene: Scene, facts: Sequence[BalanceEvent], wallets: int) -> bool:
    last = {fact.account_id: fact.balance_stroops for fact in facts}
    true = {}
    for wallet in range(wallets):
        account = scene.chain.state.account(scene.account(wallet))
        assert account is not None
        true[scene.account(wallet)] = account.trustlines[scene.people.asset].balance_stroops
    return last == true


async def _is_saved(scene: Scene, ledger: int | None = None) -> bool:
    return (await scene.saved_ledger() or 0) >= (ledger or scene.chain.latest.sequence)
