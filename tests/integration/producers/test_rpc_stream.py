"""The stream over Stellar RPC: what no payment of Horizon shows, two sources side by side, and one after the other."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from consumer.decide import decide
from consumer.inputs import Fact
from consumer.outcome import Verdict
from consumer.wallet import Policy, WalletState
from producers import stream
from producers.source import Fatal
from producers.start import Wish
from sandbox.chain_operations import (
    ContractCall,
    Operation,
)
from sandbox.chain_transactions import Change
from sandbox.horizon_faults import Fault
from schema.balance_event import BalanceEvent
from schema.stellar import AccountId, Address, Network, Stroops
from tests.integration.producers.scene import PACE, UNIT, Running, Scene, until_true
from tests.integration.producers.trustline_changes import changes

WORLDS = int(os.environ.get("RPC_WORLDS", "3"))
POLICY = Policy(
    enabled=True,
    paused=False,
    min_deposit_stroops=Stroops(1),
    max_deposit_stroops=Stroops(0),
    daily_cap_stroops=Stroops(0),
    reserve_stroops=Stroops(0),
    deposit_existing=False,
    excluded_sources=frozenset(),
    vault_address=None,
    command_ttl=timedelta(minutes=5),
    retry_delay=timedelta(seconds=1),
    attempts_max=3,
)


def wallet_state(account_id: AccountId, scene: Scene) -> WalletState:
    """A wallet nobody has seen yet."""
    return WalletState(
        wallet_id=UUID(int=1),
        user_id=UUID(int=2),
        account_id=account_id,
        network=Network.TESTNET,
        asset=scene.people.asset,
    )


@asynccontextmanager
async def listened(scene: Scene, *, rpc: bool, name: str) -> AsyncIterator[tuple[Running, list[BalanceEvent]]]:
    """A stream, and the facts that it alone has told and had acked."""
    told: list[BalanceEvent] = []
    async with scene.stream(name, rpc=rpc) as running:
        publish = running.parts.publisher.publish

        async def listen(events: Sequence[BalanceEvent]) -> None:
            await publish(events)
            told.extend(events)

        running.parts.publisher.publish = listen  # type: ignore[method-assign]
        yield running, told


async def test_every_way_a_trustline_changes_becomes_a_fact(scene: Scene) -> None:
    """Row by row: the very next fact is the state that the chain has then, told because of that change."""
    await scene.add_wallet(0)
    account_id = scene.account(0)
    async with listened(scene, rpc=True, name="stream") as (_, told):
        await until_true(lambda: told, what="the baseline")
        for name, operations in changes(scene).items():
            for operation in operations():
                pending = scene.chain.enqueue(operation)
            ledger = scene.close()
            assert pending.transaction is not None, name
            assert pending.transaction.successful, (name, pending.transaction.operation_codes)
            await until_true(lambda at=ledger: told[-1].ledger == at, what=name)  # type: ignore[misc]
            account = scene.chain.state.account(account_id)
            assert account is not None
            line = account.trustlines[scene.people.asset]
            assert (told[-1].balance_stroops, told[-1].authorized) == (line.balance_stroops, line.authorized), name
            assert told[-1].snapshot_type == "webhook", name


def decided(scene: Scene, facts: Sequence[BalanceEvent], excluded: frozenset[Address]) -> list[tuple[int, int, int]]:
    """Version, protected and commanded stroops after each fact that was recorded."""
    state = wallet_state(facts[0].account_id, scene)
    policy = replace(POLICY, excluded_sources=excluded)
    found = []
    for fact in facts:
        outcome = decide(state, Fact(event=fact, at=fact.observed_at), policy)
        state = outcome.state
        assert outcome.verdict is not Verdict.CONFLICT
        if outcome.snapshot is not None:
            commanded = outcome.command.amount_stroops if outcome.command else 0
            found.append((int(fact.ledger), int(state.protected_stroops), int(commanded)))
    return found


@pytest.mark.parametrize("seed", range(WORLDS))
async def test_two_sources_agree_fact_by_fact(scene: Scene, seed: int) -> None:
    """In random worlds, ledger by ledger: what the stream over Horizon and the one over RPC say of a wallet at a
    version is the same fact with the same id, and leads to the same decision, whoever is excluded as a source.
    """
    rng = random.Random(seed)  # noqa: S311 - a story
    wallets = range(4)
    for wallet in wallets:
        await scene.add_wallet(wallet)
    rows = list(changes(scene).values())[:-2]
    people = scene.people
    async with (
        listened(scene, rpc=False, name="horizon") as (_, by_horizon),
        listened(scene, rpc=True, name="rpc") as (_, by_rpc),
    ):
        both = (by_horizon, by_rpc)
        await until_true(lambda: all(len(told) >= len(wallets) for told in both), what="the baselines")
        for _ in range(12):
            for operation in (each for _ in range(rng.randint(1, 5)) for each in rng.choice(rows)()):
                other = scene.account(rng.choice(wallets))
                scene.chain.enqueue(_for_another(operation, scene.account(0), other))
            scene.pay(rng.choice(wallets), 1, payer=rng.randrange(3))
            ledger = scene.close()
            touched = {
                each
                for each in map(scene.account, wallets)
                if any(change.entry.transaction.ledger == ledger for change in _changes(scene, each))
            }
            for told in both:
                await until_true(
                    lambda told=told, at=ledger, touched=touched: (
                        touched  # type: ignore[misc]
                        <= {each.account_id for each in told if each.ledger == at}
                    ),
                    what="everybody's fact",
                )
    for wallet in wallets:
        mine = [[each for each in told if each.account_id == scene.account(wallet)] for told in both]
        said = [
            {each.event_id: (each.ledger, each.balance_stroops, each.authorized, each.movements) for each in told}
            for told in mine
        ]
        assert said[0] == said[1]
        market, payer = Address(people.market.account_id), Address(people.payers[0].account_id)
        issuer = Address(people.issuer.account_id)
        for excluded in ({market}, {payer}, {issuer}, {people.contract}, {market, payer, issuer, people.contract}):
            decisions = [decided(scene, told, frozenset(excluded)) for told in mine]
            assert decisions[0] == decisions[1], excluded


async def test_one_name_goes_from_one_source_to_the_other_and_back(scene: Scene) -> None:
    """A stream over Horizon is stopped, one over RPC is started under its name, then one over Horizon again: each goes
    on where the other was, what was paid between is told, with its movements, and no wallet is read for nothing.
    """
    await scene.add_wallet(0)
    await scene.add_wallet(1)
    units = 100
    for turn, rpc in enumerate((False, True, False, True)):
        if turn:
            scene.pay(0, 1)
            units += 1
            scene.close()
            scene.pay(0, 2)
            units += 2
            ledger = scene.close()
        async with listened(scene, rpc=rpc, name="stream") as (_, told):
            fact = await scene.until_told(0, units=units)
            await scene.store(fact)
            if turn:
                assert fact.ledger == ledger
                assert [each.amount_stroops for each in fact.movements or ()] == [1 * UNIT, 2 * UNIT]
                assert [each.account_id for each in told] == [scene.account(0)]
            else:
                await scene.store(await scene.until_told(1, units=100))
            scene.pay(0, 3)
            units += 3
            ledger = scene.close()
            fact = await scene.until_told(0, units=units)
            await scene.store(fact)
            assert [each.amount_stroops for each in fact.movements or ()] == [3 * UNIT]
            await until_true(lambda at=ledger: _is_saved(scene, at), what="the cursor is saved")  # type: ignore[misc]


async def test_a_quiet_asset_still_moves_the_cursor(scene: Scene) -> None:
    """Ledgers without an event of ours are known to be read: RPC's memory is short, the cursor must not fall out."""
    await scene.add_wallet(0)
    async with scene.stream(rpc=True, pace=replace(PACE, idle_drain_s=0.2)):
        await scene.until_told(0, units=100)
        for _ in range(3):
            latest = scene.close()
        await until_true(lambda: _is_saved(scene, latest), what="the cursor follows the ledgers")


