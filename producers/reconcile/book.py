"""Everything a comparison has to know of every wallet: its row, its state on the chain, and whether they agree.

130 bytes a wallet or less; what only few wallets have (a key that is no address, a hold) is kept apart.
"""

from array import array
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

from producers.reconcile.accounts import Accounts
from producers.reconcile.differences import Kind, Row, compare
from producers.reconcile.knowledge import STRETCH, Knowledge
from producers.source import State
from schema.stellar import Ledger, Malformed, Stroops, parse_account_id

_NO_BALANCE: Final = -1


class Book:
    """Wallets by number, in the order of their addresses. Filled from the database, then from the chain."""

    def __init__(self, *, start: Ledger) -> None:
        self.accounts = Accounts()
        self.knowledge = Knowledge(0, start=start)
        self.no_address: dict[str, str] = {}  # a key that is no address, and what is wrong with it
        self.unreadable: dict[int, str] = {}  # a state that made no sense
        self._start = start
        self._versions = array("I")  # 0: none
        self._balances = array("q")
        self._authorized = bytearray()
        self._held: set[int] = set()
        self._was_recorded: set[int] = set()  # its row has moved on, but what was read of it had been recorded

    def __len__(self) -> int:
        return len(self.accounts)

    # -- filling

    async def load(self, portions: AsyncIterator[Sequence[tuple[str, Row]]]) -> None:
        """Every row, in the order of the addresses."""
        async for rows in portions:
            for key, row in rows:
                try:
                    account_id = parse_account_id(key)
                except Malformed as malformed:
                    self.no_address[key] = str(malformed)
                    continue
                self.accounts.append(account_id)
                self._versions.append(0)
                self._balances.append(0)
                self._authorized.append(0)
                self.put(len(self.accounts) - 1, row)
        self.knowledge = Knowledge(len(self.accounts), start=self._start)

    def put(self, number: int, row: Row) -> None:
        """The row as it is now."""
        self._versions[number] = row.version or 0
        self._balances[number] = _NO_BALANCE if row.balance_stroops is None else row.balance_stroops
        self._authorized[number] = row.authorized
        (self._held.add if row.held else self._held.discard)(number)

    def see(self, number: int, state: State) -> None:
        """The state on the chain, as it was just read."""
        if number in self._was_recorded and state.version != self.state(number).version:
            self._was_recorded.discard(number)
        self.unreadable.pop(number, None)
        self.knowledge.see(number, state)

    def recall(self, number: int, fact: Row) -> None:
        """The newest fact that was ever recorded up to the ledger of the read: it may be what was read."""
        if compare(fact, self.state(number)) is None:
            self._was_recorded.add(number)

    # -- asking

    def version(self, number: int) -> Ledger | None:
        """Of which ledger what the database holds is; None: it holds nothing."""
        return Ledger(self._versions[number]) if self._versions[number] else None

    def row(self, number: int) -> Row:
        """What the database holds."""
        balance = self._balances[number]
        return Row(
            version=self.version(number),
            balance_stroops=None if balance == _NO_BALANCE else Stroops(balance),
            authorized=bool(self._authorized[number]),
            held=number in self._held,
        )

    def state(self, number: int) -> State:
        """What the chain holds, as of the last read."""
        return self.knowledge.state(number, self.accounts[number])

    def verdict(self, number: int) -> Kind | None:
        """What is the matter with this wallet; None: nothing."""
        if number in self.unreadable or not self.knowledge.is_seen(number):
            return Kind.UNREADABLE
        return None if self.is_recalled(number) else compare(self.row(number), self.state(number))

    def is_recalled(self, number: int) -> bool:
        """Whether it agrees by what was recorded before: the row itself has moved on."""
        return number in self._was_recorded and compare(self.row(number), self.state(number)) is Kind.TOO_EARLY

    def differing(self, numbers: Iterable[int]) -> list[int]:
        """Those of these wallets whose row is not what the chain holds."""
        return [number for number in numbers if self.verdict(number) is not None]

    def differing_among(self, first: int, behind: int) -> list[int]:
        """The same of those from the number `first` to the one before `behind`. Rows that are the chain's are told by
        whole columns: a million verdicts take seconds.
        """
        found: list[int] = []
        for start in range(first, behind, STRETCH):
            end = min(start + STRETCH, behind)
            columns = self._versions[start:end], self._balances[start:end], self._authorized[start:end]
            if self.unreadable or self.knowledge.columns(start, end) != columns:
                found += self.differing(range(start, end))
        return found

    def held(self) -> list[int]:
        """The wallets on hold."""
        return sorted(self._held)
