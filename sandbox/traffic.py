"""What happens on the chain while the sandbox runs: an endless, seeded story of payments to the wallets."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

from sandbox.chain_operations import AssetChange, ChangeKind, ContractCall, CrossOffer, Operation, PathPayment, Payment
from sandbox.world import Cast
from schema.stellar import STROOPS_PER_UNIT, AccountId, Address, Asset, Stroops

AMOUNT_STROOPS_MAX = 100 * STROOPS_PER_UNIT
DUST_STROOPS_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """How often each kind of thing happens, as weights."""

    ordinary: int = 70
    dust: int = 4
    path: int = 5  # someone pays in XLM, the wallet receives the asset
    contract: int = 5  # a contract pays, or the issuer's mints
    crossed: int = 0  # the wallet's own offer is taken: no payment shows it, the stream sees it at the next one
    counterfeit: int = 5  # the same code from another issuer
    withdrawal: int = 5  # the vault pays back
    spend: int = 4  # the owner spends, or tries to


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
    spent = _payment(_wallet(people, rng), payer, people.asset, Stroops(rng.randint(1, AMOUNT_STROOPS_MAX // 4)))
    return Action(operations=spent.operations, source=payer)


_TELLERS: dict[str, Callable[[Cast, random.Random], Action]] = {
    "ordinary": _ordinary,
    "dust": _dust,
    "path": _path,
    "contract": _contract,
    "crossed": _crossed,
    "counterfeit": _counterfeit,
    "withdrawal": _withdrawal,
    "spend": _spend,
}


def _payer(people: Cast, rng: random.Random) -> AccountId:
    return rng.choice(people.payers).account_id


def _wallet(people: Cast, rng: random.Random) -> AccountId:
    return rng.choice(people.wallets).account_id
