"""Wallets that are followed, and short ways to pay, read and reload them."""

from datetime import UTC, datetime

from producers.source import State
from producers.wallet import Touch
from producers.wallets import Wallets
from schema.balance_event import Movement
from schema.stellar import AccountId, Ledger, Stroops
from tests.unit.producers.records import HASH, operation_id

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
BEGAN = Ledger(1_000)


def wallets(*rows: tuple[str, int | None], movements_max: int = 100) -> Wallets:
    """Wallets loaded at a start at ledger 1,000."""
    found = Wallets(movements_max=movements_max)
    found.begin(BEGAN)
    load(found, *rows)
    return found


def load(found: Wallets, *rows: tuple[str, int | None], now_s: float = 0.0) -> int:
    found.begin_reload()
    found.see([(key, None if version is None else Ledger(version)) for key, version in rows], now_s=now_s)
    return found.end_reload()


def movement(ledger: int, stroops: int = 5) -> Movement:
    return Movement(
        operation_id=operation_id(ledger),
        ledger=Ledger(ledger),
        transaction_hash=HASH,
        type="payment",
        counterparty=None,
        amount_stroops=Stroops(stroops),
    )


def pay(found: Wallets, account: AccountId, *ledgers: int) -> None:
    """Payments in these ledgers, all in one drain."""
    found.drain += 1
    for ledger in ledgers:
        found.newest = Ledger(ledger)
        found.collect([(account, movement(ledger))], closed_at=NOW, seen_at=NOW)


def state(account: AccountId, version: int, observed: int | None = None) -> State:
    return State(
        account_id=account,
        balance_stroops=Stroops(7),
        authorized=True,
        version=Ledger(version),
        observed=Ledger(observed or version),
    )


def due(found: Wallets, *, drained: bool = True) -> dict[AccountId, Touch]:
    return dict(found.due(drained=drained))
