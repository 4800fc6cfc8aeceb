"""What Horizon's `/effects` says of an operation, in its order, and whom an operation is listed under."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from sandbox.chain_operations import (
    AccountMerge,
    AssetChange,
    ChangeKind,
    ChangeTrust,
    ClaimClaimableBalance,
    Clawback,
    ContractCall,
    CreateAccount,
    CreateClaimableBalance,
    CrossOffer,
    LiquidityPoolDeposit,
    LiquidityPoolWithdraw,
    Operation,
    PathPayment,
    Payment,
    Recorded,
    SetTrustlineFlags,
    source_of,
)
from sandbox.chain_outcomes import Outcome, PoolMove, Reserve
from sandbox.chain_pools import FEE_BASIS_POINTS
from schema.stellar import Address, Asset, format_stroops

TYPE_NUMBERS: Final = {
    "account_created": 0,
    "account_removed": 1,
    "account_credited": 2,
    "account_debited": 3,
    "signer_created": 10,
    "trustline_created": 20,
    "trustline_removed": 21,
    "trustline_updated": 22,
    "trustline_flags_updated": 26,
    "trade": 33,
    "claimable_balance_created": 50,
    "claimable_balance_claimant_created": 51,
    "claimable_balance_claimed": 52,
    "liquidity_pool_deposited": 90,
    "liquidity_pool_withdrew": 91,
    "contract_credited": 96,
    "contract_debited": 97,
}


@dataclass(frozen=True, slots=True)
class Effect:
    """What an operation did to one account, in Horizon's words."""

    account: str
    type: str
    fields: dict[str, Any]


def asset_fields(asset: Asset | None, prefix: str = "") -> dict[str, str]:
    """`asset_type`, `asset_code` and `asset_issuer`, as every record of Horizon has them."""
    if asset is None:
        return {f"{prefix}asset_type": "native"}
    return {
        f"{prefix}asset_type": asset.horizon_type,
        f"{prefix}asset_code": asset.code,
        f"{prefix}asset_issuer": asset.issuer,
    }


def asset_text(asset: Asset | None) -> str:
    """`CODE:ISSUER` or `native`."""
    return "native" if asset is None else str(asset)


def participants_of(operation: Operation) -> list[str]:
    """The accounts under which an operation is listed: not the maker of an offer that it crossed."""
    named: list[str | None] = [source_of(operation)]
    match operation:
        case Payment() | PathPayment():
            named.append(operation.to)
        case CreateAccount() | Clawback():
            named.append(operation.account)
        case AccountMerge():
            named.append(operation.into)
        case SetTrustlineFlags():
            named.append(operation.trustor)
        case CreateClaimableBalance():
            named.append(operation.claimant)
        case ContractCall():
            named += [side for change in operation.changes for side in (change.source, change.to)]
        case Recorded():
            changes = operation.raw.get("asset_balance_changes") or []
            named += [record.get(side) for record in (operation.raw, *changes) for side in ("from", "to", "account")]
    return [name for name in dict.fromkeys(named) if name and name[0] == "G"]


def effects_of(operation: Operation, outcome: Outcome) -> list[Effect]:  # noqa: C901, PLR0911 - one per operation
    """The effects of a successful operation, the first one numbered 1."""
    match operation:
        case Payment():
            moved = _amount(operation.asset, operation.stroops)
            return [
                Effect(operation.to, "account_credited", moved),
                Effect(operation.source, "account_debited", moved),
            ]
        case PathPayment():
            return [
                Effect(operation.to, "account_credited", _amount(operation.received, operation.received_stroops)),
                Effect(operation.source, "account_debited", _amount(operation.sent, operation.sent_stroops)),
                *_trade(
                    operation.source,
                    operation.maker,
                    (operation.sent, operation.sent_stroops),
                    (operation.received, operation.received_stroops),
                ),
            ]
        case CrossOffer():
            sold, bought = (operation.sold, operation.sold_stroops), (operation.bought, operation.bought_stroops)
            return _trade(operation.source, operation.maker, sold, bought)
        case CreateAccount() | AccountMerge():
            return _of_accounts(operation, outcome)
        case CreateClaimableBalance() | ClaimClaimableBalance():
            return _of_claimables(operation, outcome)
        case LiquidityPoolDeposit() | LiquidityPoolWithdraw():
            return [] if outcome.pool is None else [_of_pool(operation, outcome.pool)]
        case Clawback():
            moved = _amount(operation.asset, operation.stroops)
            return [
                Effect(operation.source, "account_credited", moved),
                Effect(operation.account, "account_debited", moved),
            ]
        case ChangeTrust():
            limit = {**asset_fields(operation.asset), "limit": format_stroops(operation.limit_stroops)}
            return [Effect(operation.source, f"trustline_{outcome.trustline}", limit)]
        case SetTrustlineFlags():
            flags: dict[str, Any] = {**asset_fields(operation.asset), "trustor": operation.trustor}
            flags |= {"authorized_flag": True} if operation.authorized else {}
            return [Effect(operation.source, "trustline_flags_updated", flags)]
        case ContractCall():
            return [effect for change in operation.changes for effect in _of_change(operation.source, change)]
        case Recorded():
            return [
                Effect(
                    posting.address,
                    "account_credited" if posting.stroops > 0 else "account_debited",
                    _amount(posting.asset, abs(posting.stroops)),
                )
                for posting in outcome.postings
                if posting.asset and posting.address != Address(posting.asset.issuer)
            ]


