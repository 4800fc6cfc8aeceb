"""What the database holds of the wallets, to be compared. Reads only."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg

from producers.reconcile.differences import Row
from producers.store import PoolStore
from schema.service import database
from schema.stellar import AccountId, Ledger, Network, Stroops

ROWS_AT_ONCE: Final = 2_500  # some 20 ms in which the loop does nothing else

Rows = Sequence[tuple[str, Row]]  # public keys as they are stored, and what is stored


class RowStore(PoolStore):
    """The wallets' rows."""

    queries = database.load_queries(Path(__file__).with_name("queries.sql"))
    application_name = "reconcile"

    async def rows(self, network: Network) -> AsyncIterator[Rows]:
        """Every wallet of the network in the order of the addresses' letters, in portions."""
        async for found in self._fetch_portions("rows", network.value, rows_max=ROWS_AT_ONCE):
            yield [_row(each) for each in found]

    async def rows_of(self, account_ids: Sequence[AccountId], network: Network) -> dict[AccountId, Row]:
        """The rows of these wallets as they are now; one that is gone is missing."""
        return await self._by_account("rows_of", network.value, list(account_ids))

    async def facts_up_to(self, wanted: Mapping[AccountId, Ledger], network: Network) -> dict[AccountId, Row]:
        """Of each of these the newest fact that was ever recorded of ledgers up to the one given, if there was one."""
        return await self._by_account("facts_up_to", network.value, list(wanted), list(wanted.values()))

    async def _by_account(self, query: str, *arguments: Any) -> dict[AccountId, Row]:
        found = await self._fetch(query, *arguments)
        return {AccountId(key): row for key, row in map(_row, found)}


def _row(found: asyncpg.Record) -> tuple[str, Row]:
    version, balance = found["balance_ledger"], found["balance_stroops"]
    return found["public_key"], Row(
        version=None if version is None else Ledger(version),
        balance_stroops=None if balance is None else Stroops(balance),
        authorized=found["authorized"],
        held=found["held"],
    )
