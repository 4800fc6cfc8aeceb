"""What must hold, judged from the chain and from what was said: no word of the decision's own reckoning is used."""

from collections.abc import Sequence
from datetime import UTC
from typing import TYPE_CHECKING

from consumer.outcome import Snapshot
from consumer.wallet import CommandStatus
from schema.deposit_command import DepositCommand
from tests.exhaustive.chain import FIRST_LEDGER, Chain
from tests.exhaustive.database import Committed, Database

if TYPE_CHECKING:
    from tests.exhaustive.model import Model
    from tests.exhaustive.world import World


def check_commit(model: "Model", world: "World", chain: Chain, stored: Database, committed: Committed) -> None:
    """After every transaction: what was written is true of the chain, and no command takes what it must not."""
    assert committed.refused == 0, "an honest world has no dead letters"
    version = (stored.wallet.ledger or FIRST_LEDGER) - FIRST_LEDGER
    previous = None if stored.wallet.ledger is None else chain.balance_at(version)
    for snapshot in committed.snapshots:
        if snapshot.event_id is None:
            _check_deposits_snapshot(snapshot)
            continue
        seen = (snapshot.ledger or 0) - FIRST_LEDGER
        assert seen > version, "one snapshot per version, in order"
        assert snapshot.balance_stroops == chain.balance_at(seen), "a recorded balance is the chain's"
        assert snapshot.previous_stroops == previous, "snapshots link up"
        version, previous = seen, chain.balance_at(seen)
    wallet = committed.database.wallet
    if wallet.ledger is not None:
        at = wallet.ledger - FIRST_LEDGER
        assert wallet.balance_stroops == chain.balance_at(at), "the previous balance is the chain's at its version"
    issued = [model.content(model.payloads(row.payload)) for row in stored.commands]
    first = world.first or (committed.snapshots[0].ledger or 0) - FIRST_LEDGER if committed.snapshots else world.first
    for command in committed.commands:
        _check_command(model, world, chain, issued=issued, command=command, first=first)
        issued.append(command)


def _check_deposits_snapshot(snapshot: Snapshot) -> None:
    assert snapshot.balance_stroops == (snapshot.previous_stroops or 0), "a result moves no balance"
    assert (snapshot.deposit_stroops or 0) > 0, "a deposit's snapshot says how much"


def _check_command(
    model: "Model",
    world: "World",
    chain: Chain,
    *,
    issued: Sequence[DepositCommand],
    command: DepositCommand,
    first: int,
) -> None:
    policy, version = model.policy, command.ledger - FIRST_LEDGER
    balance = chain.balance_at(version)
    assert command.balance_stroops == balance, "a command names the balance it rests on"
    assert command.command_id not in {each.command_id for each in issued}, "one cause, one command"
    assert command.amount_stroops >= model.minimum, "no command below the minimum"
    assert not policy.max_deposit_stroops or command.amount_stroops <= policy.max_deposit_stroops, "nor above the most"
    assert command.reserve_stroops >= policy.reserve_stroops, "the reserve stays"
    if not chain.sum("spent"):
        assert command.reserve_stroops >= _kept(model, chain, first, up_to=version), "what is protected stays"
    assert not world.paused, "nothing leaves while paused"
    may_still_move = sum(_may_move(model, world, chain, each, after=version) for each in issued)
    free = balance - command.reserve_stroops - may_still_move
    assert command.amount_stroops <= free, f"{command.amount_stroops} commanded, {free} of {balance} are free"
    if policy.daily_cap_stroops:
        day = command.issued_at.astimezone(UTC).date()
        same_day = [each for each in issued if each.issued_at.astimezone(UTC).date() == day]
        used = sum(_may_move(model, world, chain, each, after=0) for each in same_day)
        assert used + command.amount_stroops <= policy.daily_cap_stroops, "the day's cap holds"


def _may_move(model: "Model", world: "World", chain: Chain, command: DepositCommand, *, after: int) -> int:
    """What a command has moved in ledgers after this one, or may yet move."""
    payload = model.payload_of(command)
    settled = chain.settled(payload)
    if settled is not None:
        ledger, amount = settled
        return amount if ledger > after else 0
    is_over = any(each == payload for each, _ in world.endings) or chain.now > command.expires_at
    return 0 if is_over else command.amount_stroops


def _kept(model: "Model", chain: Chain, first: int, *, up_to: int | None = None) -> int:
    """What was there at the first sight, and what came back from the vault after it."""
    baseline = 0 if model.policy.deposit_existing else chain.balance_at(first)
    returned = sum(
        each.amount
        for each in chain.changes
        if each.kind == "returned" and each.ledger > first and (up_to is None or each.ledger <= up_to)
    )
    return baseline + returned


def check_one_content(sent: Sequence[DepositCommand]) -> None:
    """Whatever is sent, and sent again."""
    contents = {command.command_id: command for command in sent}
    assert all(contents[command.command_id] == command for command in sent), "one id, one content"


def check_chain(model: "Model", world: "World") -> None:
    """After every step: never more deposited than qualified, and what is kept is there."""
    chain = model.chains.values[world.chain]
    deposited = chain.sum("deposited")
    if not deposited:
        return
    first = world.first
    assert first, "nothing is deposited before the first sight"
    received = sum(each.amount for each in chain.changes if each.kind == "received" and each.ledger > first)
    qualified = received + (chain.balance_at(first) if model.policy.deposit_existing else 0)
    assert deposited <= qualified, f"{deposited} deposited, {qualified} qualified"
    if not chain.sum("spent"):
        assert chain.balance >= max(_kept(model, chain, first), model.policy.reserve_stroops), "what is kept is there"


def check_rest(model: "Model", world: "World", *, closing: bool) -> None:
    """When nothing is left to do: everything is told, nothing is open, and what qualified was deposited."""
    chain, database = model.chains.values[world.chain], model.databases.values[world.database]
    assert database.wallet.balance_stroops == chain.balance, "the stored balance is the chain's"
    ended = (CommandStatus.SUCCEEDED, CommandStatus.FAILED, CommandStatus.EXPIRED)
    assert all(row.record.status in ended for row in database.commands), "no command is open"
    for row in database.commands:
        settled = chain.settled(model.payloads(row.payload))
        assert row.record.deposited_stroops in (0, settled[1] if settled else 0), "a recorded deposit is the chain's"
    kept = _kept(model, chain, world.first)
    if closing:
        kept = min(kept, world.rest)
    left = chain.balance - max(kept, model.policy.reserve_stroops)
    was_gentle = not chain.sum("spent") and len(world.endings) == sum(c.kind == "deposited" for c in chain.changes)
    if closing or was_gentle:
        assert left < model.minimum, f"{left} of {chain.balance} qualified and were not deposited"
