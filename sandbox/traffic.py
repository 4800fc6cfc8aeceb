"""What happens on the chain while the sandbox runs: an endless, seeded story of payments to the wallets."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

from sandbox.chain_operations import (
    AssetChange,
    ChangeKind,
    ClaimClaimableBalance,
    Clawback,
    ContractCall,
    CreateClaimableBalance,
    CrossOffer,
    LiquidityPoolDeposit,
    LiquidityPoolWithdraw,
    Operation,
    PathPayment,
    Payment,
)
from sandbox.world import Cast
from schema.stellar import STROOPS_PER_UNIT, AccountId, Address, Asset, Stroops

AMOUNT_STROOPS_MAX = 100 * STROOPS_PER_UNIT
DUST_STROOPS_MAX = 1_000
POOL_PRICE = 100  # units of the asset for one XLM
SHARES_STROOPS_MAX = AMOUNT_STROOPS_MAX // 4 // 10  # shares are the root of both amounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """How often each kind of thing happens, as weights."""

    ordinary: int = 70
    dust: int = 4
    path: int = 5  # someone pays in XLM, the wallet receives the asset
    contract: int = 5  # a contract pays, or the issuer's mints
    counterfeit: int = 5  # the same code from another issuer
    withdrawal: int = 5  # the vault pays back
    spend: int = 4  # the owner spends, or tries to
    # What no payment shows, with an effect as the only trace:
    crossed: int = 5  # the wallet's own offer is taken
    claimed: int = 3  # the wallet fetches what somebody put aside for it
    put_aside: int = 2  # the wallet puts something aside for somebody
    clawback: int = 2  # the issuer takes something back
    pool_deposit: int = 3
    pool_withdraw: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One transaction. Its `source` pays the fee and lends the sequence number; None: the first operation's source."""

    operations: tuple[Operation, ...]
    source: AccountId | None = None


def actions(people: Cast, *, seed: int, mix: Mix | None = None) -> Iterator[Action]:
    """The story, without end; the same seed tells the same one."""
    rng = random.Random(f"traffic {seed}")
    mix = mix or Mix()
    kinds = [each.name for each in fields(Mix)]
    weights = [getattr(mix, name) for name in kinds]
    while True:
        (kind,) = rng.choices(kinds, weights)
        yield _TELLERS[kind](people, rng)


class Traffic:
    """The story at a pace. 0 payments a second is silence."""

    def __init__(self, people: Cast, *, seed: int, payments_per_s: float = 0.0, mix: Mix | None = None) -> None:
        self.payments_per_s = payments_per_s
        self.told = 0
        self._actions = actions(people, seed=seed, mix=mix)
        self._owed = 0.0

    def owed(self, seconds: float) -> list[Action]:
        """What happens in this much time."""
        self._owed += self.payments_per_s * seconds
        count = int(self._owed)
        self._owed -= count
        self.told += count
        return [next(self._actions) for _ in range(count)]


def _amount(rng: random.Random) -> Stroops:
    return Stroops(rng.randint(STROOPS_PER_UNIT, AMOUNT_STROOPS_MAX))


