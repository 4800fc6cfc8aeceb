"""The chain's history: ledgers, transactions, operations, and the indexes that make every page cost only its length.

Entries lie in one list in the order of their ids. An index is an array of places in that list, so a page is a binary
search and a walk. Trimming takes entries off the front; places keep counting from the first entry there ever was.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sandbox.chain_effects import Effect, effects_of, participants_of
from sandbox.chain_operations import Operation, is_payment
from sandbox.chain_outcomes import Outcome

EFFECT_NUMBER_MAX = 2**63 - 1  # a cursor without a number is behind all effects of its operation


class Kind(StrEnum):
    """Which records a page is made of."""

    PAYMENTS = "payments"
    OPERATIONS = "operations"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerHeader:
    """A closed ledger, without what is in it."""

    sequence: int
    hash: str
    previous_hash: str
    closed_at: datetime
    closed_at_text: str
    successful_transactions: int
    failed_transactions: int
    operations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A transaction that a ledger holds. A failed one is there too, with its codes."""

    hash: str
    ledger: int
    index: int  # 1 for the ledger's first
    closed_at_text: str
    source: str
    sequence: int
    fee_stroops: int
    operation_count: int
    operation_codes: tuple[str, ...] = ()  # empty when it succeeded
    envelope: str = ""  # base64 XDR, when it was submitted
    max_time: int = 0
    closed_at: datetime

    @property
    def successful(self) -> bool:
        return not self.operation_codes

    @property
    def token(self) -> int:
        return self.ledger << 32 | self.index << 12


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation as history holds it."""

    operation_id: int
    operation: Operation
    transaction: Transaction
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which part of history a page may show: after or before a cursor, in one order, up to a ledger."""

    cursor: int | None  # an operation id; None: from the end where the order begins
    descending: bool
    limit: int
    latest_ledger: int
    include_failed: bool = False
    only_ledger: int | None = None