def _amount(asset: Asset | None, stroops: int) -> dict[str, str]:
    return {**asset_fields(asset), "amount": format_stroops(stroops)}


def _of_accounts(operation: CreateAccount | AccountMerge, outcome: Outcome) -> list[Effect]:
    if isinstance(operation, AccountMerge):
        moved = _amount(None, outcome.stroops)
        return [
            Effect(operation.source, "account_debited", moved),
            Effect(operation.into, "account_credited", moved),
            Effect(operation.source, "account_removed", {}),
        ]
    starting = format_stroops(operation.starting_stroops)
    signer = {"weight": 1, "public_key": operation.account, "key": ""}
    return [
        Effect(operation.account, "account_created", {"starting_balance": starting}),
        Effect(operation.source, "account_debited", _amount(None, operation.starting_stroops)),
        Effect(operation.account, "signer_created", signer),
    ]


def _of_claimables(operation: CreateClaimableBalance | ClaimClaimableBalance, outcome: Outcome) -> list[Effect]:
    asset, stroops = (
        (operation.asset, operation.stroops)
        if isinstance(operation, CreateClaimableBalance)
        else (outcome.asset, outcome.stroops)
    )
    balance = {"asset": asset_text(asset), "balance_id": outcome.balance_id, "amount": format_stroops(stroops)}
    moved = _amount(asset, stroops)
    if isinstance(operation, CreateClaimableBalance):
        claimant = {**balance, "predicate": {"unconditional": True}}
        return [
            Effect(operation.source, "claimable_balance_created", balance),
            Effect(operation.claimant, "claimable_balance_claimant_created", claimant),
            Effect(operation.source, "account_debited", moved),
        ]
    return [
        Effect(operation.source, "claimable_balance_claimed", balance),
        Effect(operation.source, "account_credited", moved),
    ]


def _of_pool(operation: LiquidityPoolDeposit | LiquidityPoolWithdraw, move: PoolMove) -> Effect:
    pool = {
        "id": move.pool_id,
        "fee_bp": FEE_BASIS_POINTS,
        "type": "constant_product",
        "total_trustlines": str(move.trustlines),
        "total_shares": format_stroops(move.total_shares_stroops),
        "reserves": reserve_list(move.reserves),
    }
    moved, shares = reserve_list(move.moved), format_stroops(move.shares_stroops)
    if isinstance(operation, LiquidityPoolDeposit):
        fields = {"liquidity_pool": pool, "reserves_deposited": moved, "shares_received": shares}
        return Effect(operation.source, "liquidity_pool_deposited", fields)
    fields = {"liquidity_pool": pool, "reserves_received": moved, "shares_redeemed": shares}
    return Effect(operation.source, "liquidity_pool_withdrew", fields)


def reserve_list(reserves: Iterable[Reserve]) -> list[dict[str, str]]:
    """Assets and amounts, as records about pools have them."""
    return [{"asset": asset_text(each.asset), "amount": format_stroops(each.stroops)} for each in reserves]


def _trade(taker: str, maker: str, given: tuple[Asset | None, int], taken: tuple[Asset | None, int]) -> list[Effect]:
    """A trade shows twice, once from each side, with the maker as the seller."""

    def side(account: str, seller: str, sold: tuple[Asset | None, int], bought: tuple[Asset | None, int]) -> Effect:
        fields = {
            "seller": seller,
            "offer_id": "1",
            "sold_amount": format_stroops(sold[1]),
            **asset_fields(sold[0], "sold_"),
            "bought_amount": format_stroops(bought[1]),
            **asset_fields(bought[0], "bought_"),
        }
        return Effect(account, "trade", fields)

    return [side(taker, maker, given, taken), side(maker, taker, taken, given)]


def _of_change(source: str, change: AssetChange) -> Iterator[Effect]:
    moved = _amount(change.asset, change.stroops)
    sides = [(change.source, "debited"), (change.to, "credited")]
    if change.kind is ChangeKind.MINT:
        sides = sides[1:]
    elif change.kind in (ChangeKind.BURN, ChangeKind.CLAWBACK):
        sides = sides[:1]
    for address, verb in sides:
        if address is None:
            continue
        if address[0] == "G":
            yield Effect(address, f"account_{verb}", moved)
        else:
            yield Effect(source, f"contract_{verb}", {**moved, "contract": address})
