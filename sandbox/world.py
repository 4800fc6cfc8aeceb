"""The people of a simulated world: the issuer, a counterfeiter, the vault, payers, a market maker, the wallets."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sandbox import keys
from sandbox.chain import Chain
from sandbox.chain_operations import Payment
from sandbox.chain_transactions import START_LEDGER
from sandbox.keys import Key
from schema.stellar import STROOPS_PER_UNIT, AccountId, Address, Asset, Network, Stroops

PAYERS: Final = 20
RICH_STROOPS: Final = Stroops(100_000_000 * STROOPS_PER_UNIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Who is who. `market` swaps XLM and the asset for path payments; `contract` is a payer that is a contract."""

    asset: Asset
    counterfeit: Asset  # the same code from another issuer
    issuer: Key
    counterfeiter: Key
    vault: Key
    market: Key
    payers: tuple[Key, ...]
    wallets: tuple[Key, ...]
    contract: Address


def cast(*, seed: int, wallets: int, asset: Asset | None = None, code: str = "USDC") -> Cast:
    """Name everyone. The asset is the sandbox issuer's own unless one is given."""
    issuer = keys.derive(seed, "issuer")
    counterfeiter = keys.derive(seed, "counterfeiter")
    asset = asset or Asset(code, issuer.account_id)
    return Cast(
        asset=asset,
        counterfeit=Asset(asset.code, counterfeiter.account_id),
        issuer=issuer,
        counterfeiter=counterfeiter,
        vault=keys.derive(seed, "vault"),
        market=keys.derive(seed, "market"),
        payers=tuple(keys.derive(seed, "payer", number) for number in range(PAYERS)),
        wallets=tuple(keys.derive(seed, "wallet", number) for number in range(wallets)),
        contract=keys.contract(seed, "payer"),
    )


def build(  # noqa: PLR0913 - one argument per thing a world is made from
    *,
    seed: int,
    wallets: int,
    started_at: datetime,
    network: Network = Network.TESTNET,
    start_ledger: int = START_LEDGER,
    asset: Asset | None = None,
    wallet_stroops: Stroops = Stroops(0),  # noqa: B008 - a NewType is no call
) -> tuple[Chain, Cast]:
    """A chain with everyone on it: trustlines open, payers and vault rich, wallets holding `wallet_stroops` each."""
    chain = Chain(seed=seed, network=network, started_at=started_at, start_ledger=start_ledger)
    people = cast(seed=seed, wallets=wallets, asset=asset)
    for key in (people.issuer, people.counterfeiter):
        chain.open_account(key.account_id, native_stroops=RICH_STROOPS)
    if people.asset.issuer != people.issuer.account_id:
        chain.open_account(people.asset.issuer, native_stroops=RICH_STROOPS)
    for key in (people.vault, people.market, *people.payers):
        chain.open_account(key.account_id, native_stroops=RICH_STROOPS, balances={people.asset: RICH_STROOPS})
    for key in people.wallets:
        open_wallet(chain, people, key.account_id, stroops=wallet_stroops)
    chain.open_account(
        AccountId(people.contract),
        native_stroops=Stroops(0),
        balances={people.asset: RICH_STROOPS},
        signer=people.issuer.account_id,
    )
    return chain, people


def open_wallet(
    chain: Chain,
    people: Cast,
    account_id: AccountId,
    *,
    stroops: Stroops = Stroops(0),  # noqa: B008
    signer: AccountId | None = None,
) -> None:
    """Put one more wallet there, which holds the asset and accepts the counterfeit too, as careless owners do."""
    balances = {people.asset: stroops, people.counterfeit: Stroops(0)}
    chain.open_account(account_id, balances=balances, signer=signer)


def pay(chain: Chain, people: Cast, to: AccountId, stroops: int, *, payer: int = 0) -> None:
    """Enqueue an ordinary payment of the asset."""
    source = people.payers[payer % len(people.payers)].account_id
    chain.enqueue(Payment(source=source, to=to, asset=people.asset, stroops=Stroops(stroops)))
