"""The poller over a real database, topic and consumer, and the sandbox's Horizon: it finds whatever changed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest
from structlog.testing import capture_logs

from producers.backfill.progress import Steps
from producers.metrics import Metrics
from producers.parts import Parts
from producers.poll import round as poll_round
from producers.poll.poller import Poll, PollPace
from producers.poll.store import PollStore
from producers.source import Fatal, Unavailable
from producers.telling import Teller
from producers.wallet import Touch
from sandbox.chain_operations import (
    ChangeTrust,
    Clawback,
    CreateClaimableBalance,
    CrossOffer,
    Operation,
    Payment,
)
from sandbox.horizon_faults import Fault
from schema.balance_event import SnapshotType
from schema.stellar import Address, Ledger, Network, Stroops
from tests.integration.producers.recorder import recording
from tests.integration.producers.scene import UNIT, Scene, until_true
from tests.people import account_id
from tests.unit.consumer.worlds import POLICY

WALLETS = 10


@dataclass(kw_only=True)
class Polling:
    """A poller, and what it is made of."""

    poll: Poll
    parts: Parts
    store: PollStore

    async def once(self, *, patience_s: float = 20.0) -> Mapping[str, Any]:
        return await self.poll.once(patience_s=patience_s)


@asynccontextmanager
async def polling(scene: Scene, *, interval_s: float = 3600.0, rpc: bool = False) -> AsyncIterator[Polling]:
    """A poller that nobody runs yet; by Stellar RPC instead of Horizon."""
    async with scene.parts(rpc=rpc) as parts:
        store = await PollStore.open(scene.database_url)
        try:
            poll = Poll(parts, store, PollPace(interval_s=interval_s), Steps(console=None))
            yield Polling(poll=poll, parts=parts, store=store)
        finally:
            await store.close()


@asynccontextmanager
async def running(scene: Scene, *, interval_s: float = 3600.0) -> AsyncIterator[Polling]:
    """A poller that runs for the length of the block."""
    async with polling(scene, interval_s=interval_s) as here:
        task = asyncio.create_task(here.poll.run())
        try:
            yield here
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def add_all(scene: Scene) -> None:
    for wallet in range(WALLETS):
        await scene.add_wallet(wallet)


async def balances(scene: Scene) -> dict[str, tuple[int, int]]:
    """What is stored: account to version and stroops."""
    rows = await scene.connection.fetch(
        "select public_key, balance_ledger, previous_usdc_balance from public.stellar_wallets"
    )
    return {row[0]: (row[1], int(row[2] * UNIT)) for row in rows if row[1] is not None}


def on_chain(scene: Scene) -> dict[str, tuple[int, int]]:
    """What the chain has, in the same form."""
    found: dict[str, tuple[int, int]] = {}
    for wallet in range(WALLETS):
        account = scene.chain.state.account(scene.account(wallet))
        assert account is not None
        line = account.trustlines[scene.people.asset]
        found[scene.account(wallet)] = (line.last_modified_ledger, line.balance_stroops)
    return found


async def until_stored(scene: Scene) -> None:
    async def equal() -> bool:
        return await balances(scene) == on_chain(scene)

    await until_true(equal, what="the database equals the chain")


async def commands(scene: Scene) -> list[Decimal]:
    """The amounts that were commanded, in order."""
    rows = await scene.connection.fetch("select amount from public.deposit_commands order by position")
    return [row[0] for row in rows]


@pytest.fixture(autouse=True)
def _small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poll_round, "PORTION_WALLETS", 4)


@pytest.mark.parametrize("rpc", [False, True], ids=["horizon", "rpc"])
async def test_a_round_reads_everyone_and_the_next_tells_nothing_twice(scene: Scene, rpc: bool) -> None:  # noqa: FBT001
    """Every wallet has its baseline after the first round; where nothing happened the second tells nothing, whether
    the consumer has stored the first one's facts or not; and what happened is told by the third.
    """
    await add_all(scene)
    async with polling(scene, rpc=rpc) as here:
        first = await here.once()
        assert (first["wallets"], first["read"], first["told"], first["whole"]) == (WALLETS, WALLETS, WALLETS, True)
        assert first["found"]["baseline"] == WALLETS
        second = await here.once()
        assert (second["told"], second["waiting"], second["unchanged"]) == (0, WALLETS, 0)
        async with recording(scene):
            await until_stored(scene)
            third = await here.once()
            assert (third["told"], third["waiting"], third["unchanged"]) == (0, 0, WALLETS)
            scene.pay(3, 7)
            scene.close()
            fourth = await here.once()
            assert (fourth["told"], fourth["found"]["ahead"]) == (1, 1)
            await until_stored(scene)
    assert len(await scene.read()) == WALLETS + 1


async def test_with_no_stream_payments_lead_to_the_same_commands(scene: Scene) -> None:
    """Only the poller runs. What came in is commanded, what came back from the vault is protected, whatever lay between
    two rounds: each fact has its movements from the account's own history.
    """
    vault, asset = scene.people.vault.account_id, scene.people.asset
    policy = replace(POLICY, excluded_sources=frozenset({Address(vault)}))
    await scene.add_wallet(0)

    def withdraw(units: int) -> None:
        scene.chain.enqueue(Payment(source=vault, to=scene.account(0), asset=asset, stroops=Stroops(units * UNIT)))

    async def stored() -> bool:
        return (await balances(scene)).get(scene.account(0)) == on_chain(scene)[scene.account(0)]

    async with polling(scene) as here, recording(scene, policy=policy):
        await here.once()
        await until_true(stored, what="the baseline is stored")
        withdraw(30)
        scene.close()
        scene.pay(0, 50)
        scene.close()
        withdraw(20)
        scene.close()
        await here.once()
        await until_true(stored, what="50 and the withdrawals are stored")
        assert await commands(scene) == [Decimal(50)]
        withdraw(40)
        scene.close()
        await here.once()
        await until_true(stored, what="a withdrawal alone is stored")
        assert await commands(scene) == [Decimal(50)]
    protected = await scene.connection.fetchval("select protected_usdc from public.stellar_wallets")
    assert protected == Decimal(100 + 30 + 20 + 40)


def changes_without_payment(scene: Scene) -> list[Operation]:
    """One for each of the first wallets: nothing of it is among anybody's payments."""
    market, asset, issuer = scene.people.market.account_id, scene.people.asset, scene.people.issuer.account_id
    return [
        CrossOffer(
            source=market,
            maker=scene.account(0),
            sold=None,
            sold_stroops=Stroops(UNIT),
            bought=asset,
            bought_stroops=Stroops(5 * UNIT),
        ),
        CrossOffer(
            source=market,
            maker=scene.account(1),
            sold=asset,
            sold_stroops=Stroops(12 * UNIT),
            bought=None,
            bought_stroops=Stroops(UNIT),
        ),
        CreateClaimableBalance(
            source=scene.account(2), claimant=scene.account(3), asset=asset, stroops=Stroops(5 * UNIT)
        ),
        Clawback(source=issuer, account=scene.account(3), asset=asset, stroops=Stroops(5 * UNIT)),
    ]


