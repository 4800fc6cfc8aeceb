"""A million wallets for the benches: people, addresses whose checksums hold, and the tables that hold them."""

import base64
import binascii
from collections.abc import Iterator
from random import Random
from typing import Final
from uuid import UUID

import asyncpg

from schema import migrate

SEED: Final = 19
FIRST_LEDGER: Final = 52_426_477
ROWS_AT_ONCE: Final = 50_000
_ACCOUNT_ID_VERSION: Final = 6 << 3  # SEP-23: it makes the first letter a G


def people(count: int, *, seed: int = SEED) -> Iterator[tuple[UUID, str]]:
    """So many users, each with an address; the same for the same seed."""
    random = Random(seed)
    for _ in range(count):
        yield UUID(int=random.getrandbits(128), version=4), account_id(random.randbytes(32))


def account_id(key: bytes) -> str:
    """The address of a public key."""
    raw = bytes([_ACCOUNT_ID_VERSION]) + key
    return base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode()


async def fill(url: str, count: int, *, users_only: bool = False) -> None:
    """Migrate the database and give it so many users, each with a wallet whose balance is stored."""
    await migrate.migrate(url, dry_run=False, wait_s=10, say=lambda _: None)
    connection = await asyncpg.connect(url)
    try:
        rows = list(people(count))
        await connection.copy_records_to_table(
            "users", schema_name="auth", columns=["id"], records=((user_id,) for user_id, _ in rows)
        )
        if not users_only:
            await connection.copy_records_to_table(
                "stellar_wallets",
                columns=[
                    *("user_id", "public_key", "network", "balance_ledger", "previous_usdc_balance"),
                    "balance_authorized",
                ],
                records=((user_id, key, "testnet", FIRST_LEDGER, 100, True) for user_id, key in rows),
            )
        await connection.execute("vacuum analyze auth.users, stellar_wallets")
    finally:
        await connection.close()
