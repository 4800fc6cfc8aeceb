"""One batch: every arrived message against its wallet, in arrival order, to everything that is to be written. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from consumer.dead_letters import DeadLetter
from consumer.decide import decide
from consumer.inputs import Due, Fact, Input, Result
from consumer.outcome import Outcome, Snapshot, Verdict
from consumer.records import Arrived, refusal
from consumer.wallet import CommandRecord, Policy, WalletState
from schema.balance_event import BalanceEvent
from schema.deposit_command import DepositCommand
from schema.deposit_result import ResultError, ResultStatus
from schema.stellar import AccountId, Ledger


@dataclass(slots=True)
class Wallets:
    """The batch's wallets under their locks, by account and by command. A command whose wallet is gone stands alone:
    its own id is the key, and its policy forbids everything.
    """

    states: dict[UUID, WalletState]
    policies: Mapping[UUID, Policy]
    by_account: Mapping[AccountId, UUID]
    by_command: Mapping[UUID, UUID]
    observed: dict[UUID, Ledger] = field(default_factory=dict)  # the newest ledger as of which a fact was taken in
    deleted: frozenset[UUID] = frozenset()
    elsewhere: frozenset[UUID] = frozenset()  # commands of the other network, which another installation ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A command's record as it ended: when (the result's time, or the observed time that let it expire), and why."""

    command: CommandRecord
    completed_at: datetime
    error: ResultError | None


@dataclass(slots=True)
class Writes:
    """What a batch changes: the new state of each changed wallet, and the rows to add or change."""

    states: dict[UUID, WalletState] = field(default_factory=dict)
    observed: dict[UUID, Ledger] = field(default_factory=dict)
    snapshots: list[Snapshot] = field(default_factory=list)
    commands: list[DepositCommand] = field(default_factory=list)
    attempts: dict[UUID, int] = field(default_factory=dict)  # which one each command is
    endings: dict[UUID, Ending] = field(default_factory=dict)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def decide_batch(arrived: Iterable[Arrived], wallets: Wallets, now: datetime) -> Writes:
    """Decide on each record in arrival order. A refusal holds up nothing behind it."""
    writes = Writes()
    for each in arrived:
        if each.refusal is not None:
            writes.dead_letters.append(each.refusal)
            writes.counts[each.refusal.reason] += 1
        elif each.message is None:
            writes.counts["not_ours"] += 1
        else:
            _decide_one(each, wallets, now, writes)
    return writes


def decide_due(wallets: Wallets, now: datetime) -> Writes:
    """Every wallet whose wait is over."""
    writes = Writes()
    for wallet_id in list(wallets.states):
        _take(wallets, wallet_id, Due(at=now), writes)
    return writes


def _decide_one(arrived: Arrived, wallets: Wallets, now: datetime, writes: Writes) -> None:
    message = arrived.message
    given: Input
    if isinstance(message, BalanceEvent):
        wallet_id = wallets.by_account.get(message.account_id)
        if wallet_id is None:
            writes.counts["untracked"] += 1
            return
        given = Fact(event=message, at=max(now, message.observed_at))
    elif message is not None and message.command_id in wallets.elsewhere:
        writes.counts["not_ours"] += 1
        return
    elif message is not None:
        wallet_id = wallets.by_command.get(message.command_id)
        if wallet_id is None:
            verdict = Verdict.UNKNOWN_COMMAND
            writes.dead_letters.append(refusal(arrived.record, verdict, f"no command {message.command_id} was issued"))
            writes.counts[verdict] += 1
            return
        given = Result(result=message, at=now)
    else:
        return
    outcome = _take(wallets, wallet_id, given, writes)
    if isinstance(message, BalanceEvent):
        _observe(wallets, wallet_id, message.observed_ledger, writes)
    if outcome.verdict.is_refusal:
        writes.dead_letters.append(refusal(arrived.record, outcome.verdict, outcome.detail))


def _take(wallets: Wallets, wallet_id: UUID, given: Input, writes: Writes) -> Outcome:
    before = wallets.states[wallet_id]
    outcome = decide(before, given, wallets.policies[wallet_id])
    wallets.states[wallet_id] = outcome.state
    writes.counts[outcome.verdict] += 1
    for command in outcome.ended:
        writes.endings[command.command_id] = _ending(command, given)
    if wallet_id in wallets.deleted:
        return outcome
    if outcome.state is not before:
        writes.states[wallet_id] = outcome.state
    if outcome.snapshot is not None:
        writes.snapshots.append(outcome.snapshot)
    if outcome.command is not None:
        issued = outcome.state.commands[-1]
        writes.commands.append(outcome.command)
        writes.attempts[issued.command_id] = issued.attempt
    return outcome


def _observe(wallets: Wallets, wallet_id: UUID, ledger: Ledger, writes: Writes) -> None:
    """Note how new this fact is, also where it brought nothing new: whoever asked for a read waits for it."""
    if ledger > wallets.observed.get(wallet_id, 0):
        wallets.observed[wallet_id] = writes.observed[wallet_id] = ledger
        writes.states[wallet_id] = wallets.states[wallet_id]


def _ending(command: CommandRecord, given: Input) -> Ending:
    if isinstance(given, Result):
        failed = given.result.status is ResultStatus.FAILED
        error = given.result.error if failed else None
        return Ending(command=command, completed_at=given.result.completed_at, error=error)
    observed_at = given.event.observed_at if isinstance(given, Fact) else given.at
    return Ending(command=command, completed_at=observed_at, error=None)


def without_deposits(policy: Policy) -> Policy:
    """The policy of a wallet that is gone: its commands still end, nothing new begins."""
    return replace(policy, enabled=False)