async def test_changes_that_no_payment_shows_are_found(scene: Scene) -> None:
    """Offers crossed both ways, a claimable balance, a clawback: the next round has each of them, covered, and what
    came in by an offer is commanded.
    """
    await add_all(scene)
    async with polling(scene) as here, recording(scene):
        await here.once()
        await until_stored(scene)
        for operation in changes_without_payment(scene):
            scene.chain.enqueue(operation)
        ledger = scene.close()
        assert sum(version == ledger for version, _ in on_chain(scene).values()) == 4
        done = await here.once()
        assert done["told"] == 4
        await until_stored(scene)
    told = [fact for fact in await scene.read() if fact.ledger == ledger]
    assert len(told) == 4
    assert all(fact.movements == () and fact.movements_since is not None for fact in told)
    assert await commands(scene) == [Decimal(12)]


async def test_a_trustline_that_is_gone_is_told_once(scene: Scene) -> None:
    """Gone: 0, told once, whatever ledger it is seen absent in; there again: told."""
    await add_all(scene)
    vault, asset = scene.people.vault.account_id, scene.people.asset
    async with polling(scene) as here, recording(scene):
        await here.once()
        await until_stored(scene)
        scene.chain.enqueue(
            Payment(source=scene.account(0), to=vault, asset=asset, stroops=Stroops(100 * UNIT)),
            ChangeTrust(source=scene.account(0), asset=asset, limit_stroops=Stroops(0)),
        )
        scene.close()
        assert (await here.once())["told"] == 1

        async def is_zero() -> bool:
            return (await balances(scene))[scene.account(0)][1] == 0

        await until_true(is_zero, what="the absence is stored")
        scene.close()
        assert (await here.once())["told"] == 0
        scene.chain.enqueue(ChangeTrust(source=scene.account(0), asset=asset, limit_stroops=Stroops(1000 * UNIT)))
        scene.pay(0, 3)
        scene.close()
        assert (await here.once())["told"] == 1
        await until_stored(scene)