def _little(rng: random.Random) -> Stroops:
    """What an owner may well have; who has less fails to, as people do."""
    return Stroops(rng.randint(1, AMOUNT_STROOPS_MAX // 4))


def _payment(source: AccountId, to: AccountId, asset: Asset, stroops: Stroops) -> Action:
    return Action(operations=(Payment(source=source, to=to, asset=asset, stroops=stroops),))


def _ordinary(people: Cast, rng: random.Random) -> Action:
    return _payment(_payer(people, rng), _wallet(people, rng), people.asset, _amount(rng))


def _dust(people: Cast, rng: random.Random) -> Action:
    stroops = Stroops(rng.randint(1, DUST_STROOPS_MAX))
    return _payment(_payer(people, rng), _wallet(people, rng), people.asset, stroops)


def _path(people: Cast, rng: random.Random) -> Action:
    stroops = _amount(rng)
    payment = PathPayment(
        source=_payer(people, rng),
        to=_wallet(people, rng),
        strict_send=rng.random() < 0.5,  # noqa: PLR2004 - either
        sent=None,
        sent_stroops=Stroops(4 * stroops),
        received=people.asset,
        received_stroops=stroops,
        maker=people.market.account_id,
    )
    return Action(operations=(payment,))


def _contract(people: Cast, rng: random.Random) -> Action:
    kind = rng.choice((ChangeKind.TRANSFER, ChangeKind.MINT))
    change = AssetChange(
        kind=kind,
        asset=people.asset,
        source=people.contract if kind is ChangeKind.TRANSFER else None,
        to=Address(_wallet(people, rng)),
        stroops=_amount(rng),
    )
    call = ContractCall(source=_payer(people, rng), contract=people.contract, changes=(change,))
    return Action(operations=(call,))


def _crossed(people: Cast, rng: random.Random) -> Action:
    stroops = _amount(rng)
    offer = CrossOffer(
        source=people.market.account_id,
        maker=_wallet(people, rng),
        sold=people.asset,
        sold_stroops=stroops,
        bought=None,
        bought_stroops=Stroops(max(1, stroops // 1000)),
    )
    return Action(operations=(offer,))


def _counterfeit(people: Cast, rng: random.Random) -> Action:
    source = people.counterfeiter.account_id
    return _payment(source, _wallet(people, rng), people.counterfeit, _amount(rng))


def _withdrawal(people: Cast, rng: random.Random) -> Action:
    return _payment(people.vault.account_id, _wallet(people, rng), people.asset, _amount(rng))


def _spend(people: Cast, rng: random.Random) -> Action:
    """The fee and the sequence number are a payer's, so that this does not race with the executor's transactions."""
    payer = _payer(people, rng)
    spent = _payment(_wallet(people, rng), payer, people.asset, _little(rng))
    return Action(operations=spent.operations, source=payer)


def _claimed(people: Cast, rng: random.Random) -> Action:
    payer, wallet = _payer(people, rng), _wallet(people, rng)
    aside = CreateClaimableBalance(source=payer, claimant=wallet, asset=people.asset, stroops=_amount(rng))
    return Action(operations=(aside, ClaimClaimableBalance(source=wallet)), source=payer)


def _put_aside(people: Cast, rng: random.Random) -> Action:
    payer = _payer(people, rng)
    aside = CreateClaimableBalance(
        source=_wallet(people, rng), claimant=payer, asset=people.asset, stroops=_little(rng)
    )
    return Action(operations=(aside,), source=payer)


def _clawback(people: Cast, rng: random.Random) -> Action:
    taken = Clawback(source=people.asset.issuer, account=_wallet(people, rng), asset=people.asset, stroops=_little(rng))
    return Action(operations=(taken,), source=_payer(people, rng))


def _pool_deposit(people: Cast, rng: random.Random) -> Action:
    """Somebody pays, and half of it goes into the pool at once: a ledger with a payment and a change that is none."""
    payer, wallet, stroops = _payer(people, rng), _wallet(people, rng), _little(rng)
    deposit = LiquidityPoolDeposit(
        source=wallet,
        asset_a=None,
        asset_b=people.asset,
        a_stroops=Stroops(1 + stroops // POOL_PRICE),
        b_stroops=stroops,
    )
    payment = Payment(source=payer, to=wallet, asset=people.asset, stroops=Stroops(2 * stroops))
    return Action(operations=(payment, deposit))


def _pool_withdraw(people: Cast, rng: random.Random) -> Action:
    withdraw = LiquidityPoolWithdraw(
        source=_wallet(people, rng),
        asset_a=None,
        asset_b=people.asset,
        shares_stroops=Stroops(rng.randint(1, SHARES_STROOPS_MAX)),
    )
    return Action(operations=(withdraw,), source=_payer(people, rng))


_TELLERS: dict[str, Callable[[Cast, random.Random], Action]] = {
    "ordinary": _ordinary,
    "dust": _dust,
    "path": _path,
    "contract": _contract,
    "crossed": _crossed,
    "counterfeit": _counterfeit,
    "withdrawal": _withdrawal,
    "spend": _spend,
    "claimed": _claimed,
    "put_aside": _put_aside,
    "clawback": _clawback,
    "pool_deposit": _pool_deposit,
    "pool_withdraw": _pool_withdraw,
}


def _payer(people: Cast, rng: random.Random) -> AccountId:
    return rng.choice(people.payers).account_id


def _wallet(people: Cast, rng: random.Random) -> AccountId:
    return rng.choice(people.wallets).account_id
