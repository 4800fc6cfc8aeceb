"""What is known of many wallets' balances on the chain, and since when and until when. Pure, and small: a million fit.

A state that was read says: in ledger `observed` the wallet held this, and since ledger `version` nothing about its
trustline had changed. So the balance held in every ledger from `version` to `observed`. The history carries that on:
when all of it was read up to ledger D, and the first record after `observed` that touches the wallet is of ledger T,
the balance also held up to ledger min(D, T - 1). One wallet, one interval:

    known from `version` to `observed`, or to min(D, T - 1) where that is later

An absence (no trustline) has no version. It is known for the ledger it was read in, and back to the last record that
touched the wallet before, as far as the history was read.

A ledger that lies in everybody's interval is one at which everybody's balance is known: there the database can be
compared with the chain as a whole. Nothing here rests on when something was read, or in which order: a replica that is
behind gives an older `observed`, and so a shorter interval, never a false one.

What is assumed: whatever changes a balance or an authorization of the asset is in the history, and a ledger's records
appear all at once. A version may grow without a record (an offer placed does that); the balance is the same then.
"""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from producers.source import State
from schema.stellar import LEDGER_MAX, AccountId, Ledger, Stroops

STRETCH: Final = 256  # wallets that are looked at by whole columns: one among them that is not alike costs this many
_SEEN: Final = 1
_AUTHORIZED: Final = 2
_ABSENT: Final = 4
_AUTHORIZED_OF: Final = bytes(
    {_SEEN: 0, _SEEN | _AUTHORIZED: 1}.get(flags, 2) for flags in range(256)
)  # by a wallet's flags


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """The ledgers, both included, in which a wallet's balance is known to be what was read."""

    since: Ledger
    until: Ledger

    def __contains__(self, ledger: Ledger) -> bool:
        return self.since <= ledger <= self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """The ledgers in which many wallets are known, as far as they were looked at."""

    since: Ledger  # the newest beginning of an interval: the first ledger that may be everybody's
    until: Ledger  # the oldest end

    @property
    def common(self) -> Ledger | None:
        """The newest ledger at which everybody who was read is known; None when there is none."""
        return self.until if 0 < self.since <= self.until else None


NOBODY: Final = Overlap(since=Ledger(0), until=Ledger(LEDGER_MAX))  # nobody was looked at, or nobody was read


