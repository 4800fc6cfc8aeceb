"""Changes that no payment shows, and which cursors are saved."""

from collections.abc import Callable

from producers.parts import Pace
from sandbox.chain_operations import (
    Clawback,
    CreateClaimableBalance,
    CrossOffer,
    LiquidityPoolDeposit,
    Operation,
)
from schema.stellar import AccountId, Stroops
from tests.integration.producers.scene import UNIT, Scene

BLIND = Pace(idle_drain_s=20.0, wallets_refresh_s=20.0, changes=False)
TWENTY = Stroops(20 * UNIT)


def crossed(scene: Scene, wallet: int) -> CrossOffer:
    """The wallet's offer to sell 20 is taken by the market."""
    return CrossOffer(
        source=scene.people.market.account_id,
        maker=scene.account(wallet),
        sold=None,
        sold_stroops=Stroops(5),
        bought=scene.people.asset,
        bought_stroops=TWENTY,
    )


ROWS: dict[str, Callable[[Scene, AccountId], Operation]] = {
    "offer crossed": lambda scene, _: crossed(scene, 0),
    "claimable balance created": lambda scene, wallet: CreateClaimableBalance(
        source=wallet, claimant=scene.people.payers[0].account_id, asset=scene.people.asset, stroops=TWENTY
    ),
    "clawback": lambda scene, wallet: Clawback(
        source=scene.people.asset.issuer, account=wallet, asset=scene.people.asset, stroops=TWENTY
    ),
    "pool deposit": lambda scene, wallet: LiquidityPoolDeposit(
        source=wallet, asset_a=None, asset_b=scene.people.asset, a_stroops=TWENTY, b_stroops=TWENTY
    ),
}


async def are_saved(scene: Scene, ledger: int = 0) -> bool:
    """Both cursors, and the one of the changes at least here."""
    return await scene.saved_ledger() is not None and await are_changes_saved(scene, ledger)


async def are_changes_saved(scene: Scene, ledger: int) -> bool:
    found = await scene.saved_ledger("stream:changes")
    return found is not None and found >= ledger


async def is_saved(scene: Scene, name: str) -> bool:
    return await scene.saved_ledger(name) is not None
