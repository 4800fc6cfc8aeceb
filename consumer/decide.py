"""The decision: from a wallet's state, one input and a policy to an outcome. Pure: no I/O, no clock, no randomness.

The theory. A balance is a level, not a sum of payments. Of that level a part is kept (`protected`: what was there
before, what came from excluded sources; `reserve`: what the person wants left), and a part is spoken for (in flight:
commands whose effect is not in the balance yet). What remains is depositable. A command leaves when there is a cause to
look (new money, a command that just ended, a wait that is over) and what remains is worth it. Because the level is
looked at anew each time, nothing that was too small, too much or too early is ever forgotten, and nothing counts twice.

    expected    = previous balance - deposits settled in ledgers after its version and up to this one
    increased   = balance > expected
    keep        = max(protected, reserve)
    depositable = balance - keep - in flight
"""

from dataclasses import replace
from datetime import datetime

from consumer.deposit import deposit, release
from consumer.inputs import Due, Fact, Input, Result
from consumer.outcome import Outcome, Snapshot, Verdict
from consumer.settle import settle
from consumer.wallet import CommandRecord, CommandStatus, Policy, WalletState
from schema.balance_event import BalanceEvent
from schema.identity import snapshot_id
from schema.stellar import STROOPS_MAX, Stroops, format_stroops
from schema.wire import format_time


def decide(state: WalletState, given: Input, policy: Policy) -> Outcome:
    """What this input means for this wallet. The same arguments always give the same outcome."""
    match given:
        case Fact():
            return _decide_fact(state, given, policy)
        case Result():
            return settle(state, given, policy)
        case Due():
            return _decide_due(state, given, policy)


# Facts


def _decide_fact(state: WalletState, fact: Fact, policy: Policy) -> Outcome:
    event = fact.event
    verdict = _compare_versions(state, event)
    if verdict is Verdict.CONFLICT:
        detail = f"ledger {event.ledger} is stored with another state: {_shown(state)}, the event says {_said(event)}"
        held = state if state.held_at is not None else replace(state, held_at=fact.at)
        return Outcome(state=held, verdict=verdict, detail=detail)
    if verdict is Verdict.STALE:
        return Outcome(state=state, verdict=verdict)
    if verdict is Verdict.DUPLICATE:
        if event.ledger != state.ledger:
            state = replace(state, ledger=event.ledger)  # an absence, seen again later
        state, expired = _expire(state, event.observed_at)
        # The event's id has caused its one command already: what expired is the cause of the next.
        caused_by = f"result:{expired[-1].command_id}" if expired else ""
        state, reason, command = deposit(state, policy, triggered=bool(expired), caused_by=caused_by, at=fact.at)
        return Outcome(state=state, verdict=verdict, reason=reason, command=command, ended=expired)
    return _apply(state, fact, policy, verdict)


def _compare_versions(state: WalletState, event: BalanceEvent) -> Verdict:
    if state.balance_stroops is None:
        return Verdict.BASELINE
    if state.ledger is None or event.ledger > state.ledger:
        seen_absent_again = state.ledger is not None and state.is_absent and event.is_absence
        return Verdict.DUPLICATE if seen_absent_again else Verdict.RECORDED
    if event.ledger < state.ledger:
        return Verdict.STALE
    same = event.balance_stroops == state.balance_stroops and event.authorized == state.authorized
    return Verdict.DUPLICATE if same else Verdict.CONFLICT


def _apply(state: WalletState, fact: Fact, policy: Policy, verdict: Verdict) -> Outcome:
    """Take in a version that is newer than the stored one, or the first."""
    event = fact.event
    previous = state.balance_stroops
    if previous is None:
        expected = 0 if policy.deposit_existing else event.balance_stroops
        protected = 0 if policy.deposit_existing else event.balance_stroops
    else:
        expected = previous - state.settled(after=state.ledger, up_to=event.ledger)
        protected = state.protected_stroops + _from_excluded_sources(
            state, event, policy, event.balance_stroops - expected
        )
    cause = str(event.event_id)
    latest_id = snapshot_id(state.wallet_id, cause, event.observed_at)
    state = replace(
        state,
        balance_stroops=event.balance_stroops,
        ledger=event.ledger,
        authorized=event.authorized,
        protected_stroops=Stroops(min(protected, STROOPS_MAX)),
        snapshot_id=latest_id,
    )
    state, expired = _expire(state, event.observed_at)
    triggered = event.balance_stroops > expected or bool(expired)
    state, reason, command = deposit(state, policy, triggered=triggered, caused_by=cause, at=fact.at)
    snapshot = Snapshot(
        snapshot_id=latest_id,
        wallet_id=state.wallet_id,
        user_id=state.user_id,
        snapshot_type=event.snapshot_type,
        balance_stroops=event.balance_stroops,
        previous_stroops=previous,
        ledger=event.ledger,
        event_id=event.event_id,
        command_id=None if command is None else command.command_id,
        deposit_stroops=None if command is None else command.amount_stroops,
        transaction_hash=event.movements[-1].transaction_hash if event.movements else None,
        observed_at=event.observed_at,
        authorized=event.authorized,
    )
    return Outcome(state=state, verdict=verdict, reason=reason, snapshot=snapshot, command=command, ended=expired)


def _from_excluded_sources(state: WalletState, event: BalanceEvent, policy: Policy, increase: int) -> int:
    """The part of this change that is never deposited; the whole increase where its sources are not known."""
    if not policy.excluded_sources:
        return 0
    version = state.ledger
    if event.movements is None or event.movements_since is None or version is None or event.movements_since > version:
        return max(increase, 0)
    return sum(
        movement.amount_stroops
        for movement in event.movements
        if version < movement.ledger <= event.ledger
        and movement.amount_stroops > 0
        and movement.counterparty in policy.excluded_sources
    )


def _expire(state: WalletState, observed_at: datetime) -> tuple[WalletState, tuple[CommandRecord, ...]]:
    """Release what can no longer happen: the observed balance is of a time after these commands' own bound."""
    expired = tuple(
        replace(command, status=CommandStatus.EXPIRED)
        for command in state.commands
        if command.is_open and command.expires_at < observed_at
    )
    if not expired:
        return state, ()
    for command in expired:
        state = release(state, command, released_stroops=command.amount_stroops)
    return replace(state, retry_of=expired[-1].command_id), expired


def _decide_due(state: WalletState, due: Due, policy: Policy) -> Outcome:
    if state.due_at is None or state.due_at > due.at:
        return Outcome(state=state, verdict=Verdict.NOT_DUE)
    caused_by = f"due:{state.wallet_id}:{format_time(due.at)}"
    state, reason, command = deposit(
        replace(state, due_at=None), policy, triggered=True, caused_by=caused_by, at=due.at
    )
    return Outcome(state=state, verdict=Verdict.DUE, reason=reason, command=command)


def _shown(state: WalletState) -> str:
    return f"balance {format_stroops(state.balance_stroops or 0)}, authorized {state.authorized}"


def _said(event: BalanceEvent) -> str:
    return f"balance {format_stroops(event.balance_stroops)}, authorized {event.authorized}"