class Knowledge:
    """What was read of so many wallets, each by its number from 0 on. 25 bytes a wallet."""

    def __init__(self, wallets: int, *, start: Ledger) -> None:
        self._version = array("I", bytes(4 * wallets))
        self._observed = array("I", bytes(4 * wallets))
        self._balance = array("q", bytes(8 * wallets))
        self._flags = bytearray(wallets)
        self._touched_next = array("I", bytes(4 * wallets))  # the first touch after `observed`; 0: none
        self._touched_last = array("I", bytes(4 * wallets))  # of all touches; 0: none
        self._start = start
        self.drained = start

    def __len__(self) -> int:
        return len(self._version)

    # -- what was read

    def see(self, number: int, state: State) -> None:
        """A state was read. An older one than what is known, as from a replica that is behind, changes nothing."""
        if self._flags[number] and state.observed < self._observed[number]:
            return
        self._version[number] = state.version
        self._observed[number] = state.observed
        self._balance[number] = state.balance_stroops
        self._flags[number] = _SEEN | _AUTHORIZED * state.authorized | _ABSENT * state.is_absence
        if self._touched_next[number] <= state.observed:
            # Between the first touch and the last there may be others: the first that is still to come is not known.
            is_over = self._touched_last[number] <= state.observed
            self._touched_next[number] = 0 if is_over else min(state.observed + 1, LEDGER_MAX)

    def touch(self, number: int, ledger: Ledger) -> None:
        """A record of the history touched this wallet. In any order, and as often as one likes."""
        self._touched_last[number] = max(self._touched_last[number], ledger)
        first = self._touched_next[number]
        if ledger > self._observed[number] and (not first or ledger < first):
            self._touched_next[number] = ledger

    def drain(self, ledger: Ledger) -> None:
        """Every touch in the ledgers after the start up to this one was said."""
        self.drained = max(self.drained, ledger)

    def blind(self, ledger: Ledger) -> None:
        """A record of this ledger could not be read: it may have touched anybody. Nothing is carried across."""
        self._start = max(self._start, ledger)
        self.drained = max(self.drained, ledger)

    # -- what is known

    def is_seen(self, number: int) -> bool:
        """Whether it was read at all."""
        return bool(self._flags[number])

    def is_absent(self, number: int) -> bool:
        """Whether it was read to have no trustline."""
        return bool(self._flags[number] & _ABSENT)

    def state(self, number: int, account_id: AccountId) -> State:
        """What was read last."""
        return State(
            account_id=account_id,
            balance_stroops=Stroops(self._balance[number]),
            authorized=bool(self._flags[number] & _AUTHORIZED),
            version=Ledger(self._version[number]),
            observed=Ledger(self._observed[number]),
        )

    def columns(self, first: int, behind: int) -> tuple["array[int]", "array[int]", bytearray]:
        """Versions, balances, and who is authorized: 1, or 0. Neither of the two: who was not read, or is absent."""
        flags = self._flags[first:behind].translate(_AUTHORIZED_OF)
        return self._version[first:behind], self._balance[first:behind], flags

    def interval(self, number: int) -> Interval | None:
        """Where the balance is known; None: it was never read."""
        if not self._flags[number]:
            return None
        since, until = self._version[number], self._observed[number]
        is_carried = self._start <= until < self.drained
        if is_carried:
            first = self._touched_next[number]
            until = min(self.drained, first - 1) if first else self.drained
        observed = self._observed[number]
        if (
            self.is_absent(number)
            and self._start <= observed <= self.drained
            and self._touched_last[number] <= observed
        ):
            since = max(self._start, self._touched_last[number])
        return Interval(since=Ledger(since), until=Ledger(until))

    def overlap(self, first: int, behind: int, so_far: Overlap) -> Overlap:
        """With the intervals of these, from number `first` to the one before `behind`. Who was not read has none."""
        since, until = so_far.since, so_far.until
        for start in range(first, behind, STRETCH):
            for each in self._ends(start, min(start + STRETCH, behind)):
                since, until = max(since, each.since), min(until, each.until)
        return Overlap(since=Ledger(since), until=Ledger(until))

    def not_known_at(self, ledger: Ledger, first: int, behind: int) -> list[int]:
        """Who of these was read, and is not known at this ledger."""
        found: list[int] = []
        for start in range(first, behind, STRETCH):
            end = min(start + STRETCH, behind)
            if any(ledger not in each for each in self._ends(start, end)):
                found += [number for number, each in self._intervals(start, end) if ledger not in each]
        return found

    def count(self, first: int, behind: int, steps: Counter[int], *, oldest_end: Ledger) -> None:
        """Add the steps of these wallets' intervals: how many more are known from a ledger on. Below the oldest end of
        all intervals nobody's has ended, so beginnings before that need not be told apart.
        """
        for _, each in self._intervals(first, behind):
            steps[max(each.since, oldest_end)] += 1
            steps[each.until + 1] -= 1

    def _ends(self, first: int, behind: int) -> list[Interval]:
        """Intervals whose overlap is that of these few wallets. Where nobody is touched or absent it is one, made of
        whole columns: going through a million one by one takes seconds.
        """
        flags = self._flags[first:behind]
        if min(flags) and max(flags) < _ABSENT and not any(self._touched_next[first:behind]):
            low = min(self._observed[first:behind])
            until = low if low < self._start else max(low, self.drained)
            return [Interval(since=Ledger(max(self._version[first:behind])), until=Ledger(until))]
        return [each for _, each in self._intervals(first, behind)]

    def _intervals(self, first: int, behind: int) -> Iterator[tuple[int, Interval]]:
        for number in range(first, behind):
            found = self.interval(number)
            if found is not None:
                yield number, found


def newest_of_most(steps: Counter[int]) -> Ledger | None:
    """The newest of the ledgers at which most are known, by the steps of all; None when nobody was read."""
    known, most, best = 0, 0, None
    for ledger, after in pairwise(sorted(steps)):
        known += steps[ledger]
        if known >= most:
            most, best = known, Ledger(after - 1)
    return best
