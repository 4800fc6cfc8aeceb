"""What the database holds of the wallets, to be compared. Reads only."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg

from producers.reconcile.differences import Row
from producers.store import CLOSE_WITHIN_S, translated
from schema.service import database
from schema.stellar import AccountId, Ledger, Network, Stroops

CONNECTIONS_MAX: Final = 2
ROWS_AT_ONCE: Final = 10_000
_QUERIES: Final = database.load_queries(Path(__file__).with_name("queries.sql"))

Rows = Sequence[tuple[str, Row]]  # public keys as they are stored, and what is stored


class RowStore:
    """The wallets' rows. What a restart or a failover brings is Away: ask again."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @classmethod
    async def open(cls, url: str) -> "RowStore":
        """Connect, however long it takes until the database is there."""
        return cls(await database.open_pool(url, connections_max=CONNECTIONS_MAX, application_name="reconcile"))

    async def close(self) -> None:
        """Close the connections; at once when they do not close by themselves."""
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    async def rows(self, network: Network) -> AsyncIterator[Rows]:
        """Every wallet of the network in the order of the addresses' letters, in portions."""
        async with translated(), database.transaction(self._pool) as connection:
            cursor = await connection.cursor(_QUERIES["rows"], network.value)
            while found := await cursor.fetch(ROWS_AT_ONCE):
                yield [_row(each) for each in found]

    async def rows_of(self, account_ids: Sequence[AccountId], network: Network) -> dict[AccountId, Row]:
        """The rows of these wallets as they are now; one that is gone is missing."""
        return await self._by_account("rows_of", network.value, list(account_ids))

    async def facts_up_to(self, wanted: Mapping[AccountId, Ledger], network: Network) -> dict[AccountId, Row]:
        """Of each of these the newest fact that was ever recorded of ledgers up to the one given, if there was one."""
        return await self._by_account("facts_up_to", network.value, list(wanted), list(wanted.values()))

    async def _by_account(self, query: str, *arguments: Any) -> dict[AccountId, Row]:
        async with translated(), database.connected(self._pool) as connection:
            found = await connection.fetch(_QUERIES[query], *arguments)
        return {AccountId(key): row for key, row in map(_row, found)}


def _row(found: asyncpg.Record) -> tuple[str, Row]:
    version, balance = found["balance_ledger"], found["balance_stroops"]
    return found["public_key"], Row(
        version=None if version is None else Ledger(version),
        balance_stroops=None if balance is None else Stroops(balance),
        authorized=found["authorized"],
        held=found["held"],
    )