class History:
    """Everything that happened, as far back as it was not trimmed."""

    def __init__(self) -> None:
        self.headers: dict[int, LedgerHeader] = {}
        self.ledgers: list[int] = []
        self.transactions: dict[str, Transaction] = {}
        self._entries: list[Entry] = []
        self._ids = array("Q")
        self._trimmed = 0
        self._payments = array("Q")
        self._by_account: dict[Kind, dict[str, array[int]]] = {Kind.PAYMENTS: {}, Kind.OPERATIONS: {}}
        self._effects_by_account: dict[str, array[int]] = {}

    @property
    def next_place(self) -> int:
        return self._trimmed + len(self._entries)

    @property
    def elder_ledger(self) -> int:
        return self.ledgers[0]

    @property
    def latest_ledger(self) -> int:
        return self.ledgers[-1]

    def header_up_to(self, ledger: int) -> LedgerHeader:
        """The newest ledger that is not after this one, or the elder one."""
        return self.headers[self.ledgers[max(0, bisect_right(self.ledgers, ledger) - 1)]]

    def knows(self, account: str, *, up_to: int) -> bool:
        """Whether the account appears in the history that is kept, up to this ledger."""
        indexes = (self._by_account[Kind.OPERATIONS], self._effects_by_account)
        first = [places[0] for index in indexes if (places := index.get(account))]
        return any(self._ids[place - self._trimmed] >> 32 <= up_to for place in first)

    def append(self, header: LedgerHeader, transactions: Sequence[Transaction], entries: Sequence[Entry]) -> None:
        """Add a closed ledger, whole."""
        self.headers[header.sequence] = header
        self.ledgers.append(header.sequence)
        for transaction in transactions:
            self.transactions[transaction.hash] = transaction
        for entry in entries:
            self._index(entry, self.next_place)
            self._entries.append(entry)
            self._ids.append(entry.operation_id)

    def _index(self, entry: Entry, place: int) -> None:
        kinds = [Kind.OPERATIONS]
        if is_payment(entry.operation):
            kinds.append(Kind.PAYMENTS)
            self._payments.append(place)
        for account in participants_of(entry.operation):
            for kind in kinds:
                _places(self._by_account[kind], account).append(place)
        if entry.transaction.successful:
            for account in dict.fromkeys(effect.account for effect in effects_of(entry.operation, entry.outcome)):
                _places(self._effects_by_account, account).append(place)

    def trim(self, *, before_ledger: int) -> None:
        """Forget the ledgers before this one, as an instance that keeps only a window does."""
        keep = bisect_left(self.ledgers, min(before_ledger, self.latest_ledger))
        for ledger in self.ledgers[:keep]:
            del self.headers[ledger]
        del self.ledgers[:keep]
        gone = bisect_left(self._ids, self.elder_ledger << 32)
        for entry in self._entries[:gone]:
            self.transactions.pop(entry.transaction.hash, None)
        del self._entries[:gone]
        del self._ids[:gone]
        self._trimmed += gone
        del self._payments[: bisect_left(self._payments, self._trimmed)]
        for index in (*self._by_account.values(), self._effects_by_account):
            for places in index.values():
                del places[: bisect_left(places, self._trimmed)]

    def page(self, kind: Kind, span: Span, *, account: str | None = None) -> list[Entry]:
        """The next records of a kind, of everyone or of one account."""
        found = []
        for entry in self._walk(self._index_of(kind, account), span):
            if entry.transaction.successful or span.include_failed:
                found.append(entry)
                if len(found) == span.limit:
                    break
        return found

    def effects_page(
        self, span: Span, *, number: int = EFFECT_NUMBER_MAX, account: str | None = None
    ) -> list[tuple[Entry, int, Effect]]:
        """The next effects with the number of each in its operation; `span.cursor` and `number` say after which one."""
        index = range(self._trimmed, self.next_place)
        places = index if account is None else self._effects_by_account.get(account, array("Q"))
        found: list[tuple[Entry, int, Effect]] = []
        for entry in self._walk(places, span, inclusive=True):
            if not entry.transaction.successful:
                continue
            numbered = list(enumerate(effects_of(entry.operation, entry.outcome), start=1))
            for each, effect in reversed(numbered) if span.descending else numbered:
                if account is not None and effect.account != account:
                    continue
                if entry.operation_id == span.cursor and (each >= number if span.descending else each <= number):
                    continue
                found.append((entry, each, effect))
                if len(found) == span.limit:
                    return found
        return found

    def entries_of(self, account: str) -> Iterator[Entry]:
        """Every operation that changed what an account holds, newest first."""
        for place in reversed(self._effects_by_account.get(account, array("Q"))):
            yield self._entries[place - self._trimmed]

    def _index_of(self, kind: Kind, account: str | None) -> Sequence[int]:
        if account is not None:
            return self._by_account[kind].get(account, array("Q"))
        return self._payments if kind is Kind.PAYMENTS else range(self._trimmed, self.next_place)

    def _walk(self, places: Sequence[int], span: Span, *, inclusive: bool = False) -> Iterator[Entry]:
        first, last = self._bounds(span)
        if span.cursor is not None:
            if span.descending:
                last = min(last, self._place_of(span.cursor + inclusive))
            else:
                first = max(first, self._place_of(span.cursor + (not inclusive)))
        low, high = bisect_left(places, first), bisect_left(places, last)
        for at in range(high - 1, low - 1, -1) if span.descending else range(low, high):
            yield self._entries[places[at] - self._trimmed]

    def _bounds(self, span: Span) -> tuple[int, int]:
        if span.only_ledger is not None:
            return self._place_of(span.only_ledger << 32), self._place_of((span.only_ledger + 1) << 32)
        return self._trimmed, self._place_of((span.latest_ledger + 1) << 32)

    def _place_of(self, operation_id: int) -> int:
        """The place of the first entry with this id or a greater one."""
        return self._trimmed + bisect_left(self._ids, min(operation_id, 2**63))

    def ledgers_page(self, span: Span) -> list[LedgerHeader]:
        """The next ledgers; the cursor is a ledger's paging token."""
        high = bisect_right(self.ledgers, span.latest_ledger)
        if span.cursor is None:
            low = 0
        elif span.descending:
            low, high = 0, min(high, bisect_left(self.ledgers, -(-span.cursor >> 32)))
        else:
            low = bisect_right(self.ledgers, span.cursor >> 32)
        wanted = self.ledgers[low:high]
        chosen = wanted[-span.limit :][::-1] if span.descending else wanted[: span.limit]
        return [self.headers[ledger] for ledger in chosen]


def _places(index: "dict[str, array[int]]", account: str) -> "array[int]":
    places = index.get(account)
    if places is None:
        places = index[account] = array("Q")
    return places
