"""`reconcile`: every wallet's row against the chain, at one ledger. Proves that they are equal, or names what differs.

The proof. Each wallet's state is read at some ledger, and is known to hold over an interval of ledgers; the history of
payments and changes, read to its end, carries that interval on until something touches the wallet
(`producers/reconcile/knowledge.py`). A ledger L that lies in everybody's interval is looked for: wallets that were
touched meanwhile are read again, and L moves on. Then each row is compared with the chain's state at L
(`producers/reconcile/differences.py`). A row that is behind may only be late, and is looked at again for a while. A row
that is newer than the read has moved on: what was read must have been recorded before, or the wallet is read again.
Before a row is called behind, too: it may have skipped what was read.

The rounds are bounded. Wallets that go on changing are compared at ledgers of their own, and counted apart.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from producers.clock import now_s
from producers.history import REPLICA_LAG_LEDGERS
from producers.parts import Parts
from producers.patience import Patience
from producers.progress import Steps
from producers.reconcile import turns
from producers.reconcile.book import Book
from producers.reconcile.differences import REPAIRABLE, Kind
from producers.reconcile.histories import Histories
from producers.reconcile.knowledge import Overlap
from producers.reconcile.states import AT_ONCE, read_states
from producers.reconcile.store import RowStore
from producers.source import Unavailable
from producers.start import check_network
from schema.stellar import AccountId, Ledger

T = TypeVar("T")

ROUNDS_MAX: Final = 8
START_BEHIND: Final = 3  # ledgers: a replica may be a little behind the one that said which ledger is the newest
QUIET_S: Final = 15.0  # a network that shows nothing for so long: the wallets are read again instead
QUIET_AGAIN_S: Final = 0.5
LOOK_S: Final = 0.1
LOOK_S_MAX: Final = 3.0
LATE_S: Final = 10.0  # what the rows of wallets that were read again are given, after the grace for all


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """`wait_s`: how long a row may be late; `patience_s`: how long the source or the database may be away."""

    wait_s: float = 30.0
    patience_s: float = 300.0
    quiet_s: float = QUIET_S
    rounds_max: int = ROUNDS_MAX
    requests_per_hour: int = 0  # for an estimate; 0: no limit


class Comparison:
    """One comparison of all wallets. `prove`, then ask; `settle` again after something was repaired."""

    def __init__(self, parts: Parts, rows: RowStore, steps: Steps, pace: Pace) -> None:
        self.book = Book(start=Ledger(1))
        self.ledger = Ledger(1)  # at which all wallets are known but those apart
        self.apart: list[int] = []
        self.differing: list[int] = []
        self.gone: set[int] = set()  # their rows were deleted meanwhile
        self._parts, self._rows, self._steps, self._pace = parts, rows, steps, pace
        self._latest = Ledger(1)
        self._common: Ledger | None = None
        self._meetings_left = 0
        self._history: Histories

    async def prove(self) -> None:
        """Read everything and compare. Unavailable or Away when one of the two stays away; Fatal: the wrong network."""
        parts = self._parts
        history = await self._answered(parts.source.history)
        check_network(history, parts.network)
        self._latest = history.latest
        start = Ledger(max(history.elder, history.latest - START_BEHIND, 1))
        self._history = Histories(parts.source, network=parts.network, asset=parts.asset, after=start)
        self.book = await self._answered(lambda: self._load(start))
        await self._say_cost()
        await self._read(range(len(self.book)), at_least=Ledger(1))
        await self.settle()

    async def settle(self) -> None:
        """Find the ledger at which everybody is known, and what differs then."""
        late_s = self._pace.wait_s
        self._meetings_left = 2 * self._pace.rounds_max
        for _ in range(self._pace.rounds_max):
            await self._meet()
            self.differing = await self._match(ends_at=now_s() + late_s)
            if not await self._look_at_the_chain_again():
                break
            late_s = min(LATE_S, late_s)
        kinds = await turns.verdicts(self.book, self.differing)
        self.differing = [number for number, kind in kinds.items() if kind is not None]
        overlap = await self._find_common()
        self.ledger = overlap.common or await turns.best_ledger(self.book) or self._latest
        self.apart = [] if overlap.common else await turns.not_known_at(self.book, self.ledger)

    def repairable(self) -> list[int]:
        """Those that facts can repair."""
        return [number for number in self.differing if self.book.verdict(number) in REPAIRABLE]

    def kind(self, number: int) -> Kind | None:
        """What is the matter with a wallet, now that nothing more is read."""
        kind = self.book.verdict(number)
        version = self.book.version(number)
        if kind is Kind.TOO_EARLY and version is not None and version > self._latest + REPLICA_LAG_LEDGERS:
            return Kind.AHEAD
        return kind

    # -- the chain

    async def _say_cost(self) -> None:
        wallets, per_hour = len(self.book), self._pace.requests_per_hour
        if not wallets:
            return
        requests = await self._answered(lambda: self._parts.source.states_requests(wallets, self._parts.asset))
        minutes = {"minutes_at_least": requests * 60 // per_hour} if per_hour else {}
        self._steps.say("reading every wallet's state", wallets=wallets, requests_about=requests, **minutes)

    async def _read(self, numbers: Sequence[int], *, at_least: Ledger) -> None:
        """Read these wallets' states, each at the ledger of its row or later, as far as the source has come; a first
        sight as far as that.
        """
        if not numbers:
            return
        history = await self._answered(self._parts.source.history)
        self._latest = max(self._latest, history.latest, at_least)
        self._steps.begin("reading states of wallets", len(numbers))
        done = 0
        for portion in _portions(numbers, AT_ONCE):
            wanted: dict[AccountId, Ledger] = {}
            by_account: dict[AccountId, int] = {}
            for number in portion:
                account_id = self.book.accounts[number]
                by_account[account_id] = number
                version = self.book.version(number) or self._latest  # what came before a row is baseline
                wanted[account_id] = min(max(at_least, version), self._latest)
            patience_s = self._pace.patience_s
            async with aclosing(
                read_states(self._parts.source, self._parts.asset, wanted, patience_s=patience_s)
            ) as found:
                async for read in found:
                    number = by_account[read.account_id]
                    if read.state is None:
                        self.book.unreadable[number] = str(read.fault or read.away)
                    else:
                        self.book.see(number, read.state)
                    done += 1
                    self._steps.at(done)

    async def _meet(self) -> None:
        """Until everybody is known at one ledger, or the rounds are used up."""
        overlap = await self._find_common()
        while not overlap.common and overlap.since and self._meetings_left:
            self._meetings_left -= 1
            await self._drain(overlap.since)
            overlap = await self._find_common()
            if overlap.common:
                return
            await self._read(await turns.not_known_at(self.book, overlap.since), at_least=overlap.since)
            overlap = await self._find_common()

    async def _find_common(self) -> Overlap:
        found = await turns.overlap(self.book)
        self._common = found.common
        return found

    async def _drain(self, target: Ledger) -> None:
        """Read the history up to this ledger; less when it shows nothing for a while."""
        began = self._history.complete
        self._steps.begin("reading the history, ledgers", max(0, target - began))
        patience, quiet_ends_at = Patience(self._pace.patience_s), now_s() + self._pace.quiet_s
        while (complete := self._history.complete) < target and now_s() < quiet_ends_at:
            try:
                step = await self._history.step()
            except Unavailable as unavailable:
                await patience.wait(unavailable)
                quiet_ends_at = max(quiet_ends_at, now_s() + QUIET_AGAIN_S)
                continue
            patience.restore()
            for account_id, ledger in step.touched:
                number = self.book.accounts.number(account_id)
                if number is not None:
                    self.book.knowledge.touch(number, ledger)
            if step.blind is not None:
                self.book.knowledge.blind(step.blind)
            if step.records or self._history.complete > complete:
                quiet_ends_at = now_s() + self._pace.quiet_s
                self._steps.at(self._history.complete - began)
            else:
                await asyncio.sleep(QUIET_AGAIN_S)
        self.book.knowledge.drain(self._history.complete)
        source = await self._answered(self._parts.source.history)
        if source.elder > began + 1:  # an older cursor is silently moved to where the history begins
            self.book.knowledge.blind(source.elder)

    # -- the database

    async def _load(self, start: Ledger) -> Book:
        book = Book(start=start)
        await book.load(self._rows.rows(self._parts.network))
        return book

    async def _match(self, *, ends_at: float) -> list[int]:
        """Which rows differ. Those that may only be late are looked at again until then."""
        differing = [number for number in await turns.differing(self.book) if number not in self.gone]
        self._steps.begin("waiting for late rows", len(differing))
        all_of_them, look_s = len(differing), LOOK_S
        while differing:
            differing = await self._look(differing)
            self._steps.at(all_of_them - len(differing))
            if not any(self.book.verdict(number) in REPAIRABLE for number in differing) or now_s() >= ends_at:
                break
            await asyncio.sleep(look_s)
            look_s = min(2 * look_s, LOOK_S_MAX)
        return differing

    async def _look(self, numbers: Sequence[int]) -> list[int]:
        """Read these rows again; which of them still differ."""
        book, differing = self.book, []
        for portion in _portions(numbers, turns.TURN):
            by_account = {book.accounts[number]: number for number in portion}
            rows = await self._answered(partial(self._rows.rows_of, list(by_account), self._parts.network))
            self.gone.update(number for account_id, number in by_account.items() if account_id not in rows)
            for account_id, row in rows.items():
                book.put(by_account[account_id], row)
            await self._recall([number for number in portion if book.verdict(number) is Kind.TOO_EARLY])
            differing += [number for number in book.differing(portion) if number not in self.gone]
        return differing

    async def _recall(self, numbers: Sequence[int]) -> None:
        """Their rows are newer than what was read: was that recorded before?"""
        if not numbers:
            return
        book, common = self.book, self._common or Ledger(0)
        up_to = {book.accounts[number]: Ledger(max(book.state(number).observed, common)) for number in numbers}
        facts = await self._answered(lambda: self._rows.facts_up_to(up_to, self._parts.network))
        for number in numbers:
            fact = facts.get(book.accounts[number])
            if fact is not None:
                book.recall(number, fact)

    async def _look_at_the_chain_again(self) -> bool:
        """Read those again whose rows are newer than the read, or older: they may have skipped what was read. Whether
        anything came of it.
        """
        newest = self._latest + REPLICA_LAG_LEDGERS  # what is beyond that, this chain cannot have yet
        kinds = await turns.verdicts(self.book, self.differing)
        again = [
            number
            for number, kind in kinds.items()
            if (kind is Kind.TOO_EARLY and (self.book.version(number) or 0) <= newest)
            or (kind is Kind.BEHIND and len(kinds) <= AT_ONCE)
        ]
        before = [self.book.state(number).version for number in again]
        await self._read(again, at_least=self._latest)
        return any(
            kinds[number] is Kind.TOO_EARLY or self.book.state(number).version != version
            for number, version in zip(again, before, strict=True)
        )

    async def _answered(self, ask: Callable[[], Awaitable[T]]) -> T:
        return await Patience(self._pace.patience_s).answer(ask)


def _portions(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]
