"""A small Stellar: accounts, trustlines, transactions, ledgers. Deterministic and pure: no I/O, no clock of its own.

Whoever drives it enqueues transactions and closes ledgers, saying when. A ledger's history and state become visible
together. Two liberties are taken: transactions apply in the order they came, and ledgers may close within one second.
"""

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sandbox.chain_apply import apply
from sandbox.chain_history import Entry, History, LedgerHeader, Transaction
from sandbox.chain_operations import (
    Operation,
    Recorded,
    Refused,
    postings_of,
    source_of,
)
from sandbox.chain_outcomes import NO_OUTCOME, Outcome
from sandbox.chain_state import BASE_RESERVE_STROOPS, Draft, State, Trustline
from sandbox.chain_transactions import (
    DROPPED_MAX,
    FEE_STROOPS,
    FUNDING_STROOPS,
    OPERATIONS_PER_LEDGER_MAX,
    OPERATIONS_PER_TRANSACTION_MAX,
    START_LEDGER,
    Change,
    Pending,
    Rejected,
    Submitted,
)
from schema.stellar import STROOPS_MAX, AccountId, Address, Asset, Network, Stroops


class Chain:
    """The simulated chain. `seed` decides every hash; `closed_at` of the first ledger is the time it starts."""

    def __init__(self, *, seed: int, network: Network, started_at: datetime, start_ledger: int = START_LEDGER) -> None:
        self.seed = seed
        self.network = network
        self.state = State()
        self.history = History()
        self.recorded_accounts: dict[str, dict[str, Any]] = {}
        self.dropped: dict[str, str] = {}
        self._pending: deque[Pending] = deque()
        self._pending_by_hash: dict[str, Pending] = {}
        self._recorded: list[Recorded] = []
        self.history.append(self._header(start_ledger, started_at, (), ()), (), ())

    @property
    def latest(self) -> LedgerHeader:
        return self.history.headers[self.history.latest_ledger]

    def open_account(
        self,
        account_id: AccountId,
        *,
        balances: dict[Asset, Stroops] | None = None,
        native_stroops: Stroops = FUNDING_STROOPS,
        signer: AccountId | None = None,
        last_modified_ledger: int | None = None,
    ) -> None:
        """Put an account there with no transaction: how the world is set up before its story begins."""
        ledger = last_modified_ledger or self.latest.sequence
        draft = Draft(self.state, ledger=ledger)
        account = draft.open(account_id, signer=signer)
        lines = {
            asset: Trustline(
                balance_stroops=stroops, limit_stroops=STROOPS_MAX, authorized=True, last_modified_ledger=ledger
            )
            for asset, stroops in (balances or {}).items()
        }
        draft.put(replace(account, native_stroops=native_stroops, trustlines=lines))
        draft.issued = {asset: int(stroops) for asset, stroops in (balances or {}).items()}
        self.state.native_stroops += native_stroops
        self.state.take_over(draft)

    def enqueue(self, *operations: Operation, source: AccountId | None = None) -> Pending:
        """Add a transaction that needs no signature here; its sequence number is its account's next when it applies."""
        if not 1 <= len(operations) <= OPERATIONS_PER_TRANSACTION_MAX:
            raise ValueError(f"a transaction has 1 to {OPERATIONS_PER_TRANSACTION_MAX} operations")
        pending = Pending(source=source or source_of(operations[0]), operations=operations)
        self._pending.append(pending)
        return pending

    def replay(self, raw: dict[str, Any]) -> int:
        """Add a recorded payment record: the next close jumps to its ledger, which is returned. Oldest first."""
        ledger = int(raw["paging_token"]) >> 32
        last = int(self._recorded[-1].raw["paging_token"]) >> 32 if self._recorded else self.latest.sequence + 1
        if ledger < last:
            raise ValueError(f"the record is in ledger {ledger}, but the chain is already at {last}")
        self._recorded.append(Recorded(raw=raw))
        return ledger

    def submit(self, submitted: Submitted) -> Pending:
        """Add a signed transaction, once however often it comes. Rejected when no ledger would take it now."""
        known = self._pending_by_hash.get(submitted.hash)
        if known is not None:
            return known
        if 0 < submitted.max_time < self.latest.closed_at.timestamp():
            raise Rejected("tx_too_late")
        account = self.state.account(submitted.source)
        if account is None:
            raise Rejected("tx_no_source_account")
        if submitted.signer != account.signer:
            raise Rejected("tx_bad_auth")
        if submitted.fee_stroops < FEE_STROOPS * len(submitted.operations):
            raise Rejected("tx_insufficient_fee")
        if account.native_stroops - submitted.fee_stroops < BASE_RESERVE_STROOPS:
            raise Rejected("tx_insufficient_balance")
        ahead = sum(1 for each in self._pending_by_hash.values() if each.source == submitted.source)
        if submitted.sequence != account.sequence + ahead + 1:
            raise Rejected("tx_bad_seq")
        pending = Pending(source=submitted.source, operations=submitted.operations, submitted=submitted)
        self._pending.append(pending)
        self._pending_by_hash[submitted.hash] = pending
        return pending

    def close_ledger(self, closed_at: datetime) -> LedgerHeader:
        """Close the next ledger with what is pending, as far as it fits. A clock that goes back is held still."""
        closed_at = max(closed_at, self.latest.closed_at)
        ledger = self._next_ledger()
        self.state.begin_ledger(ledger)
        draft_header = self._header(ledger, closed_at, (), ())
        transactions, entries = self._apply_recorded(draft_header)
        while self._pending and len(entries) + len(self._pending[0].operations) <= OPERATIONS_PER_LEDGER_MAX:
            pending = self._pending.popleft()
            if pending.submitted is not None:
                self._pending_by_hash.pop(pending.submitted.hash)
            index = transactions[-1].index + 1 if transactions else 1
            applied = self._apply(pending, draft_header, index)
            transactions += [pending.transaction] if pending.transaction else []
            entries += applied
        header = self._header(ledger, closed_at, transactions, entries)
        self.history.append(header, transactions, entries)
        return header

    def _next_ledger(self) -> int:
        if self._recorded:
            return int(self._recorded[0].raw["paging_token"]) >> 32
        return self.latest.sequence + 1

    def _apply(self, pending: Pending, header: LedgerHeader, index: int) -> list[Entry]:
        """Apply a transaction whole, or note it as failed with its codes, or drop it where no ledger may hold it."""
        account = self.state.account(pending.source)
        submitted = pending.submitted
        pending.dropped = self._reason_to_drop(pending, header)
        if pending.dropped or account is None:
            if submitted is not None:
                self._remember_dropped(submitted.hash, pending.dropped)
            return []
        fee = FEE_STROOPS * len(pending.operations)
        charge = Draft(self.state, ledger=header.sequence)
        charge.put(
            replace(
                account,
                native_stroops=account.native_stroops - fee,
                sequence=account.sequence + 1,
                sequence_ledger=header.sequence,
                last_modified_ledger=header.sequence,
            )
        )
        self.state.take_over(charge)
        self.state.fee_pool_stroops += fee
        outcomes, codes = self._outcomes(pending.operations, header.sequence, index)
        transaction = Transaction(
            hash=submitted.hash if submitted else self._hash("transaction", header.sequence, index),
            ledger=header.sequence,
            index=index,
            closed_at=header.closed_at,
            closed_at_text=header.closed_at_text,
            source=pending.source,
            sequence=account.sequence + 1,
            fee_stroops=fee,
            operation_count=len(pending.operations),
            operation_codes=codes,
            envelope=submitted.envelope if submitted else "",
            max_time=submitted.max_time if submitted else 0,
        )
        pending.transaction = transaction
        return [
            Entry(transaction.token | number, operation, transaction, outcome)
            for number, (operation, outcome) in enumerate(zip(pending.operations, outcomes, strict=True), start=1)
        ]

    def _outcomes(
        self, operations: tuple[Operation, ...], ledger: int, index: int
    ) -> tuple[list[Outcome], tuple[str, ...]]:
        """What each operation did, and no codes; or, when one is refused, nothing done and the codes up to it."""
        draft = Draft(self.state, ledger=ledger)
        outcomes: list[Outcome] = []
        for number, operation in enumerate(operations, start=1):
            try:
                outcomes.append(apply(operation, draft, operation_id=ledger << 32 | index << 12 | number))
            except Refused as refused:
                codes = (*("op_success" for _ in outcomes), refused.code)
                return [NO_OUTCOME] * len(operations), codes
        self.state.take_over(draft)
        return outcomes, ()

    def _reason_to_drop(self, pending: Pending, header: LedgerHeader) -> str:
        account = self.state.account(pending.source)
        if account is None:
            return "tx_no_source_account"
        if account.native_stroops < FEE_STROOPS * len(pending.operations):
            return "tx_insufficient_balance"
        if pending.submitted is None:
            return ""
        if 0 < pending.submitted.max_time < header.closed_at.timestamp():
            return "tx_too_late"
        return "tx_bad_seq" if pending.submitted.sequence != account.sequence + 1 else ""

    def _remember_dropped(self, transaction_hash: str, code: str) -> None:
        self.dropped[transaction_hash] = code
        while len(self.dropped) > DROPPED_MAX:
            del self.dropped[next(iter(self.dropped))]

    def _apply_recorded(self, header: LedgerHeader) -> tuple[list[Transaction], list[Entry]]:
        transactions: dict[str, Transaction] = {}
        entries = []
        while self._recorded and int(self._recorded[0].raw["paging_token"]) >> 32 == header.sequence:
            recorded = self._recorded.pop(0)
            operation_id = int(recorded.raw["paging_token"])
            draft = Draft(self.state, ledger=header.sequence)
            outcome = apply(recorded, draft, operation_id=operation_id)
            self.state.take_over(draft)
            transaction = transactions.setdefault(
                recorded.raw["transaction_hash"],
                Transaction(
                    hash=recorded.raw["transaction_hash"],
                    ledger=header.sequence,
                    index=operation_id >> 12 & 0xFFFFF,
                    closed_at=header.closed_at,
                    closed_at_text=str(recorded.raw["created_at"]),
                    source=source_of(recorded),
                    sequence=0,
                    fee_stroops=FEE_STROOPS,
                    operation_count=1,
                    operation_codes=() if recorded.raw.get("transaction_successful", True) else ("op_failed",),
                ),
            )
            entries.append(Entry(operation_id, recorded, transaction, outcome))
        return list(transactions.values()), entries

    def _header(
        self,
        sequence: int,
        closed_at: datetime,
        transactions: tuple[Transaction, ...] | list[Transaction],
        entries: tuple[Entry, ...] | list[Entry],
    ) -> LedgerHeader:
        whole = closed_at.astimezone(UTC).replace(microsecond=0)  # a ledger's time is in whole seconds
        failed = sum(1 for transaction in transactions if not transaction.successful)
        return LedgerHeader(
            sequence=sequence,
            hash=self._hash("ledger", sequence),
            previous_hash=self._hash("ledger", sequence - 1),
            closed_at=whole,
            closed_at_text=whole.strftime("%Y-%m-%dT%H:%M:%SZ"),
            successful_transactions=len(transactions) - failed,
            failed_transactions=failed,
            operations=len(entries),
        )

    def _hash(self, *parts: object) -> str:
        return hashlib.sha256("|".join(map(str, (self.seed, self.network, *parts))).encode()).hexdigest()

    def changes_of(self, address: str) -> Iterator[Change]:
        """Every change of what an account holds, newest first, in the history that is kept."""
        for entry in self.history.entries_of(address):
            for posting in reversed(postings_of(entry.operation, entry.outcome)):
                if posting.address == Address(address) and entry.transaction.successful:
                    yield Change(entry, posting)
