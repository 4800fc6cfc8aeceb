"""`backfill`: what a stretch of the history touched is read, once each, and told. A stream that runs is not disturbed.

First the payments and changes of the ledgers are read, in order, and each tracked wallet they touched is marked. Then
the marked wallets' states are read and told, the one touched first first: so what is left, wherever it ends, is the
history from one ledger on. Nothing is saved on the way: whoever is killed runs the same command again, and what was
told and recorded before is not told again.
"""

import asyncio
from array import array
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import structlog

from producers.clock import now_s
from producers.parts import Parts
from producers.patience import Patience
from producers.progress import Steps
from producers.reconcile.accounts import Accounts
from producers.reconcile.histories import Histories, Step
from producers.reconcile.states import AT_ONCE, Read, read_states
from producers.reconcile.store import RowStore
from producers.reconcile.telling import TOLD_AT_ONCE, Telling
from producers.source import Fatal, History, Unavailable
from producers.start import check_network
from schema.stellar import AccountId, Ledger, Malformed, parse_account_id

log = structlog.get_logger(__name__)
T = TypeVar("T")

CHECK_S: Final = 60.0  # how often it is asked whether the source still has what is being read
QUIET_S: Final = 15.0  # a history that has the last ledger and shows nothing for so long is at its end
QUIET_AGAIN_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is wanted. `until` None: the newest ledger at the start."""

    since: Ledger
    until: Ledger | None = None
    is_dry: bool = False
    patience_s: float = 300.0
    quiet_s: float = QUIET_S


@dataclass(slots=True)
class Marks:
    """Which wallets were touched, by number, and in which ledgers first and last. 64 bytes each."""

    accounts: Accounts = field(default_factory=Accounts)
    first: "array[int]" = field(default_factory=lambda: array("I"))  # 0: not touched, or told meanwhile
    last: "array[int]" = field(default_factory=lambda: array("I"))
    marked: int = 0
    told: int = 0

    def append(self, account_id: AccountId) -> None:
        """One more wallet, in the order of the addresses."""
        self.accounts.append(account_id)
        self.first.append(0)
        self.last.append(0)

    def mark(self, account_id: AccountId, ledger: Ledger) -> None:
        """A record of this ledger touched this account."""
        number = self.accounts.number(account_id)
        if number is None:
            return
        self.marked += not self.first[number]
        self.first[number] = min(self.first[number] or ledger, ledger)
        self.last[number] = max(self.last[number], ledger)

    def done(self, account_id: AccountId) -> None:
        """It was told."""
        number = self.accounts.number(account_id)
        assert number is not None
        self.first[number] = 0
        self.told += 1

    def open(self) -> list[int]:
        """Those marked and not told yet, the one touched first first."""
        return sorted((number for number in range(len(self.first)) if self.first[number]), key=self.first.__getitem__)


class Backfill:
    """One backfill. `run` does it; the rest says how far it came, also when it was interrupted."""

    def __init__(self, parts: Parts, rows: RowStore, steps: Steps, order: Order) -> None:
        self.marks = Marks()
        self.telling = Telling(parts, patience_s=order.patience_s)
        self.until = order.until or Ledger(0)
        self.records = self.refused = self.unread = 0
        self._parts, self._rows, self._steps, self._order = parts, rows, steps, order
        self._history: Histories | None = None
        self._is_read = False

    async def run(self) -> None:
        """Fatal when the source does not have the ledgers; Unavailable or Away when something stays away."""
        history = await self._answered(self._parts.source.history)
        check_network(history, self._parts.network)
        self._check_range(history)
        self.marks = await self._answered(self._load)
        await self._mark()
        if not self._order.is_dry:
            await self._tell()

    def go_on_from(self) -> Ledger | None:
        """From which ledger on something is left to do; None: nothing."""
        firsts = [Ledger(first) for first in self.marks.first if first]
        if not self._is_read:
            firsts.append(self._order.since if self._history is None else Ledger(self._history.complete + 1))
        return min(firsts) if firsts and not (self._order.is_dry and self._is_read) else None

    def summary(self) -> dict[str, Any]:
        """What was done, for a machine."""
        go_on_from = self.go_on_from()
        complete = self._history.complete if self._history else Ledger(self._order.since - 1)
        return {
            "done": go_on_from is None,
            "from_ledger": self._order.since,
            "to_ledger": self.until or None,
            "read_up_to": min(complete, self.until) if self.until else None,
            "dry_run": self._order.is_dry,
            "wallets": len(self.marks.accounts),
            "marked": self.marks.marked,
            "told": self.telling.published,
            "stored_already": self.telling.stored_already,
            "refused_records": self.refused,
            "refused_states": self.telling.refused,
            "records": self.records,
            "go_on": None if go_on_from is None else self.command(go_on_from),
        }

    def command(self, since: Ledger) -> str:
        """How to go on from there."""
        until = f" --to {self.until}" if self.until else ""
        return f"python -m producers backfill --from {since}{until}{' --dry-run' if self._order.is_dry else ''}"

    def _check_range(self, history: History) -> None:
        since, until = self._order.since, self._order.until or history.latest
        if not history.elder <= since <= until <= history.latest:
            raise Fatal(
                f"ledgers {since} to {until}: {history.asked_at} has the ledgers {history.elder} to {history.latest}. "
                "Give a --from that it has; for older ones point it at a source with an older history. Without the "
                "history `python -m producers reconcile --repair` brings every balance up to date"
            )
        self.until = until

    async def _load(self) -> Marks:
        marks = Marks()
        async for rows in self._rows.rows(self._parts.network):
            for key, _ in rows:
                try:
                    marks.append(parse_account_id(key))
                except Malformed as malformed:
                    log.warning("a wallet's public key is no address and cannot be read", reason=str(malformed))
        return marks

    # -- the history

    async def _mark(self) -> None:
        """Read the ledgers, and mark whom they touched."""
        parts, since = self._parts, self._order.since
        reading = self._history = Histories(
            parts.source, network=parts.network, asset=parts.asset, after=Ledger(since - 1)
        )
        self._steps.begin("reading ledgers", self.until - since + 1)
        patience, until_shown = Patience(self._order.patience_s), Patience(self._order.patience_s)
        checked, checked_s = reading.complete, now_s()
        quiet_ends_at, is_shown = now_s() + self._order.quiet_s, False
        while reading.complete < self.until:
            if now_s() >= quiet_ends_at:
                if is_shown:
                    break
                if is_shown := await self._is_shown(self.until):
                    quiet_ends_at = now_s() + 2 * QUIET_AGAIN_S  # what came with it is still to be read
                else:
                    await until_shown.wait(Unavailable(f"ledger {self.until} is not in the source's history yet"))
            before = reading.complete
            try:
                step = await reading.step()
            except Unavailable as unavailable:
                await patience.wait(unavailable)
                quiet_ends_at = now_s() + self._order.quiet_s
                continue
            patience.restore()
            await self._take(step)
            self._steps.at(min(reading.complete, self.until) - since + 1, marked=self.marks.marked)
            if step.records or reading.complete > before:
                until_shown.restore()
                quiet_ends_at = now_s() + self._order.quiet_s
            else:
                await asyncio.sleep(QUIET_AGAIN_S)
            if now_s() - checked_s >= CHECK_S:
                await self._check_still_there(checked)
                checked, checked_s = reading.complete, now_s()
        await self._check_still_there(checked)
        self._is_read = True

    async def _is_shown(self, ledger: Ledger) -> bool:
        """Whether the history has this ledger: a replica that stands still is as quiet as a network at rest."""
        return await self._answered(lambda: self._parts.source.ledger_payments(ledger, None)) is not None

    async def _take(self, step: Step) -> None:
        self.records += step.records
        for account_id, ledger in step.touched:
            if ledger <= self.until:
                self.marks.mark(account_id, ledger)
        if step.refused and not self._order.is_dry:
            await self._answered(lambda: self._parts.store.keep_dead_letters(step.refused))
        self.refused += len(step.refused)

    async def _check_still_there(self, read_up_to: Ledger) -> None:
        """A cursor older than the history is silently moved to where it begins: nothing read since then may be."""
        history = await self._answered(self._parts.source.history)
        if history.elder > read_up_to + 1:
            raise Fatal(
                f"{history.asked_at} has forgotten the ledgers up to {history.elder - 1} while they were read from "
                f"{read_up_to + 1} on: point it at a source with an older history"
            )

    # -- the wallets

    async def _tell(self) -> None:
        """Read and tell the marked wallets."""
        left = self.marks.open()
        newest = (await self._answered(self._parts.source.history)).latest  # what came before a row is baseline
        self._steps.begin("reading and telling wallets", len(left))
        for start in range(0, len(left), AT_ONCE):
            portion = left[start : start + AT_ONCE]
            wanted = {self.marks.accounts[each]: max(Ledger(self.marks.last[each]), newest) for each in portion}
            patience = Patience(self._order.patience_s)
            while True:
                await self._tell_all(wanted)
                if not wanted:
                    break
                await patience.wait(Unavailable(f"{len(wanted)} facts cannot be told yet: see the log for why"))
        if self.unread:
            raise Unavailable(f"{self.unread} wallets could not be read: see the log for which and why")

    async def _tell_all(self, wanted: dict[AccountId, Ledger]) -> None:
        """Read and tell these once, and take out those that are done."""
        reads: list[Read] = []
        patience_s = self._order.patience_s
        async with aclosing(read_states(self._parts.source, self._parts.asset, wanted, patience_s=patience_s)) as found:
            async for read in found:
                if read.away is not None:
                    log.warning("wallet not read", account_id=read.account_id, reason=str(read.away)[:300])
                    self.unread += 1
                    del wanted[read.account_id]
                    continue
                reads.append(read)
                if len(reads) == TOLD_AT_ONCE:
                    await self._tell_some(reads, wanted)
                    reads = []
        await self._tell_some(reads, wanted)

    async def _tell_some(self, reads: list[Read], wanted: dict[AccountId, Ledger]) -> None:
        later = set(await self.telling.tell(reads))
        for read in reads:
            if read.account_id not in later:
                del wanted[read.account_id]
                self.marks.done(read.account_id)
        self._steps.at(self.marks.told, published=self.telling.published)

    async def _answered(self, ask: Callable[[], Awaitable[T]]) -> T:
        return await Patience(self._order.patience_s).answer(ask)
