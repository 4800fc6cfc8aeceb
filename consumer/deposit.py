"""The level rule: what of a balance is depositable, and the command for it. Pure, part of the decision."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple

from consumer.outcome import Reason
from consumer.wallet import CommandRecord, CommandStatus, Policy, WalletState
from schema.deposit_command import DepositCommand
from schema.identity import command_id
from schema.stellar import Stroops

PAUSE_RECHECK: Final = timedelta(seconds=60)  # a paused wallet with money to deposit is looked at again this often


class Deposited(NamedTuple):
    """The state with its new command in flight, or the reason why there is none."""

    state: WalletState
    reason: Reason
    command: DepositCommand | None = None


def deposit(state: WalletState, policy: Policy, *, triggered: bool, caused_by: str, at: datetime) -> Deposited:
    """The command that this state calls for, if any."""
    state = free_protected(state)
    keep = max(state.protected_stroops, policy.reserve_stroops)
    balance = state.balance_stroops or 0
    depositable = balance - keep - state.in_flight()
    minimum = max(policy.min_deposit_stroops, 1)
    reason = _objection(state, policy, triggered=triggered, enough=depositable >= minimum)
    if reason is Reason.PAUSED:
        state = replace(state, due_at=at + PAUSE_RECHECK)
    if reason is not None:
        return Deposited(state, reason)

    day = at.astimezone(UTC).date()
    wanted = min(depositable, policy.max_deposit_stroops or depositable)
    left_today = policy.daily_cap_stroops - state.issued_on(day) if policy.daily_cap_stroops else wanted
    amount = min(wanted, left_today)
    due_at = _next_day(day) if amount < wanted else None
    if amount < minimum:
        reason = Reason.DAILY_CAP if wanted >= minimum else Reason.BELOW_MINIMUM
        return Deposited(replace(state, due_at=due_at or state.due_at), reason)

    if state.command(command_id(state.wallet_id, caused_by)) is not None:
        return Deposited(state, Reason.ALREADY_ISSUED)
    command = _command(state, policy, amount=Stroops(amount), keep=Stroops(keep), caused_by=caused_by, at=at)
    record = CommandRecord(
        command_id=command.command_id,
        status=CommandStatus.PENDING,
        amount_stroops=command.amount_stroops,
        issued_at=command.issued_at,
        expires_at=command.expires_at,
        attempt=state.failures_in_a_row + 1,
    )
    state = replace(
        state,
        commands=(*state.commands, record),
        issued=_with_issued(state.issued, day, command.amount_stroops),
        retry_of=None,
        due_at=due_at,
    )
    return Deposited(state, Reason.ISSUED, command)


def _objection(state: WalletState, policy: Policy, *, triggered: bool, enough: bool) -> Reason | None:
    if not triggered:
        return Reason.NOT_TRIGGERED
    if not policy.enabled:
        return Reason.DISABLED
    if state.held_at is not None:
        return Reason.HELD
    if not state.authorized:
        return Reason.UNAUTHORIZED
    if not enough:
        return Reason.BELOW_MINIMUM
    return Reason.PAUSED if policy.paused else None


def _command(  # noqa: PLR0913 - what a command is made of
    state: WalletState, policy: Policy, *, amount: Stroops, keep: Stroops, caused_by: str, at: datetime
) -> DepositCommand:
    if state.balance_stroops is None or state.ledger is None or state.snapshot_id is None:
        raise AssertionError(f"wallet {state.wallet_id}: a command without a recorded fact")
    return DepositCommand(
        command_id=command_id(state.wallet_id, caused_by),
        previous_command_id=state.retry_of,
        user_id=state.user_id,
        wallet_id=state.wallet_id,
        account_id=state.account_id,
        network=state.network,
        asset=state.asset,
        vault_address=policy.vault_address,
        amount_stroops=amount,
        balance_stroops=state.balance_stroops,
        reserve_stroops=keep,
        ledger=state.ledger,
        caused_by=caused_by,
        snapshot_id=state.snapshot_id,
        issued_at=at,
        expires_at=at + policy.command_ttl,
    )


def free_protected(state: WalletState) -> WalletState:
    """With nothing in flight the balance is the truth: if it is below the protected part, the owner spent of that."""
    balance = state.balance_stroops
    if balance is None or state.protected_stroops <= balance or state.in_flight():
        return state
    return replace(state, protected_stroops=balance)


def release(state: WalletState, changed: CommandRecord, *, released_stroops: int = 0) -> WalletState:
    """The state with this command's record changed, and what it no longer takes free again, for its day's cap too."""
    commands = tuple(changed if each.command_id == changed.command_id else each for each in state.commands)
    if not released_stroops:
        return replace(state, commands=commands)
    day = changed.issued_at.astimezone(UTC).date()
    return replace(state, commands=commands, issued=_with_issued(state.issued, day, -released_stroops))


def _with_issued(issued: tuple[tuple[date, Stroops], ...], day: date, change: int) -> tuple[tuple[date, Stroops], ...]:
    sums = dict(issued)
    sums[day] = Stroops(sums.get(day, 0) + change)
    return tuple(sums.items())


def _next_day(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), tzinfo=UTC)
