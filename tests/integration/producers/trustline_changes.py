"""The table of what changes a trustline."""

from collections.abc import Callable, Sequence

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
    SetTrustlineFlags,
)
from schema.stellar import AccountId, Address, Stroops
from tests.integration.producers.scene import UNIT, Scene


def changes(scene: Scene) -> dict[str, Callable[[], Sequence[Operation]]]:
    """The table of what changes a trustline: each row's last operation changes wallet 0's."""
    people, asset = scene.people, scene.people.asset
    wallet, market, issuer = scene.account(0), people.market.account_id, people.issuer.account_id
    payer = people.payers[0].account_id
    amount = Stroops(5 * UNIT)

    def path(source: AccountId, to: AccountId, *, maker: AccountId = market) -> Operation:
        return PathPayment(
            source=source,
            to=to,
            strict_send=True,
            sent=None if source == payer else asset,
            sent_stroops=amount,
            received=asset if source == payer else None,
            received_stroops=amount,
            maker=maker,
        )

    def offer(source: AccountId, maker: AccountId) -> Operation:
        return CrossOffer(
            source=source, maker=maker, sold=asset, sold_stroops=amount, bought=None, bought_stroops=Stroops(9)
        )

    def call(kind: ChangeKind, source: str | None, to: str | None) -> Operation:
        change = AssetChange(
            kind=kind,
            asset=asset,
            source=Address(source) if source else None,
            to=Address(to) if to else None,
            stroops=amount,
        )
        return ContractCall(source=payer, contract=people.contract, changes=(change,))

    def pool(kind: type[LiquidityPoolDeposit] | type[LiquidityPoolWithdraw]) -> Operation:
        if kind is LiquidityPoolDeposit:
            return LiquidityPoolDeposit(source=wallet, asset_a=None, asset_b=asset, a_stroops=amount, b_stroops=amount)
        return LiquidityPoolWithdraw(source=wallet, asset_a=None, asset_b=asset, shares_stroops=Stroops(UNIT))

    put_aside = CreateClaimableBalance(source=payer, claimant=wallet, asset=asset, stroops=amount)
    return {
        "payment": lambda: [Payment(source=payer, to=wallet, asset=asset, stroops=amount)],
        "payment sent": lambda: [Payment(source=wallet, to=payer, asset=asset, stroops=amount)],
        "from the issuer": lambda: [Payment(source=issuer, to=wallet, asset=asset, stroops=amount)],
        "to the issuer": lambda: [Payment(source=wallet, to=issuer, asset=asset, stroops=amount)],
        "path payment": lambda: [path(payer, wallet)],
        "path payment sent": lambda: [path(wallet, payer)],
        "offer crossed by a path payment": lambda: [path(payer, people.payers[1].account_id, maker=wallet)],
        "offer crossed": lambda: [offer(market, wallet)],
        "own offer": lambda: [offer(wallet, market)],
        "claimable balance made": lambda: [
            CreateClaimableBalance(source=wallet, claimant=payer, asset=asset, stroops=amount)
        ],
        "claimable balance claimed": lambda: [put_aside, ClaimClaimableBalance(source=wallet)],
        "clawback": lambda: [Clawback(source=issuer, account=wallet, asset=asset, stroops=amount)],
        "pool deposit": lambda: [pool(LiquidityPoolDeposit)],
        "pool withdrawal": lambda: [pool(LiquidityPoolDeposit), pool(LiquidityPoolWithdraw)],
        "contract pays": lambda: [call(ChangeKind.TRANSFER, people.contract, wallet)],
        "paid to a contract": lambda: [call(ChangeKind.TRANSFER, wallet, people.contract)],
        "contract mints": lambda: [call(ChangeKind.MINT, None, wallet)],
        "contract burns": lambda: [call(ChangeKind.BURN, wallet, None)],
        "contract claws back": lambda: [call(ChangeKind.CLAWBACK, wallet, None)],
        "authorization taken": lambda: [
            SetTrustlineFlags(source=issuer, trustor=wallet, asset=asset, authorized=False)
        ],
        "authorization given": lambda: [SetTrustlineFlags(source=issuer, trustor=wallet, asset=asset, authorized=True)],
    }
