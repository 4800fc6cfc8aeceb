"""What an operation did that it does not say itself, and who gained and lost by it."""

from dataclasses import dataclass

from schema.stellar import Address, Asset, Stroops


@dataclass(frozen=True, slots=True)
class Posting:
    """What one side gained or lost; the postings of an operation sum to 0 per asset, issuer included."""

    address: Address
    asset: Asset | None
    stroops: Stroops


_NOTHING = Stroops(0)
_NOWHERE = Address("")


@dataclass(frozen=True, slots=True)
class Reserve:
    """So much of an asset in a pool."""

    asset: Asset | None
    stroops: Stroops


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolMove:
    """What went into a pool or came out of it, and how the pool stands afterwards."""

    pool_id: str
    address: Address
    moved: tuple[Reserve, Reserve]
    shares_stroops: Stroops
    reserves: tuple[Reserve, ...] = ()
    total_shares_stroops: Stroops = _NOTHING
    trustlines: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an operation did that it does not say itself."""

    stroops: Stroops = _NOTHING  # what a claim or a merge moved
    asset: Asset | None = None
    balance_id: str = ""
    escrow: Address = _NOWHERE
    trustline: str = ""  # created | updated | removed
    postings: tuple[Posting, ...] = ()  # of a recorded operation
    pool: PoolMove | None = None


NO_OUTCOME = Outcome()