async def save_cursor(scene: Scene, name: str, ledger: int) -> None:
    """A stream of this name says that it has told everything up to the ledger."""
    await scene.connection.execute(
        """insert into public.stream_cursors (stream_name, network, cursor, ledger, updated_at)
           values ($1, 'testnet', $2, $3, now())
           on conflict (stream_name) do update set ledger = excluded.ledger""",
        name,
        str(ledger << 32),
        ledger,
    )


async def test_what_a_stream_missed_is_named_and_what_it_will_come_to_is_not(scene: Scene) -> None:
    """A payment in a ledger that the stream's cursor is past: a gap, counted, with a warning that names it. One beyond
    the cursor is just ahead. A change without a payment is the business of the cursor for changes.
    """
    await add_all(scene)
    async with polling(scene) as here, recording(scene):
        await here.once()
        await until_stored(scene)
        scene.pay(0, 5)
        missed = scene.close()
        await save_cursor(scene, "stream", missed)
        scene.pay(1, 5)
        ahead = scene.close()
        scene.chain.enqueue(changes_without_payment(scene)[2])
        await save_cursor(scene, "stream:changes", ahead)
        scene.close()
        with capture_logs() as logs:
            done = await here.once()
        assert done["told"] == 3
        assert (done["found"]["gap"], done["found"]["ahead"]) == (1, 2)
        [said] = [each for each in logs if each["event"] == "found by poll"]
        assert said["log_level"] == "warning"
        assert (said["account_id"], said["ledger"], said["passed_by"]) == (scene.account(0), missed, {"stream": missed})
        counted = here.parts.metrics.registry.get_sample_value
        assert counted("producers_poll_found_total", {"kind": "gap"}) == 1
        await until_stored(scene)


async def test_a_fact_that_is_under_way_is_no_gap(scene: Scene) -> None:
    """The stream told it and saved its cursor, the consumer has not come to it: the poll tells it again, and it is
    known for no gap once the consumer is there.
    """
    await add_all(scene)
    async with polling(scene) as here:
        async with recording(scene):
            await here.once()
            await until_stored(scene)
        scene.pay(0, 5)
        ledger = scene.close()
        teller = Teller(here.parts)
        touch = Touch(at_least=Ledger(ledger), snapshot_type=SnapshotType.WEBHOOK, drain=0)
        await teller.tell(await teller.read([(scene.account(0), touch)], seconds=30))
        await save_cursor(scene, "stream", ledger)
        once = asyncio.create_task(here.once())
        await until_true(lambda: facts_two(scene, ledger), what="both told it")
        assert not once.done()
        async with recording(scene):
            done = await once
            await until_stored(scene)
    assert (done["told"], done["found"]["gap"], done["found"]["underway"]) == (1, 0, 1)


async def facts_two(scene: Scene, ledger: int) -> bool:
    """Whether wallet 0's version was told twice."""
    return sum(fact.ledger == ledger for fact in await scene.facts_of(0)) == 2


