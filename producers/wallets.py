"""The wallets this process follows: in memory, small, and the one place that knows what their next fact may claim.

A wallet nobody paid costs one entry in a dict. A wallet that was touched has a record: `pending` holds every movement
in ledgers after `complete_since` that was read so far, and `floor` is the version up to which facts were already told.
What makes `pending` incomplete raises `complete_since`; the account's own history fills what lies between. Once it is
told and at rest only the floor is kept: after a first start that is so of everybody.
"""

import asyncio
import itertools
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from producers.payments import Moved
from producers.source import State
from producers.tracked import Tracked
from producers.unread import Unread
from producers.wallet import Touch, Wallet
from schema.balance_event import SnapshotType
from schema.stellar import AccountId, Ledger

MOVEMENTS_MAX: Final = 20_000  # of one fact: some 6 MB of the 8 MiB a message may have
UNREAD_AT_ONCE: Final = 256  # of one cycle: it drains between them, and wallets that were paid go first
CHANGED_AT_ONCE: Final = 64  # the same for what no payment changed: their reads take less than a second
MISSED_AT_ONCE: Final = 25_000  # a million in one go would hold up everything else for half a second
BASELINE_AGAIN_S: Final = 600.0  # told, yet no consumer has stored it: the row may be a new one, so tell it again


