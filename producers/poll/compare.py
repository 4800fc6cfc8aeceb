"""What a wallet's state says beside what is stored of it, and whose discovery a change is. Pure.

| the state                                   | what becomes of it                                                 |
|---------------------------------------------|--------------------------------------------------------------------|
| no stored fact                              | told: the baseline                                                 |
| absent, and stored as absent                | nothing: nothing changed                                           |
| the stored version and balance              | nothing: nothing changed                                           |
| newer, or another balance of that version   | told                                                               |
| of a ledger before the stored version       | read again: the replica is behind                                  |
| an older version, yet of a ledger after it  | nothing: what is stored is newer than the chain; counted, and said |
| told before, and not stored yet             | nothing: the consumer will come to it                              |
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from producers.source import State
from producers.wallet import Stored
from schema.balance_event import BalanceEvent, SnapshotType
from schema.stellar import AccountId, Ledger

TOLD_AGAIN_S: Final = 600.0  # told, and still not stored: the fact may be lost with the broker's disk
TOLD_MAX: Final = 100_000  # remembered at once; what is forgotten is told again, which does no harm
CHANGES_SUFFIX: Final = ":changes"  # of the cursor that a stream has for changes that are no payment


Version = tuple[AccountId, Ledger]  # of a wallet


class Compared(StrEnum):
    """What becomes of a state."""

    SAME = "same"
    TELL = "tell"
    BEHIND = "behind"
    IMPOSSIBLE = "impossible"
    WAITING = "waiting"


class Found(StrEnum):
    """What a change is that a poll told."""

    BASELINE = "baseline"  # nobody had told of the wallet
    AHEAD = "ahead"  # no stream had come to it yet
    STILL = "still"  # a newer version of the same balance: a limit or an offer's liabilities, which show nowhere
    UNDERWAY = "underway"  # a stream had told it, and the consumer had not come to it yet
    GAP = "gap"  # a stream was past it and had not told it
    UNDECIDED = "undecided"  # the consumer stored nothing of it in time to say which


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What the consumer stored of a wallet; of a version asked for: whose fact it was, and of which time."""

    version: Ledger | None
    snapshot_type: SnapshotType | None
    observed_at: datetime | None


class TellingMemory:
    """What was told lately and is not stored yet: it is not told in every round."""

    def __init__(self, *, told_max: int = TOLD_MAX) -> None:
        self._told_max = told_max
        self._told: OrderedDict[AccountId, tuple[State, float]] = OrderedDict()

    def note(self, state: State, now_s: float) -> None:
        """A fact of this state is acked."""
        self._told[state.account_id] = state, now_s
        self._told.move_to_end(state.account_id)
        while len(self._told) > self._told_max:
            self._told.popitem(last=False)  # of a plain dict the first is looked for behind all that were there before

    def compare(self, state: State, stored: Stored, now_s: float) -> Compared:
        """Which row of the table above."""
        compared = _compare(state, stored)
        if compared is not Compared.TELL:
            if compared is Compared.SAME:
                self._told.pop(state.account_id, None)
            return compared
        told, at_s = self._told.get(state.account_id, (None, 0.0))
        is_conflict = state.version == stored.version  # said once: it is never stored, and each time a dead letter
        if told is None or (now_s - at_s > TOLD_AGAIN_S and not is_conflict):
            return Compared.TELL
        same = told.is_absence if state.is_absence else told.version == state.version
        return Compared.WAITING if same and told.balance_stroops == state.balance_stroops else Compared.TELL


def _compare(state: State, stored: Stored) -> Compared:
    if stored.version is None:
        return Compared.TELL
    if state.observed < stored.version:
        return Compared.BEHIND
    if state.is_absence:
        return Compared.SAME if stored.absent or state.version == stored.version else Compared.TELL
    if state.version < stored.version:
        return Compared.IMPOSSIBLE
    if state.version == stored.version and state.balance_stroops == stored.balance_stroops:
        return Compared.SAME
    return Compared.TELL


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A change that a stream should have told: it was past it before the poll read it."""

    event: BalanceEvent
    passed: Mapping[str, Ledger]  # by cursor


def find(
    event: BalanceEvent, before: Stored | None, passed: Mapping[str, Ledger], *, one_cursor: bool
) -> Found | Suspect:
    """What a told fact is. `passed`: the streams' cursors as they were saved before the state was read. A change with a
    payment in its own ledger is the payments' cursor's business, any other one that of the cursor for changes, unless
    the source shows every change among its payments: then there is `one_cursor`.
    """
    if before is None or before.version is None:
        return Found.BASELINE
    if event.authorized and event.balance_stroops == before.balance_stroops and not event.movements:
        return Found.STILL
    is_payment = one_cursor or any(each.ledger == event.ledger for each in event.movements or ())
    past = {
        name: ledger
        for name, ledger in passed.items()
        if ledger >= event.ledger and name.endswith(CHANGES_SUFFIX) != is_payment
    }
    return Suspect(event=event, passed=past) if past else Found.AHEAD


def judge(suspect: Suspect, recorded: Recorded) -> Found | None:
    """Whether a stream had told it after all; None: the consumer has not come to it yet.

    A stream's fact is acked before its cursor is saved, and the cursor was saved before the poll read: so the stream's
    fact lies before the poll's in the wallet's partition, and the consumer records the first of the two. What it
    recorded is the poll's own only if there was no other.
    """
    if recorded.version is None or recorded.version < suspect.event.ledger:
        return None
    is_ours = recorded.snapshot_type is SnapshotType.POLL and recorded.observed_at == suspect.event.observed_at
    return Found.GAP if is_ours else Found.UNDERWAY