async def test_a_horizon_that_is_away_is_waited_for(scene: Scene) -> None:
    """In the middle of a round everything fails for a while: nobody is skipped, and nobody is told wrongly."""
    await add_all(scene)
    scene.horizon.faults.add(Fault(path_prefix="/accounts", status=503, times=25, skip=6))
    scene.horizon.faults.add(Fault(path_prefix="/", status=503, times=5))
    async with polling(scene) as here, recording(scene):
        done = await here.once()
        assert (done["told"], done["whole"]) == (WALLETS, True)
        await until_stored(scene)


async def test_one_round_does_not_wait_for_ever(scene: Scene) -> None:
    """A Horizon that stays away is Unavailable when the patience is at its end."""
    await add_all(scene)
    scene.horizon.faults.add(Fault(path_prefix="/", status=503, times=100_000, skip=1))
    async with polling(scene) as here:
        with pytest.raises(Unavailable):
            await here.once(patience_s=0.5)


async def test_one_wallet_that_cannot_be_read_holds_up_nobody(scene: Scene) -> None:
    """It is left to the next round, and named; the others are told."""
    await add_all(scene)
    scene.horizon.faults.add(Fault(path_prefix=f"/accounts/{scene.account(2)}", status=504, times=100_000))
    async with polling(scene) as here:
        done = await here.once()
        assert (done["told"], done["left"], done["left_named"]) == (WALLETS - 1, 1, [scene.account(2)])
        assert not done["whole"]
        scene.horizon.faults.clear()
        again = await here.once()
        assert (again["told"], again["whole"]) == (1, True)


async def test_a_state_that_makes_no_sense_is_a_dead_letter(scene: Scene) -> None:
    """It is kept with its reason, the round says that it is not whole, and the others are told."""
    await add_all(scene)
    body = b'{"account_id": "' + scene.account(2).encode() + b'", "balances": 7}'
    ledger = str(scene.chain.latest.sequence)
    scene.horizon.faults.add(
        Fault(
            path_prefix=f"/accounts/{scene.account(2)}",
            status=200,
            body=body,
            headers={"Latest-Ledger": ledger},
            times=100_000,
        )
    )
    async with polling(scene) as here:
        done = await here.once()
    assert (done["told"], done["refused"], done["whole"]) == (WALLETS - 1, 1, False)
    [letter] = await scene.connection.fetch("select reason, key from public.dead_letters")
    assert (letter["reason"], letter["key"].decode()) == ("malformed balances", scene.account(2))


async def test_a_replica_that_is_behind_what_is_stored_is_asked_again(scene: Scene) -> None:
    """A state of a ledger before the stored version says nothing: it is read again until it is new enough."""
    await add_all(scene)
    async with polling(scene) as here, recording(scene):
        for wallet in range(WALLETS):
            scene.pay(wallet, 5)
        scene.close()
        await here.once()
        await until_stored(scene)
        scene.horizon.faults.add(Fault(path_prefix="/accounts/", lag_ledgers=1, times=WALLETS + 3))
        done = await here.once()
        assert (done["told"], done["unchanged"], done["whole"]) == (0, WALLETS, True)


async def test_requests_and_new_wallets_do_not_wait_for_the_next_round(scene: Scene) -> None:
    """With an hour between rounds: a request is answered, and a wallet whose row comes has its baseline, at once."""
    wallet_id = await scene.add_wallet(0)
    async with running(scene):
        await scene.until_told(0, units=100)
        await scene.add_wallet(1)
        assert (await scene.until_told(1, units=100)).snapshot_type is SnapshotType.POLL
        scene.pay(0, 5)
        scene.close()
        answer = await scene.answer(await scene.request(wallet_id))
        assert answer.balance_stroops == 105 * UNIT
        fact = await scene.until_told(0, units=105)
        assert (fact.snapshot_type, fact.event_id) == (SnapshotType.MANUAL, answer.event_id)


