"""Wallets on hold: a conflict stops their deposits until a person has looked. Listed and released for that person."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from consumer.store import QUERIES
from schema.service.database import COMMAND_TIMEOUT_S, CONNECT_TIMEOUT_S, refusals
from schema.stellar import AccountId, Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A wallet on hold, since when, and the conflict in its own words; None where its dead letter is not kept."""

    account_id: AccountId
    held_at: datetime
    detail: str | None


async def holds(database_url: str, network: Network) -> list[Hold]:
    """Every wallet of the network that is on hold, the oldest hold first."""
    rows = await _fetch(database_url, "holds", network)
    return [Hold(account_id=AccountId(row["public_key"]), held_at=row["held_at"], detail=row["detail"]) for row in rows]


async def release(database_url: str, network: Network, account_ids: Sequence[AccountId]) -> set[AccountId]:
    """End these wallets' hold; which of them had one. Each is due at once: what came in meanwhile is decided on."""
    rows = await _fetch(database_url, "release", network, list(account_ids))
    return {AccountId(row["public_key"]) for row in rows}


async def _fetch(database_url: str, query: str, *arguments: object) -> Sequence[asyncpg.Record]:
    async with asyncio.timeout(CONNECT_TIMEOUT_S + COMMAND_TIMEOUT_S):
        with refusals():
            connection = await asyncpg.connect(database_url, timeout=CONNECT_TIMEOUT_S)
        try:
            found: Sequence[asyncpg.Record] = await connection.fetch(QUERIES[query], *arguments)
        finally:
            await connection.close()
    return found