async def test_what_rpc_forgot_stops_the_stream_with_the_remedy(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """RPC was away for longer than it remembers: a person must decide, and is told how. Nothing is saved."""
    monkeypatch.setattr(stream, "CHECK_S", 0.2)
    await scene.add_wallet(0)
    async with scene.parts(rpc=True) as parts:
        pace = replace(PACE, idle_drain_s=0.2)
        following = asyncio.create_task(stream.Stream("stream", parts, pace).run(Wish()))
        await scene.store(await scene.until_told(0, units=100))
        await until_true(scene.saved_ledger, what="the cursor is saved")
        before = await scene.saved_ledger()
        scene.horizon.faults.add(Fault(path_prefix="/rpc", method="POST", status=503, times=1_000_000))
        await until_true(parts.readiness.reasons, what="it is away")
        scene.pay(0, 50)
        for _ in range(5):
            scene.close()
        scene.chain.history.trim(before_ledger=scene.chain.latest.sequence)
        scene.horizon.faults.clear()
        with pytest.raises(Fatal, match=r"RPC_URL begins with.*--accept-gap"):
            await asyncio.wait_for(following, 60)
    assert await scene.saved_ledger() == before


async def test_trouble_with_rpc_delays_facts_and_loses_none(scene: Scene) -> None:
    """Answers that are refused, cut, late or from a replica that is behind: in the end every balance is told, with
    every movement, and none that never was.
    """
    await scene.add_wallet(0)
    rng = random.Random(7)  # noqa: S311 - a story
    async with listened(scene, rpc=True, name="stream") as (_, told):
        await scene.store(await scene.until_told(0, units=100))
        true = {100}
        for units in range(101, 121):
            for _ in range(2):
                trouble = rng.choice(
                    [{"status": 503}, {"cut_after_bytes": 30}, {"lag_ledgers": 2}, {"delay_s": 0.2}, {"status": 429}]
                )
                method = rng.choice(["getEvents", "getLedgerEntries", "getTransaction", "getHealth", "getLedgers"])
                headers = {"Retry-After": "0"}
                scene.horizon.faults.add(
                    Fault(path_prefix=f"/rpc/{method}", method="POST", headers=headers, **trouble)  # type: ignore[arg-type]
                )
            scene.pay(0, 1)
            scene.close()
            true.add(units)
            await asyncio.sleep(0)
        scene.horizon.faults.clear()
        await scene.until_told(0, units=120)
        assert {each.balance_stroops // UNIT for each in told} <= true
        moved = {each.operation_id for fact in told for each in fact.movements or ()}
        assert len(moved) == 20


def _for_another(operation: Operation, wallet: AccountId, other: AccountId) -> Operation:
    """The same operation about another wallet."""
    changed = {
        name: other
        for name in ("source", "to", "maker", "account", "claimant")
        if getattr(operation, name, None) == wallet
    }
    if isinstance(operation, ContractCall):
        sides = [
            replace(
                each,
                source=Address(other) if each.source == Address(wallet) else each.source,
                to=Address(other) if each.to == Address(wallet) else each.to,
            )
            for each in operation.changes
        ]
        return replace(operation, changes=tuple(sides))
    return replace(operation, **changed)  # type: ignore[arg-type]


def _changes(scene: Scene, account_id: AccountId) -> list[Change]:
    return [each for each in scene.chain.changes_of(account_id) if each.posting.asset == scene.people.asset]


async def _is_saved(scene: Scene, ledger: int) -> bool:
    return (await scene.saved_ledger() or 0) >= ledger
