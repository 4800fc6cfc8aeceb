"""Snapshots and commands, field by field: nothing that is recorded is left to chance."""

from dataclasses import replace
from datetime import timedelta

from consumer.outcome import Snapshot, Verdict
from consumer.wallet import CommandStatus
from schema.deposit_command import DepositCommand
from schema.deposit_result import ResultStatus
from schema.identity import command_id, snapshot_id
from schema.stellar import Ledger, Network
from tests.unit.consumer.worlds import (
    ACCOUNT,
    FIRST_LEDGER,
    USDC,
    USER_ID,
    VAULT,
    WALLET_ID,
    World,
    balance_event,
    close_time,
    movement,
    units,
)


def test_the_snapshot_of_a_deposit_is_whole() -> None:
    """The known balance as both balances, what was deposited, where; in time, and late. The state names it."""
    world, late = World(), World()
    for each in (world, late):
        each.holds(1, 10)
        each.holds(2, 110)
    late.holds(3, 10, seen_in=200)
    command = world.commands[0]
    for each, verdict, ledger in ((world, Verdict.SUCCEEDED, 2), (late, Verdict.LATE, 3)):
        outcome = each.succeeds(command, ledger=3)
        assert outcome.verdict is verdict
        assert [record.command_id for record in outcome.ended] == [command.command_id]
        balance = each.state.balance_stroops
        assert outcome.snapshot == Snapshot(
            snapshot_id=snapshot_id(WALLET_ID, f"result:{command.command_id}", close_time(3)),
            wallet_id=WALLET_ID,
            user_id=USER_ID,
            snapshot_type="auto_deposit_trigger",
            balance_stroops=units(110 if each is world else 10),
            previous_stroops=balance,
            ledger=Ledger(FIRST_LEDGER + ledger),
            event_id=None,
            command_id=command.command_id,
            deposit_stroops=units(100),
            transaction_hash=f"{3:064x}",
            observed_at=close_time(3),
            authorized=True,
        )
        assert each.state.snapshot_id == outcome.snapshot.snapshot_id
    assert late.state.command(command.command_id) == replace(
        late.outcomes[-1].ended[0], status=CommandStatus.EXPIRED, reported=ResultStatus.SUCCEEDED
    )


def test_the_snapshot_of_a_fact_is_whole() -> None:
    """What was known before, what is known now, why it was read, and the command that it caused."""
    world = World()
    world.holds(1, 10)
    event = balance_event(2, 110, movements=(movement(2, 60), replace(movement(2, 40), transaction_hash="ab" * 32)))
    outcome = world.event(event)
    assert outcome.snapshot == Snapshot(
        snapshot_id=snapshot_id(WALLET_ID, str(event.event_id), close_time(2)),
        wallet_id=WALLET_ID,
        user_id=USER_ID,
        snapshot_type="webhook",
        balance_stroops=units(110),
        previous_stroops=units(10),
        ledger=event.ledger,
        event_id=event.event_id,
        command_id=world.commands[0].command_id,
        deposit_stroops=units(100),
        transaction_hash="ab" * 32,
        observed_at=close_time(2),
        authorized=True,
    )


def test_a_command_is_whole() -> None:
    """Everything the executor needs, and everything an auditor asks for."""
    world = World()
    world.holds(1, 10)
    world.holds(2, 110)
    fact_id = str(balance_event(2, 110).event_id)
    assert world.commands == [
        DepositCommand(
            command_id=command_id(WALLET_ID, fact_id),
            previous_command_id=None,
            user_id=USER_ID,
            wallet_id=WALLET_ID,
            account_id=ACCOUNT,
            network=Network.TESTNET,
            asset=USDC,
            vault_address=VAULT,
            amount_stroops=units(100),
            balance_stroops=units(110),
            reserve_stroops=units(10),
            ledger=Ledger(FIRST_LEDGER + 2),
            caused_by=fact_id,
            snapshot_id=snapshot_id(WALLET_ID, fact_id, close_time(2)),
            issued_at=close_time(2),
            expires_at=close_time(2) + timedelta(seconds=300),
        )
    ]
