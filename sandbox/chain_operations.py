"""What a transaction on the simulated chain can do: one frozen value per operation. An asset of None is XLM."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sandbox.chain_outcomes import Outcome, PoolMove, Posting
from schema.stellar import AccountId, Address, Asset, Stroops


class Refused(Exception):
    """An operation that fails when it is applied; `code` is Stellar's own word for why."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class ChangeKind(StrEnum):
    """How a contract call moved an asset."""

    TRANSFER = "transfer"
    MINT = "mint"
    BURN = "burn"
    CLAWBACK = "clawback"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateAccount:
    """A new account, with XLM of the source's."""

    source: AccountId
    account: AccountId
    starting_stroops: Stroops


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """One asset from the source to another account."""

    source: AccountId
    to: AccountId
    asset: Asset | None
    stroops: Stroops


@dataclass(frozen=True, slots=True, kw_only=True)
class PathPayment:
    """The source sends one asset, `maker` (whose offer it crosses) changes it, the destination receives the other."""

    source: AccountId
    to: AccountId
    strict_send: bool
    sent: Asset | None
    sent_stroops: Stroops
    received: Asset | None
    received_stroops: Stroops
    maker: AccountId


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossOffer:
    """The source's offer crosses the maker's: both trustlines change, and there is no payment record."""

    source: AccountId
    maker: AccountId
    sold: Asset | None
    sold_stroops: Stroops
    bought: Asset | None
    bought_stroops: Stroops


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateClaimableBalance:
    """Money put aside for someone to fetch."""

    source: AccountId
    claimant: AccountId
    asset: Asset | None
    stroops: Stroops


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimClaimableBalance:
    """The claimant fetches it: no payment record."""

    source: AccountId
    balance_id: str = ""  # 72 hexadecimal digits; empty: the oldest that waits for the source


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidityPoolDeposit:
    """Two assets, in Stellar's order, put into their pool, at most so much of each: no payment record."""

    source: AccountId
    asset_a: Asset | None
    asset_b: Asset | None
    a_stroops: Stroops
    b_stroops: Stroops


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidityPoolWithdraw:
    """Shares given back for what they stand for: no payment record."""

    source: AccountId
    asset_a: Asset | None
    asset_b: Asset | None
    shares_stroops: Stroops


@dataclass(frozen=True, slots=True, kw_only=True)
class Clawback:
    """The issuer takes back what it issued: no payment record."""

    source: AccountId  # the issuer
    account: AccountId
    asset: Asset
    stroops: Stroops


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeTrust:
    """A limit of 0 removes the trustline."""

    source: AccountId
    asset: Asset
    limit_stroops: Stroops


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTrustlineFlags:
    """The issuer gives or takes its permission."""

    source: AccountId  # the issuer
    trustor: AccountId
    asset: Asset
    authorized: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountMerge:
    """The source ends; its XLM goes to `into`."""

    source: AccountId
    into: AccountId


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetChange:
    """A movement inside a contract call. A side may be a contract (`C...`); a mint has no `source`, a burn no `to`."""

    kind: ChangeKind
    asset: Asset
    source: Address | None
    to: Address | None
    stroops: Stroops
    destination_muxed_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractCall:
    """An `invoke_host_function`; with no changes it is not among the payments."""

    source: AccountId
    contract: Address
    changes: tuple[AssetChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A record that a real Horizon sent, passed on as it is."""

    raw: dict[str, Any]


Operation = (
    CreateAccount
    | Payment
    | PathPayment
    | CrossOffer
    | CreateClaimableBalance
    | ClaimClaimableBalance
    | LiquidityPoolDeposit
    | LiquidityPoolWithdraw
    | Clawback
    | ChangeTrust
    | SetTrustlineFlags
    | AccountMerge
    | ContractCall
    | Recorded
)


def is_payment(operation: Operation) -> bool:
    """Whether Horizon shows it under `/payments`."""
    if isinstance(operation, ContractCall):
        return bool(operation.changes)
    return isinstance(operation, Payment | PathPayment | CreateAccount | AccountMerge | Recorded)


def source_of(operation: Operation) -> AccountId:
    """The account that the operation acts for."""
    if isinstance(operation, Recorded):
        return AccountId(str(operation.raw["source_account"]))
    return operation.source


def postings_of(operation: Operation, outcome: Outcome) -> tuple[Posting, ...]:  # noqa: C901, PLR0911 - one per operation
    """Who gained and who lost what; what is taken comes before what is given."""
    match operation:
        case Payment():
            return _transfer(operation.source, operation.to, operation.asset, operation.stroops)
        case PathPayment():
            return (
                *_transfer(operation.source, operation.maker, operation.sent, operation.sent_stroops),
                *_transfer(operation.maker, operation.to, operation.received, operation.received_stroops),
            )
        case CrossOffer():
            return (
                *_transfer(operation.source, operation.maker, operation.sold, operation.sold_stroops),
                *_transfer(operation.maker, operation.source, operation.bought, operation.bought_stroops),
            )
        case CreateAccount():
            return _transfer(operation.source, operation.account, None, operation.starting_stroops)
        case AccountMerge():
            return _transfer(operation.source, operation.into, None, outcome.stroops)
        case CreateClaimableBalance():
            return _transfer(operation.source, outcome.escrow, operation.asset, operation.stroops)
        case ClaimClaimableBalance():
            return _transfer(outcome.escrow, operation.source, outcome.asset, outcome.stroops)
        case LiquidityPoolDeposit() | LiquidityPoolWithdraw():
            return _pooled(operation, outcome.pool)
        case Clawback():
            return _transfer(operation.account, operation.source, operation.asset, operation.stroops)
        case ContractCall():
            return tuple(posting for change in operation.changes for posting in _of_change(change))
        case Recorded():
            return outcome.postings
        case ChangeTrust() | SetTrustlineFlags():
            return ()


def _pooled(operation: LiquidityPoolDeposit | LiquidityPoolWithdraw, move: PoolMove | None) -> tuple[Posting, ...]:
    if move is None:  # it failed
        return ()
    sides: tuple[str, str] = (operation.source, move.address)
    if isinstance(operation, LiquidityPoolWithdraw):
        sides = (move.address, operation.source)
    return tuple(posting for each in move.moved for posting in _transfer(*sides, each.asset, each.stroops))


def _of_change(change: AssetChange) -> tuple[Posting, ...]:
    issuer = Address(change.asset.issuer)
    return _transfer(change.source or issuer, change.to or issuer, change.asset, change.stroops)


def _transfer(source: str, to: str, asset: Asset | None, stroops: Stroops) -> tuple[Posting, ...]:
    return (
        Posting(Address(source), asset, Stroops(-stroops)),
        Posting(Address(to), asset, stroops),
    )
