"""A command's ending: what a result does to the wallet it is about. Pure, part of the decision."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from consumer.deposit import deposit, free_protected, release
from consumer.inputs import Result
from consumer.outcome import Outcome, Snapshot, Verdict
from consumer.wallet import CommandRecord, CommandStatus, Policy, WalletState
from schema.deposit_result import DepositResult, ResultStatus
from schema.identity import snapshot_id
from schema.stellar import Stroops, format_stroops

RETRY_DELAY_MAX: Final = timedelta(days=1)


def settle(state: WalletState, given: Result, policy: Policy) -> Outcome:
    """Record how a command ended; what it frees may be commanded at once."""
    result = given.result
    command = state.command(result.command_id)
    if command is None:
        return Outcome(
            state=state, verdict=Verdict.UNKNOWN_COMMAND, detail=f"no command {result.command_id} was issued"
        )
    if result.status is ResultStatus.SUCCEEDED and result.amount_stroops > command.amount_stroops:
        detail = (
            f"{format_stroops(result.amount_stroops)} deposited, {format_stroops(command.amount_stroops)} commanded"
        )
        return Outcome(state=state, verdict=Verdict.EXCESS, detail=detail)
    if command.reported is not None:
        return _repeated(state, command, result)
    late = command.status is CommandStatus.EXPIRED
    if result.status is ResultStatus.FAILED:
        return _failed(state, given, command, policy, late=late)
    return _succeeded(state, given, command, policy, late=late)


def _repeated(state: WalletState, command: CommandRecord, result: DepositResult) -> Outcome:
    recorded = (command.deposited_stroops, command.transaction_hash, command.settled_ledger)
    said = (result.amount_stroops, result.transaction_hash, result.ledger)
    same = command.reported is result.status and (result.status is ResultStatus.FAILED or recorded == said)
    if same:
        return Outcome(state=state, verdict=Verdict.DUPLICATE)
    detail = f"recorded as {command.reported} {recorded}, the result says {result.status} {said}"
    return Outcome(state=state, verdict=Verdict.CONTRADICTION, detail=detail)


def _failed(state: WalletState, given: Result, command: CommandRecord, policy: Policy, *, late: bool) -> Outcome:
    ended = replace(
        command,
        status=command.status if late else CommandStatus.FAILED,
        reported=ResultStatus.FAILED,
        transaction_hash=given.result.transaction_hash,
    )
    if late:
        return Outcome(state=release(state, ended), verdict=Verdict.LATE, ended=(ended,))
    state = release(state, ended, released_stroops=command.amount_stroops)
    failures, due_at = _next_attempt(state, given, command, policy)
    state = replace(state, failures_in_a_row=failures, retry_of=command.command_id, due_at=due_at)
    return Outcome(state=free_protected(state), verdict=Verdict.FAILED, ended=(ended,))


def _next_attempt(
    state: WalletState, given: Result, command: CommandRecord, policy: Policy
) -> tuple[int, datetime | None]:
    """The failures in a row, and when to try again (None: not before new money or an operator comes).

    Commands that were out together are one attempt. One whose time ran out is none, as when a fact says so first; and
    its bound passes by our clock before the next, or an executor whose own is ahead would never be left in peace.
    """
    if given.result.completed_at >= command.expires_at:
        return state.failures_in_a_row, max(given.at, command.expires_at) + policy.retry_delay
    failures = state.failures_in_a_row
    if command.attempt > failures:
        failures += 1
    delay = min(policy.retry_delay * 2 ** min(failures - 1, 20), RETRY_DELAY_MAX)
    return failures, given.at + delay if failures < policy.attempts_max else None


def _succeeded(state: WalletState, given: Result, command: CommandRecord, policy: Policy, *, late: bool) -> Outcome:
    result = given.result
    ended = replace(
        command,
        status=command.status if late else CommandStatus.SUCCEEDED,
        reported=ResultStatus.SUCCEEDED,
        deposited_stroops=result.amount_stroops,
        settled_ledger=result.ledger,
        transaction_hash=result.transaction_hash,
    )
    known = state.balance_stroops or Stroops(0)
    caused_by = f"result:{command.command_id}"
    snapshot = Snapshot(
        snapshot_id=snapshot_id(state.wallet_id, caused_by, given.at),
        wallet_id=state.wallet_id,
        user_id=state.user_id,
        snapshot_type="auto_deposit_trigger",
        balance_stroops=known,
        previous_stroops=known,
        ledger=state.ledger,
        event_id=None,
        command_id=command.command_id,
        deposit_stroops=result.amount_stroops,
        transaction_hash=result.transaction_hash,
        observed_at=given.at,
        authorized=state.authorized,
    )
    state = replace(state, snapshot_id=snapshot.snapshot_id)
    if late:
        return Outcome(state=release(state, ended), verdict=Verdict.LATE, ended=(ended,), snapshot=snapshot)
    state = release(state, ended, released_stroops=command.amount_stroops - result.amount_stroops)
    state = replace(state, failures_in_a_row=0, retry_of=None)
    state, reason, following = deposit(state, policy, triggered=True, caused_by=caused_by, at=given.at)
    return Outcome(
        state=state, verdict=Verdict.SUCCEEDED, reason=reason, snapshot=snapshot, command=following, ended=(ended,)
    )