async def test_very_many_new_wallets_are_looked_for(scene: Scene) -> None:
    """A statement that inserts more rows than are named in notifications: all without a fact are read, at once; what
    is no address is nobody's.
    """
    async with running(scene):
        await scene.add_wallet(0)
        await scene.until_told(0, units=100)
        strangers = [account_id(f"stranger {number}") for number in range(150)]
        await scene.connection.execute(
            """with people as (
                 insert into auth.users (id) select gen_random_uuid() from generate_series(1, $2) returning id
               ), numbered as (select id, row_number() over () as number from people)
               insert into public.stellar_wallets (user_id, public_key, network)
               select n.id, ($1::text[])[n.number], 'testnet' from numbered n""",
            [scene.account(1), "no address", *strangers],
            len(strangers) + 2,
        )
        await scene.until_told(1, units=100)
        await scene.until(lambda facts: len({each.account_id for each in facts}) == 152, what="all have their baseline")


async def test_a_stream_that_is_alive_goes_first(scene: Scene) -> None:
    """Beside a stream requests are the stream's, and are told once."""
    wallet_id = await scene.add_wallet(0)
    async with scene.stream():
        await scene.store(await scene.until_told(0, units=100))
        await until_true(scene.saved_ledger, what="the stream saved its cursor")
        async with running(scene):
            answers = [await scene.answer(await scene.request(wallet_id)) for _ in range(3)]
    assert all(each.balance_stroops == 100 * UNIT for each in answers)
    await scene.until(lambda facts: len(facts) >= 4, what="the baseline and three answers are in the topic")
    assert [fact.snapshot_type for fact in await scene.facts_of(0)][1:] == [SnapshotType.MANUAL] * 3


async def test_round_follows_round(scene: Scene) -> None:
    """As a service it finds what changed in each of several rounds, says when the last one ended, and is ready."""
    await add_all(scene)
    async with running(scene, interval_s=0.2) as here, recording(scene):
        for units in (1, 2, 3):
            scene.pay(4, units)
            scene.close()
            await until_stored(scene)
        value = here.parts.metrics.registry.get_sample_value

        def is_said() -> bool:
            """Between two rounds; in one fewer are done."""
            rounds, wallets, done = (
                value(f"producers_poll_{name}") for name in ("rounds_total", "wallets", "wallets_done")
            )
            return (rounds or 0) >= 3 and wallets == done == WALLETS and not here.parts.readiness.reasons()

        await until_true(is_said, what="three rounds, and the page is ready")


async def test_a_network_that_was_reset_is_for_a_person(scene: Scene) -> None:
    """What is stored is far ahead of the source's newest ledger: nothing that it says can be true of that network."""
    await scene.add_wallet(0)
    async with polling(scene) as here:
        await here.once()
        fact = await scene.until_told(0, units=100)
        await scene.store(replace(fact, ledger=Ledger(fact.ledger + 1_000_000)))
        with pytest.raises(Fatal, match="the network was reset"):
            await here.once()


async def test_another_network_is_for_a_person(scene: Scene) -> None:
    """A Horizon of another network is said before anything is read, by a service too."""
    await scene.add_wallet(0)
    async with polling(scene) as here:
        mainnet = Poll(
            replace(here.parts, network=Network.MAINNET, metrics=Metrics()), here.store, PollPace(), Steps(console=None)
        )
        with pytest.raises(Fatal, match="STELLAR_NETWORK"):
            await mainnet.once(patience_s=5)
        with pytest.raises(Fatal, match="STELLAR_NETWORK"):
            await mainnet.run()
    assert await scene.read() == []


async def test_a_new_wallet_is_not_forgotten_when_it_cannot_be_read(scene: Scene) -> None:
    """With an hour between rounds and a Horizon that is away just then: it has its baseline when Horizon is back."""
    async with running(scene) as here:
        await until_true(lambda: _rounds(here) == 1, what="the first round, of nobody, is over")
        scene.horizon.faults.add(Fault(path_prefix="/accounts", status=503, times=12))
        await scene.add_wallet(1)
        assert (await scene.until_told(1, units=100)).snapshot_type is SnapshotType.POLL


def _rounds(here: Polling) -> float | None:
    return here.parts.metrics.registry.get_sample_value("producers_poll_rounds_total")