class Wallets:
    """Tracked, touched and waiting wallets. Not thread-safe; changed by the stream's loop alone."""

    def __init__(self, *, movements_max: int = MOVEMENTS_MAX) -> None:
        self.touched: dict[AccountId, Touch] = {}
        self.unread = Unread()
        self.newest = Ledger(0)  # the newest ledger of which anything was read: payments, changes or a state
        self.drain = 0
        self._tracked = Tracked()
        self._active: dict[AccountId, Wallet] = {}
        self._floors: dict[AccountId, Ledger] = {}  # of those that this process told of, and that are at rest
        self._told_unstored: dict[AccountId, float] = {}
        self._began = Ledger(0)
        self._movements_max = movements_max

    @property
    def waiting(self) -> int:
        """How many wait to be read."""
        return len(self.touched) + len(self.unread)

    @property
    def changed(self) -> int:
        """How many of them only wait because of a change that is no payment."""
        return sum(touch.is_change for touch in self.touched.values())

    def begin(self, ledger: Ledger) -> None:
        """Say after which ledger the reading of the history begins."""
        self._began = self.newest = ledger

    def saw(self, ledger: Ledger) -> None:
        """Something was read that this ledger had: whoever asks from now on gets nothing older."""
        self.newest = max(self.newest, ledger)

    def __contains__(self, account_id: AccountId) -> bool:
        return account_id in self._tracked

    def __len__(self) -> int:
        return len(self._tracked)

    def active(self, account_id: AccountId) -> Wallet:
        """The wallet's record, made at its first touch."""
        wallet = self._active.get(account_id)
        if wallet is None:
            floor = self._floors.pop(account_id, None)
            wallet = Wallet(complete_since=self._began, floor=floor, was_told=floor is not None)
            self._active[account_id] = wallet
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
            self.unread.forget(account_id)
            for kept in (self._active, self._floors, self.touched, self._told_unstored):
                kept.pop(account_id, None)
        return before - len(self._tracked)

    def arrive(self, rows: Iterable[tuple[str, Ledger | None]]) -> None:
        """Rows that were just inserted, or now belong to our network. One without a stored fact gets its baseline,
        even when an earlier row of the same account had one.
        """
        for public_key, version in rows:
            if AccountId(public_key) not in self._tracked or version is None:
                self._arrive(public_key, version)

    async def miss_all(self) -> None:
        """Have every wallet read: there is a gap in what was seen. Which ones there are must not change meanwhile."""
        newest, drain, everyone = self.newest, self.drain, iter(self._tracked)
        while portion := list(itertools.islice(everyone, MISSED_AT_ONCE)):
            self.unread.miss(portion, newest, drain=drain)
            await asyncio.sleep(0)

    def _arrive(self, public_key: str, version: Ledger | None, *, is_urgent: bool = True) -> None:
        account_id = self._tracked.checked(public_key)
        if account_id is None:
            return
        if account_id not in self._tracked:
            self._active[account_id] = Wallet(complete_since=self.newest)
        self._tracked.see(account_id)
        first = version is None  # a restart reads such a wallet by itself: no cursor needs to wait for it
        if not is_urgent or len(self.touched) >= UNREAD_AT_ONCE:  # who is paid would wait behind a million of them
            if first:
                self.unread.baselines[account_id] = self.newest
            else:
                self.unread.miss([account_id], self.newest, drain=self.drain)
            return
        kinds = {"first_sight": first, "holds_cursor": not first}
        self.touch(account_id, self._touch(SnapshotType.POLL, self.newest, row_since=self.newest, **kinds))

    def _queue_baseline(self, public_key: str) -> None:
        account_id = self._tracked.checked(public_key)
        if account_id is not None:
            self._tracked.see(account_id)
            self.unread.baselines[account_id] = self.newest

    def _is_overdue(self, account_id: AccountId, now_s: float) -> bool:
        if account_id in self.touched or account_id in self.unread.baselines:
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

    def change(
        self, account_ids: Iterable[AccountId], ledger: Ledger, *, closed_at: datetime, seen_at: datetime
    ) -> int:
        """Something may have changed these wallets' trustlines in this ledger; how many have to be read for it. Those
        that a fact of that ledger was told of, or that wait to be read as of it, do not: most changes are payments.
        """
        touched = 0
        for account_id in account_ids:
            if account_id not in self._tracked:
                continue
            wallet, known = self._active.get(account_id), self.touched.get(account_id)
            floor = wallet.floor if wallet else self._floors.get(account_id)
            if floor is not None and ledger <= floor:
                continue
            if known is not None and ledger <= known.at_least:
                continue
            touched += 1
            touch = self._touch(SnapshotType.WEBHOOK, ledger, closed_at=closed_at, seen_at=seen_at, is_change=True)
            self.touch(account_id, touch)
        return touched

    def doubt(self, account_ids: Iterable[AccountId], ledger: Ledger) -> None:
        """A record of this ledger that names these accounts could not be read: what it did to them is not known."""
        for account_id in account_ids:
            if account_id in self._tracked:
                wallet = self.active(account_id)
                wallet.complete_since = max(wallet.complete_since, ledger)
                self.touch(account_id, self._touch(SnapshotType.WEBHOOK, ledger))

    def due(
        self, *, drained: bool, changed_max: int = CHANGED_AT_ONCE, unread_max: int = UNREAD_AT_ONCE
    ) -> list[tuple[AccountId, Touch]]:
        """What to read now, in this order. While the history is not drained, only first sights: they claim nothing."""
        wanted = [each for each, touch in self.touched.items() if drained or touch.first_sight]
        paid = [each for each in wanted if not self.touched[each].is_change]
        paid.sort(key=lambda each: not self.touched[each].holds_cursor)  # whoever only asks, or is new, comes behind
        changed = [each for each in wanted if self.touched[each].is_change][:changed_max]
        for account_id in changed:
            self.touched[account_id] = self.touched.pop(account_id)  # to the end, as what is unread
        found = [(each, replace(self.touched[each], taken_in=self.drain)) for each in paid + changed]
        for account_id, at_least, first in self.unread.portion(unread_max):
            if account_id not in self.touched and (drained or first):
                found.append((account_id, self.unread_touch(at_least, first_sight=first)))
        return found

    def unread_touch(self, at_least: Ledger, *, first_sight: bool) -> Touch:
        """Why a wallet is read that nobody waits for. What of it holds the cursors is in `unread`."""
        touch = self._touch(SnapshotType.POLL, at_least, first_sight=first_sight, holds_cursor=False)
        return replace(touch, taken_in=self.drain)

    def settle(self, state: State, taken: Touch, *, told: bool, now_s: float) -> None:
        """A read is dealt with: its fact was acked, or there was nothing new to tell. What came to the wallet since it
        was given out stays due, unless the state that was read holds it already.
        """
        account_id = state.account_id
        if account_id not in self._tracked:
            return
        wallet = self.active(account_id)
        if told:
            wallet.floor, wallet.absent, wallet.was_told = state.version, state.is_absence, True
            if taken.first_sight:
                self._told_unstored[account_id] = now_s
        floor = wallet.floor
        if floor is not None and wallet.pending:
            wallet.pending = [movement for movement in wallet.pending if movement.ledger > floor]
        self._put_to_rest(account_id, wallet)
        self.unread.settle(account_id, state.observed)
        left = self.touched.pop(account_id, taken)
        requests = left.requests - taken.requests
        first_sight = left.first_sight and not taken.first_sight
        if left.at_least > state.observed or requests or first_sight:
            after = taken.taken_in + 1
            self.touched[account_id] = replace(left, drain=after, requests=requests, first_sight=first_sight)

    def _put_to_rest(self, account_id: AccountId, wallet: Wallet) -> None:
        """Keep no more of it than is needed: after a census there may be a million, and a record of each would be gone
        through by the garbage collector, for which everything else waits.
        """
        told = wallet.floor if wallet.was_told else None
        if wallet.pending or wallet.complete_since > max(self._began, told or 0) or (told and wallet.absent):
            return
        if told is not None:
            self._floors[account_id] = told
        del self._active[account_id]  # not told, it says no more than the database

    def give_up(self, account_id: AccountId) -> None:
        """Nothing can be told of this wallet now: its state made no sense. The next touch tries again."""
        self.unread.forget(account_id)
        self.touched.pop(account_id, None)

    def oldest_drain(self) -> int | None:
        """The number of the first drain that touched a wallet which is not told yet; None when there is none."""
        drains = [touch.drain for touch in self.touched.values() if touch.holds_cursor]
        if self.unread.open_drain is not None:
            drains.append(self.unread.open_drain)
        return min(drains, default=None)

    def _touch(self, snapshot_type: SnapshotType, at_least: Ledger, **more: Any) -> Touch:
        return Touch(snapshot_type=snapshot_type, at_least=at_least, drain=self.drain, **more)
