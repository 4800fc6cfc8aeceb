"""Liquidity pools of the simulated chain: shares, prices, and what the wallets hold meanwhile."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import keys
from sandbox.chain import Chain
from sandbox.chain_effects import effects_of
from sandbox.chain_history import Entry
from sandbox.chain_operations import LiquidityPoolDeposit, LiquidityPoolWithdraw, Operation
from sandbox.world import Cast
from schema.stellar import AccountId, Address, Stroops, parse_address
from tests.unit.sandbox.small_world import UNIT, balance, build, close


def _deposit(people: Cast, wallet: int, xlm: int, units: int) -> LiquidityPoolDeposit:
    return LiquidityPoolDeposit(
        source=people.wallets[wallet].account_id,
        asset_a=None,
        asset_b=people.asset,
        a_stroops=Stroops(xlm),
        b_stroops=Stroops(units),
    )


def _withdraw(people: Cast, wallet: int, shares: int) -> LiquidityPoolWithdraw:
    return LiquidityPoolWithdraw(
        source=people.wallets[wallet].account_id, asset_a=None, asset_b=people.asset, shares_stroops=Stroops(shares)
    )


def _done(chain: Chain, operation: Operation) -> tuple[str, ...] | Entry:
    """What the operation came to: its entry, or the codes it failed with."""
    pending = chain.enqueue(operation)
    close(chain)
    assert pending.transaction is not None
    return pending.transaction.operation_codes or chain.history._entries[-1]


def _shares(chain: Chain, account_id: AccountId) -> int:
    account = chain.state.account(account_id)
    assert account is not None
    return sum(each.stroops for each in account.pool_shares.values())


def test_what_goes_in_comes_out_by_shares() -> None:
    """The first deposit sets the price, the second follows it, and shares take out their part of both assets."""
    chain, people = build(holding=100)
    alice, bob = (people.wallets[each].account_id for each in range(2))
    _done(chain, _deposit(people, 0, 40 * UNIT, 10 * UNIT))
    assert (balance(chain, people, alice), _shares(chain, alice)) == (90 * UNIT, 20 * UNIT)
    _done(chain, _deposit(people, 1, 100 * UNIT, 5 * UNIT))  # too much XLM for the price: it stays where it is
    assert (balance(chain, people, bob), _shares(chain, bob)) == (95 * UNIT, 10 * UNIT)
    _done(chain, _withdraw(people, 0, 20 * UNIT))
    assert (balance(chain, people, alice), _shares(chain, alice)) == (100 * UNIT, 0)
    account = chain.state.account(alice)
    assert account is not None
    assert account.pool_shares == {}
    parse_address(Address(keys.liquidity_pool(keys.pool_id(None, people.asset))))


def test_what_a_pool_refuses() -> None:
    """Shares that are not there, money that is not there, and a deposit worth no share."""
    chain, people = build(holding=1)
    assert _done(chain, _withdraw(people, 0, 1)) == ("op_no_trust",)
    assert _done(chain, _deposit(people, 0, UNIT, 2 * UNIT)) == ("op_underfunded",)
    assert _done(chain, _deposit(people, 0, 0, UNIT)) == ("op_bad_price",)
    _done(chain, _deposit(people, 0, UNIT, UNIT))
    assert _done(chain, _withdraw(people, 0, 2 * UNIT)) == ("op_underfunded",)


@pytest.mark.parametrize("kind", ["liquidity_pool_deposited", "liquidity_pool_withdrew"])
def test_a_pool_shows_as_one_effect(kind: str) -> None:
    """It says how the pool stands afterwards, and what the account gave or took; no payment shows it."""
    chain, people = build(holding=100)
    entry = _done(chain, _deposit(people, 0, 40 * UNIT, 10 * UNIT))
    if kind == "liquidity_pool_withdrew":
        entry = _done(chain, _withdraw(people, 0, 10 * UNIT))
    assert isinstance(entry, Entry)
    (effect,) = effects_of(entry.operation, entry.outcome)
    assert (effect.type, effect.account) == (kind, people.wallets[0].account_id)
    left = "40.0000000" if kind == "liquidity_pool_deposited" else "20.0000000"
    assert effect.fields["liquidity_pool"]["reserves"][0] == {"asset": "native", "amount": left}


@settings(max_examples=40)
@given(steps=st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(1, 30 * UNIT)), max_size=12))
def test_a_pool_makes_nothing_and_loses_nothing(steps: list[tuple[int, bool, int]]) -> None:
    """Whoever puts in and takes out, every asset's sum stays what was issued, and the shares are those of the pool."""
    chain, people = build(holding=100)
    for wallet, is_deposit, stroops in steps:
        _done(
            chain, _deposit(people, wallet, stroops, stroops // 3) if is_deposit else _withdraw(people, wallet, stroops)
        )
        assert all(issued == held for issued, held in chain.state.sums().values())
        pools = chain.state.pools.values()
        held = sum(_shares(chain, each.account_id) for each in people.wallets)
        assert held == sum(pool.shares_stroops for pool in pools)
        assert sum(pool.trustlines for pool in pools) == sum(
            bool(_shares(chain, each.account_id)) for each in people.wallets
        )
