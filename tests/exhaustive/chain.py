"""The chain of one wallet, as an oracle may know it: what came in, from whom, what left, and when. Shares no code with
the decision. Amounts are small ints of stroops; all ledgers of an epoch close at one time, and a command lives exactly
one epoch, so that its bound falls on a close time.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache

from schema.balance_event import BalanceEvent, Movement, SnapshotType, fact
from schema.stellar import Address, Ledger, Network, Stroops
from tests.unit.consumer.worlds import ACCOUNT, SENDER, USDC, VAULT

FIRST_LEDGER = 52_426_000
LEDGERS_OF_EPOCH = 100
EPOCH = timedelta(seconds=300)
START = datetime(2026, 1, 31, 23, 50, tzinfo=UTC)  # two epochs before a new day
BASELINE = 100


@dataclass(frozen=True, slots=True)
class Change:
    """One payment: in or out (negative), from an ordinary sender, from the vault, or a deposit of a command."""

    ledger: int
    amount: int
    kind: str  # received, returned, spent, deposited
    command: int = -1


@dataclass(frozen=True, slots=True)
class Chain:
    """Everything that happened, oldest first. `ledger` counts from the test's first one."""

    epoch: int = 0
    ledger: int = 1
    balance: int = BASELINE
    changes: tuple[Change, ...] = ()

    def moved(self, amount: int, kind: str, command: int = -1) -> "Chain":
        """One more ledger, with this change."""
        ledger = self.ledger + 1
        changes = (*self.changes, Change(ledger, amount, kind, command))
        return replace(self, ledger=ledger, balance=self.balance + amount, changes=changes)

    def later(self, epochs: int) -> "Chain":
        """Ledgers close and nothing happens in them."""
        epoch = self.epoch + epochs
        return replace(self, epoch=epoch, ledger=epoch * LEDGERS_OF_EPOCH)

    @property
    def version(self) -> int:
        return self.changes[-1].ledger if self.changes else 1

    @property
    def now(self) -> datetime:
        return START + self.epoch * EPOCH

    def sum(self, kind: str, *, up_to: int | None = None) -> int:
        """What moved in this way, as a positive amount."""
        return abs(sum(c.amount for c in self.changes if c.kind == kind and (up_to is None or c.ledger <= up_to)))

    def balance_at(self, version: int) -> int:
        return BASELINE + sum(c.amount for c in self.changes if c.ledger <= version)

    def settled(self, command: int) -> tuple[int, int] | None:
        """In which ledger a command was carried out, and how much moved."""
        return next(((c.ledger, -c.amount) for c in self.changes if c.command == command), None)

    def fact(self, *, since: int | None) -> BalanceEvent:
        """What a producer reads now, with every payment after `since`; None: it claims none."""
        return _fact(self, since)


@cache
def _fact(chain: Chain, since: int | None) -> BalanceEvent:
    claimed = () if since is None else tuple(_movement(c) for c in chain.changes if c.ledger > since)
    return fact(
        snapshot_type=SnapshotType.WEBHOOK,
        network=Network.TESTNET,
        account_id=ACCOUNT,
        asset=USDC,
        balance_stroops=Stroops(chain.balance),
        authorized=True,
        ledger=Ledger(FIRST_LEDGER + chain.version),
        observed_ledger=Ledger(FIRST_LEDGER + chain.ledger),
        observed_at=chain.now,
        movements_since=None if since is None else Ledger(FIRST_LEDGER + since),
        movements=None if since is None else claimed,
    )


def _movement(change: Change) -> Movement:
    sender = Address(VAULT if change.kind in ("returned", "deposited") else SENDER)
    return Movement(
        operation_id=str(((FIRST_LEDGER + change.ledger) << 32) + 4097),
        ledger=Ledger(FIRST_LEDGER + change.ledger),
        transaction_hash=f"{change.ledger:064x}",
        type="payment",
        counterparty=sender,
        amount_stroops=Stroops(change.amount),
    )
