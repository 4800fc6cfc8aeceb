"""The wallets this process follows: in memory, small, and the one place that knows what their next fact may claim.

A wallet nobody paid costs one entry in a dict. A wallet that was touched has a record: `pending` holds every movement
in ledgers after `complete_since` that was read so far, and `floor` is the version up to which facts were already told.
What makes `pending` incomplete raises `complete_since`; the account's own history fills what lies between.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from producers.payments import Moved
from producers.source import State
from producers.tracked import Tracked
from schema.balance_event import Movement, SnapshotType
from schema.stellar import AccountId, Ledger, Stroops

MOVEMENTS_MAX: Final = 20_000  # of one fact: some 6 MB of the 8 MiB a message may have
BASELINES_AT_ONCE: Final = 256  # of one cycle: it drains between them, and wallets that were paid go first
BASELINE_AGAIN_S: Final = 600.0  # told, yet no consumer has stored it: the row may be a new one, so tell it again


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
    pending: list[Movement] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """Why a wallet is to be read, and in which ledger or later the read must be."""

    at_least: Ledger
    snapshot_type: SnapshotType
    drain: int  # the number of the drain that first touched it: no cursor behind that one is saved before it is told
    holds_cursor: bool = True
    first_sight: bool = False  # no fact is stored: told even when this process told the same before
    requests: frozenset[UUID] = frozenset()
    closed_at: datetime | None = None  # when the newest payment's ledger closed
    seen_at: datetime | None = None  # and when we saw it
    taken_in: int = 0  # the number of the last drain before it was given out to be read

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
            requests=self.requests | other.requests,
            closed_at=other.closed_at or self.closed_at,
            seen_at=other.seen_at or self.seen_at,
        )


class Wallets:
    """Tracked, touched and waiting wallets. Not thread-safe; changed by the stream's loop alone."""

    def __init__(self, *, movements_max: int = MOVEMENTS_MAX) -> None:
        self.touched: dict[AccountId, Touch] = {}
        self.baselines: dict[AccountId, Ledger] = {}  # first sights nobody waits for; the read is at least this new
        self.newest = Ledger(0)  # the newest ledger of which anything was read
        self.drain = 0
        self._tracked = Tracked()
        self._active: dict[AccountId, Wallet] = {}
        self._told_unstored: dict[AccountId, float] = {}
        self._began = Ledger(0)
        self._movements_max = movements_max

    @property
    def waiting(self) -> int:
        """How many wait to be read."""
        return len(self.touched) + len(self.baselines)

    def begin(self, ledger: Ledger) -> None:
        """Say after which ledger the reading of the history begins."""
        self._began = self.newest = ledger

    def __contains__(self, account_id: AccountId) -> bool:
        return account_id in self._tracked

    def __len__(self) -> int:
        return len(self._tracked)

    def active(self, account_id: AccountId) -> Wallet:
        """The wallet's record, made at its first touch."""
        wallet = self._active.get(account_id)
        if wallet is None:
            wallet = self._active[account_id] = Wallet(complete_since=self._began)
        return wallet

    @property
    def are_loaded(self) -> bool:
        """Whether all of them were read once."""
        return self._tracked.are_loaded

    # -- which wallets there are

    def begin_reload(self) -> None:
        """Every row there is will be given to `see` now. One that was not ended is begun again."""
        self._tracked.begin()

    def see(self, rows: Iterable[tuple[str, Ledger | None]], *, now_s: float) -> None:
        """Rows of a reload: (public key, stored version). At the first one nothing was read yet, and what has a
        stored version is covered by the cursor; a wallet that comes later is read at once.
        """
        for public_key, version in rows:
            known = AccountId(public_key)
            if known not in self._tracked:
                if self.are_loaded:
                    self._arrive(public_key, version, is_urgent=False)
                elif version is None:
                    self._queue_baseline(public_key)
                else:
                    self._tracked.see(known)
                continue
            self._tracked.see(known)
            if version is not None:
                self._told_unstored.pop(known, None)
            elif self._is_overdue(known, now_s):
                self._queue_baseline(public_key)

    def end_reload(self) -> int:
        """Forget the wallets whose rows are gone; how many there were."""
        return self.forget(self._tracked.end())

    def forget(self, account_ids: Iterable[AccountId]) -> int:
        """The rows of these are gone; how many were followed."""
        before = len(self._tracked)
        for account_id in account_ids:
            self._tracked.forget(account_id)
            for kept in (self._active, self.touched, self.baselines, self._told_unstored):
                kept.pop(account_id, None)
        return before - len(self._tracked)

    def arrive(self, rows: Iterable[tuple[str, Ledger | None]]) -> None:
        """Rows that were just inserted, or now belong to our network. One without a stored fact gets its baseline,
        even when an earlier row of the same account had one.
        """
        for public_key, version in rows:
            if AccountId(public_key) not in self._tracked or version is None:
                self._arrive(public_key, version)

    def touch_all(self) -> None:
        """Have every wallet read: there is a gap in what was seen."""
        for account_id in self._tracked:
            if account_id not in self.baselines:
                self.touch(account_id, self._touch(SnapshotType.POLL, self.newest))

    def _arrive(self, public_key: str, version: Ledger | None, *, is_urgent: bool = True) -> None:
        account_id = self._tracked.checked(public_key)
        if account_id is None:
            return
        if account_id not in self._tracked:
            self._active[account_id] = Wallet(complete_since=self.newest)
        self._tracked.see(account_id)
        first = version is None  # a restart reads such a wallet by itself: no cursor needs to wait for it
        if first and not (is_urgent and len(self.touched) < BASELINES_AT_ONCE):
            self.baselines[account_id] = self.newest  # an import: who is paid would wait behind a million of them
            return
        touch = self._touch(SnapshotType.POLL, self.newest, first_sight=first, holds_cursor=not first)
        self.touch(account_id, touch)

    def _queue_baseline(self, public_key: str) -> None:
        account_id = self._tracked.checked(public_key)
        if account_id is not None:
            self._tracked.see(account_id)
            self.baselines[account_id] = self.newest

    def _is_overdue(self, account_id: AccountId, now_s: float) -> bool:
        if account_id in self.touched or account_id in self.baselines:
            return False
        told_s = self._told_unstored.get(account_id)
        return told_s is None or now_s - told_s > BASELINE_AGAIN_S

    # -- what happened to them

    def touch(self, account_id: AccountId, touch: Touch) -> None:
        """Have a wallet read."""
        known = self.touched.get(account_id)
        self.touched[account_id] = known.and_also(touch) if known else touch

    def request(self, account_id: AccountId, request_id: UUID, snapshot_type: SnapshotType) -> None:
        """Have a wallet read and told because somebody asked."""
        known = self.touched.get(account_id)
        if account_id in self._tracked and (known is None or request_id not in known.requests):
            requests = frozenset((request_id,))
            touch = self._touch(snapshot_type, self.newest, requests=requests, holds_cursor=False)
            self.touch(account_id, touch)

    def collect(self, moved: Iterable[Moved], *, closed_at: datetime, seen_at: datetime) -> int:
        """Take the movements of the wallets we follow; how many they were."""
        taken = 0
        for account_id, movement in moved:
            if account_id not in self._tracked:
                continue
            wallet = self.active(account_id)
            if wallet.floor is not None and movement.ledger <= wallet.floor:
                continue  # a fact already tells of it
            taken += 1
            wallet.pending.append(movement)
            if len(wallet.pending) > self._movements_max:
                wallet.complete_since = movement.ledger
                wallet.pending.clear()
            touch = self._touch(SnapshotType.WEBHOOK, movement.ledger, closed_at=closed_at, seen_at=seen_at)
            self.touch(account_id, touch)
        return taken

    def doubt(self, account_ids: Iterable[AccountId], ledger: Ledger) -> None:
        """A record of this ledger that names these accounts could not be read: what it did to them is not known."""
        for account_id in account_ids:
            if account_id in self._tracked:
                wallet = self.active(account_id)
                wallet.complete_since = max(wallet.complete_since, ledger)
                self.touch(account_id, self._touch(SnapshotType.WEBHOOK, ledger))

    def due(self, *, drained: bool) -> list[tuple[AccountId, Touch]]:
        """What to read now, in this order. While the history is not drained, only first sights: they claim nothing."""
        found = [
            (account_id, replace(touch, taken_in=self.drain))
            for account_id, touch in self.touched.items()
            if drained or touch.first_sight
        ]
        for account_id in list(itertools.islice(self.baselines, BASELINES_AT_ONCE)):
            at_least = self.baselines.pop(account_id)
            self.baselines[account_id] = at_least  # to the end: one that cannot be read does not stop the others
            if account_id not in self.touched:
                touch = self._touch(SnapshotType.POLL, at_least, first_sight=True, holds_cursor=False)
                found.append((account_id, replace(touch, taken_in=self.drain)))
        return found

    def settle(self, state: State, taken: Touch, *, told: bool, now_s: float) -> None:
        """A read is dealt with: its fact was acked, or there was nothing new to tell. What came to the wallet since it
        was given out stays due, unless the state that was read holds it already.
        """
        account_id = state.account_id
        if account_id not in self._tracked:
            return
        wallet = self.active(account_id)
        if told:
            wallet.floor = state.version
            wallet.absent = state.is_absence
            if taken.first_sight:
                self._told_unstored[account_id] = now_s
        floor = wallet.floor
        if floor is not None and wallet.pending:
            wallet.pending = [movement for movement in wallet.pending if movement.ledger > floor]
        self.baselines.pop(account_id, None)
        left = self.touched.pop(account_id, taken)
        requests = left.requests - taken.requests
        first_sight = left.first_sight and not taken.first_sight
        if left.at_least > state.observed or requests or first_sight:
            after = taken.taken_in + 1
            self.touched[account_id] = replace(left, drain=after, requests=requests, first_sight=first_sight)

    def give_up(self, account_id: AccountId) -> None:
        """Nothing can be told of this wallet now: its state made no sense. The next touch tries again."""
        self.baselines.pop(account_id, None)
        self.touched.pop(account_id, None)

    def oldest_drain(self) -> int | None:
        """The number of the first drain that touched a wallet which is not told yet; None when there is none."""
        return min((touch.drain for touch in self.touched.values() if touch.holds_cursor), default=None)

    def _touch(self, snapshot_type: SnapshotType, at_least: Ledger, **more: Any) -> Touch:
        return Touch(snapshot_type=snapshot_type, at_least=at_least, drain=self.drain, **more)
