"""Liquidity pools of the simulated chain: who put two assets together, and takes their part out again.

A liberty: nobody needs a trustline for the shares first; it is there as long as shares are. Nobody trades with a pool.
"""

from dataclasses import dataclass, replace
from math import isqrt
from typing import TYPE_CHECKING, Final

from sandbox import keys
from sandbox.chain_operations import (
    LiquidityPoolDeposit,
    LiquidityPoolWithdraw,
    Refused,
    postings_of,
)
from sandbox.chain_outcomes import Outcome, PoolMove, Reserve
from schema.stellar import Asset, Stroops

if TYPE_CHECKING:
    from sandbox.chain_state import Draft

FEE_BASIS_POINTS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A pool's shares; what lies in it is held at its address (`L...`), as an account's balances are."""

    id: str
    assets: tuple[Asset | None, Asset | None]
    shares_stroops: int = 0
    trustlines: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolShares:
    """An account's part in a pool."""

    stroops: int
    last_modified_ledger: int


def deposit(operation: LiquidityPoolDeposit, draft: "Draft") -> Outcome:
    """As much of both as the pool's price lets in; the first one sets the price."""
    pool = _pool(operation.asset_a, operation.asset_b, draft)
    limits, reserves = (int(operation.a_stroops), int(operation.b_stroops)), _reserves(pool, draft)
    if pool.shares_stroops == 0:
        shares, moved = isqrt(limits[0] * limits[1]), limits
    else:
        total = pool.shares_stroops
        shares = min(total * limit // reserve for limit, reserve in zip(limits, reserves, strict=True))
        moved = (-(-shares * reserves[0] // total), -(-shares * reserves[1] // total))
    if shares <= 0:
        raise Refused("op_bad_price")
    return _carry_out(operation, pool, moved, shares, draft)


def withdraw(operation: LiquidityPoolWithdraw, draft: "Draft") -> Outcome:
    """The part of both that the shares stand for."""
    pool = _pool(operation.asset_a, operation.asset_b, draft)
    account = draft.account(operation.source)
    held = account.pool_shares.get(pool.id) if account else None
    if held is None:
        raise Refused("op_no_trust")
    shares = int(operation.shares_stroops)
    if shares > held.stroops:
        raise Refused("op_underfunded")
    a, b = _reserves(pool, draft)
    moved = (shares * a // pool.shares_stroops, shares * b // pool.shares_stroops)
    return _carry_out(operation, pool, moved, -shares, draft)


def _carry_out(
    operation: LiquidityPoolDeposit | LiquidityPoolWithdraw,
    pool: Pool,
    moved: tuple[int, int],
    shares: int,
    draft: "Draft",
) -> Outcome:
    """Move both assets and the shares; `shares` are negative when they are given back."""
    a, b = pool.assets
    move = PoolMove(
        pool_id=pool.id,
        address=keys.liquidity_pool(pool.id),
        moved=(Reserve(a, Stroops(moved[0])), Reserve(b, Stroops(moved[1]))),
        shares_stroops=Stroops(abs(shares)),
    )
    for posting in postings_of(operation, Outcome(pool=move)):
        if posting.stroops:
            draft.post(posting)
    account = draft.account(operation.source)
    assert account is not None
    held = account.pool_shares.get(pool.id)
    after = (held.stroops if held else 0) + shares
    left = {**account.pool_shares, pool.id: PoolShares(stroops=after, last_modified_ledger=draft.ledger)}
    if after == 0:
        del left[pool.id]
    draft.put(replace(account, pool_shares=left))
    pool = replace(
        pool,
        shares_stroops=pool.shares_stroops + shares,
        trustlines=pool.trustlines + (held is None) - (after == 0),
    )
    draft.pools[pool.id] = pool
    reserves = _reserves(pool, draft)
    return Outcome(
        pool=replace(
            move,
            reserves=(Reserve(a, Stroops(reserves[0])), Reserve(b, Stroops(reserves[1]))),
            total_shares_stroops=Stroops(pool.shares_stroops),
            trustlines=pool.trustlines,
        )
    )


def _pool(asset_a: Asset | None, asset_b: Asset | None, draft: "Draft") -> Pool:
    pool_id = keys.pool_id(asset_a, asset_b)
    return draft.pool(pool_id) or Pool(id=pool_id, assets=(asset_a, asset_b))


def _reserves(pool: Pool, draft: "Draft") -> tuple[int, int]:
    account = draft.account(keys.liquidity_pool(pool.id))
    if account is None:
        return 0, 0
    a, b = (
        account.native_stroops if asset is None else account.trustlines[asset].balance_stroops for asset in pool.assets
    )
    return a, b
