"""The poller over a real database, topic and consumer, and the sandbox's Horizon: it finds whatever changed."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

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
from schema.balance_event import SnapshotType
from schema.stellar import Address, Ledger, Stroops
from tests.integration.producers.polling import (
    WALLETS,
    add_all,
    balances,
    commands,
    on_chain,
    polling,
    until_stored,
)
from tests.integration.producers.recorder import recording
from tests.integration.producers.scene import UNIT, Scene, until_true
from tests.unit.consumer.worlds import POLICY


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
