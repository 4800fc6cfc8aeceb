"""One wallet: what the database holds of it, what this process knows of it, and why it is to be read."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from schema.balance_event import Movement, SnapshotType
from schema.stellar import AccountId, Ledger, Stroops

_GENESIS: Final = Ledger(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the database holds of a wallet. `version` None: no fact yet, its next one is the baseline."""

    account_id: AccountId
    version: Ledger | None
    balance_stroops: Stroops
    absent: bool


@dataclass(slots=True, kw_only=True)
class Wallet:
    """What this process knows of a wallet that was touched."""

    complete_since: Ledger
    floor: Ledger | None = None
    absent: bool = False  # the fact at the floor was that there is no trustline
    was_told: bool = False  # by this process
    pending: list[Movement] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """Why a wallet is to be read, and in which ledger or later the read must be."""

    at_least: Ledger
    snapshot_type: SnapshotType
    drain: int  # the number of the drain that first touched it: no cursor behind that one is saved before it is told
    holds_cursor: bool = True
    first_sight: bool = False  # no fact is stored: told even when this process told the same before
    row_since: Ledger = _GENESIS  # of a first sight: what came up to here is baseline, what comes later is not
    requests: frozenset[UUID] = frozenset()
    closed_at: datetime | None = None  # when the newest payment's ledger closed
    seen_at: datetime | None = None  # and when we saw it
    taken_in: int = 0  # the number of the last drain before it was given out to be read
    is_change: bool = False  # nothing but a change that is no payment asks for it: whoever was paid goes first

    @property
    def is_forced(self) -> bool:
        """Told even when nothing changed."""
        return self.first_sight or bool(self.requests)

    def and_also(self, other: "Touch") -> "Touch":
        """Both, read once. A payment's snapshot type goes before a request's, a request's before a schedule's."""
        rank = (SnapshotType.POLL, SnapshotType.MANUAL, SnapshotType.WEBHOOK)
        return Touch(
            at_least=max(self.at_least, other.at_least),
            snapshot_type=max(self.snapshot_type, other.snapshot_type, key=rank.index),
            drain=min(self.drain, other.drain),
            holds_cursor=self.holds_cursor or other.holds_cursor,
            first_sight=self.first_sight or other.first_sight,
            row_since=max(self.row_since, other.row_since),
            requests=self.requests | other.requests,
            closed_at=other.closed_at or self.closed_at,
            seen_at=other.seen_at or self.seen_at,
            is_change=self.is_change and other.is_change,
        )
