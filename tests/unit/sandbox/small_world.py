"""A world small enough to follow by eye: a few wallets, ledgers five seconds apart."""

from datetime import UTC, datetime, timedelta

from sandbox import world
from sandbox.chain import Chain
from sandbox.chain_history import LedgerHeader
from sandbox.world import Cast
from schema.stellar import AccountId, Stroops

STARTED_AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
UNIT = 10_000_000


def build(*, wallets: int = 3, holding: int = 0, seed: int = 7) -> tuple[Chain, Cast]:
    """A chain and its people; each wallet holds so many units of the asset."""
    return world.build(seed=seed, wallets=wallets, started_at=STARTED_AT, wallet_stroops=Stroops(holding * UNIT))


def close(chain: Chain, *, seconds: float = 5.0) -> LedgerHeader:
    """Close the next ledger, so many seconds after the last."""
    return chain.close_ledger(chain.latest.closed_at + timedelta(seconds=seconds))


def balance(chain: Chain, people: Cast, account_id: AccountId) -> int:
    """What the account holds of the asset, in stroops."""
    account = chain.state.account(account_id)
    assert account is not None
    return account.trustlines[people.asset].balance_stroops
