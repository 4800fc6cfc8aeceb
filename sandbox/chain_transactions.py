"""A transaction on its way into a ledger, and what a transaction may be."""

from dataclasses import dataclass, field
from typing import Final

from sandbox.chain_history import Entry, Transaction
from sandbox.chain_operations import Operation
from sandbox.chain_outcomes import Posting
from schema.stellar import STROOPS_PER_UNIT, AccountId, Stroops

OPERATIONS_PER_LEDGER_MAX: Final = 1000
OPERATIONS_PER_TRANSACTION_MAX: Final = 100
FEE_STROOPS: Final = 100  # per operation
START_LEDGER: Final = 52_000_000
DROPPED_MAX: Final = 10_000  # how many transactions that never got in are remembered
FUNDING_STROOPS: Final = Stroops(10_000 * STROOPS_PER_UNIT)


class Rejected(Exception):
    """A transaction that no ledger will hold as things are; `code` is Stellar's own word for why."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A signed transaction, decoded. Its signature has been verified against `signer`."""

    hash: str
    envelope: str
    source: AccountId
    sequence: int
    fee_stroops: int
    max_time: int  # seconds since 1970; 0: no bound
    signer: AccountId
    operations: tuple[Operation, ...]


@dataclass(slots=True, kw_only=True)
class Pending:
    """A transaction on its way: after a close it has either become `transaction` or was `dropped` with a code."""

    source: str
    operations: tuple[Operation, ...]
    submitted: Submitted | None = None
    transaction: Transaction | None = field(default=None)
    dropped: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of what an account holds, as it happened: for an oracle that trusts nothing but the chain."""

    entry: Entry
    posting: Posting
