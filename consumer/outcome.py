"""What a decision says: the wallet afterwards, what to write, and why."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from consumer.wallet import CommandRecord, WalletState
from schema.deposit_command import DepositCommand
from schema.stellar import Ledger, Stroops


class Verdict(StrEnum):
    """What became of the input."""

    BASELINE = "baseline"  # the first sight of a wallet
    RECORDED = "recorded"  # a newer version
    DUPLICATE = "duplicate"  # known already
    STALE = "stale"  # an older version than the stored one
    CONFLICT = "conflict"  # the stored version with another state: dead letter
    SUCCEEDED = "succeeded"  # a command's result
    FAILED = "failed"
    LATE = "late"  # a result after its command expired: recorded, moves nothing
    UNKNOWN_COMMAND = "unknown_command"  # dead letter
    CONTRADICTION = "contradiction"  # another ending than the recorded one: dead letter
    EXCESS = "excess"  # more than was commanded: dead letter
    DUE = "due"  # a wait was over
    NOT_DUE = "not_due"  # somebody else saw to it first

    @property
    def is_refusal(self) -> bool:
        """The input goes to the dead letters and nothing moves."""
        return self in (Verdict.CONFLICT, Verdict.UNKNOWN_COMMAND, Verdict.CONTRADICTION, Verdict.EXCESS)


class Reason(StrEnum):
    """Why there is a command, or why there is none."""

    ISSUED = "issued"
    NOT_TRIGGERED = "not_triggered"  # the balance did not increase, nothing just ended, nothing was due
    DISABLED = "disabled"
    HELD = "held"  # a conflict that no person has looked at yet
    UNAUTHORIZED = "unauthorized"
    PAUSED = "paused"
    BELOW_MINIMUM = "below_minimum"
    DAILY_CAP = "daily_cap"
    ALREADY_ISSUED = "already_issued"  # the same cause had its command, before the state was put back by hand


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A row of balance_snapshots: one per version, and one per succeeded result."""

    snapshot_id: UUID
    wallet_id: UUID
    user_id: UUID
    snapshot_type: str
    balance_stroops: Stroops
    previous_stroops: Stroops | None
    ledger: Ledger | None
    event_id: UUID | None
    command_id: UUID | None
    deposit_stroops: Stroops | None
    transaction_hash: str | None
    observed_at: datetime
    authorized: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The whole effect of one input on one wallet. `ended` are the commands whose record changed."""

    state: WalletState
    verdict: Verdict
    reason: Reason = Reason.NOT_TRIGGERED
    snapshot: Snapshot | None = None
    command: DepositCommand | None = None
    ended: tuple[CommandRecord, ...] = ()
    detail: str = ""  # for a refusal: what was expected and what came
