"""When a world has come to rest: nothing is on its way any more."""

from typing import Final

from sandbox.ledger_evidence import Scene

QUIET_LOOKS: Final = 4  # so many in a row at which nothing moved
_VERSIONS: Final = "select public_key, balance_ledger from stellar_wallets where id = any($1::uuid[])"


async def has_baselines(scene: Scene) -> bool:
    """Whether every wallet has been seen once."""
    missing = await scene.pool.fetchval(
        "select count(*) from stellar_wallets where previous_usdc_balance is null and id = any($1::uuid[])",
        list(scene.wallets),
    )
    return bool(missing == 0)


async def nothing_moves(scene: Scene) -> bool:
    """Every wallet's stored version is the chain's, no command is open, nobody waits to be due."""
    wallets = list(scene.wallets)
    waiting = await scene.pool.fetchval(
        "select (select count(*) from deposit_commands where status in ('pending', 'published'))"
        " + (select count(*) from stellar_wallets where due_at is not null and id = any($1::uuid[]))"
        " + (select count(*) from read_requests where done_at is null)",
        wallets,
    )
    if waiting:
        return False
    for row in await scene.pool.fetch(_VERSIONS, wallets):
        history = await scene.ask_chain(f"accounts/{row['public_key']}/history?asset={scene.asset}")
        if (history["last_modified_ledger"] or 0) > (row["balance_ledger"] or 0):
            return False
    return True
