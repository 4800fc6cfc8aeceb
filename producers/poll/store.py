"""What the poller asks the database. Reads only."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from producers.poll.compare import Recorded, Version
from producers.store import CLOSE_WITHIN_S, translated
from producers.wallet import Stored
from schema.balance_event import SnapshotType
from schema.service import database
from schema.stellar import AccountId, Ledger, Network, Stroops

CONNECTIONS_MAX: Final = 2
STREAM_ALIVE_S: Final = 60.0  # a stream saves its cursor with every ledger that had a payment
_QUERIES: Final = database.load_queries(Path(__file__).with_name("queries.sql"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """Up to which ledger each stream's cursors say that everything is told."""

    passed: Mapping[str, Ledger]
    any_alive: bool


class PollStore:
    """The wallets in portions, and how far others are. What a restart or a failover brings is Away: ask again."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @classmethod
    async def open(cls, url: str) -> "PollStore":
        """Connect, however long it takes until the database is there."""
        return cls(await database.open_pool(url, connections_max=CONNECTIONS_MAX, application_name="producers-poll"))

    async def close(self) -> None:
        """Close the connections; at once when they do not close by themselves."""
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    async def portion(
        self, network: Network, *, after: str, every: bool, wallets_max: int
    ) -> Sequence[tuple[str, Stored]]:
        """The next wallets behind this public key, with their keys as stored; without `every` those without a fact."""
        return [
            (
                row["public_key"],
                Stored(
                    account_id=AccountId(row["public_key"]),
                    version=None if row["balance_ledger"] is None else Ledger(row["balance_ledger"]),
                    balance_stroops=Stroops(row["balance_stroops"] or 0),
                    absent=bool(row["absent"]),
                ),
            )
            for row in await self._fetch("portion", network.value, after, every, wallets_max)
        ]

    async def count(self, network: Network, *, every: bool) -> int:
        """How many wallets there are; only those without a fact unless `every`."""
        rows = await self._fetch("counted", network.value, every)
        return int(rows[0][0])

    async def streams(self, network: Network) -> Streams:
        """Every stream of the network."""
        rows = await self._fetch("streams", network.value, STREAM_ALIVE_S)
        return Streams(
            passed={row["stream_name"]: Ledger(row["ledger"]) for row in rows},
            any_alive=any(row["alive"] for row in rows),
        )

    async def recorded(self, wanted: Collection[Version], network: Network) -> dict[Version, Recorded]:
        """What is stored of these versions of wallets; a wallet that has no row is missing."""
        accounts, ledgers = [account_id for account_id, _ in wanted], [ledger for _, ledger in wanted]
        rows = await self._fetch("recorded", network.value, accounts, ledgers)
        return {
            (AccountId(row["public_key"]), Ledger(row["asked"])): Recorded(
                version=None if row["balance_ledger"] is None else Ledger(row["balance_ledger"]),
                snapshot_type=None if row["snapshot_type"] is None else SnapshotType(row["snapshot_type"]),
                observed_at=row["observed_at"],
            )
            for row in rows
        }

    async def _fetch(self, query: str, *arguments: Any) -> Sequence[asyncpg.Record]:
        async with translated(), database.connected(self._pool) as connection:
            rows: Sequence[asyncpg.Record] = await connection.fetch(_QUERIES[query], *arguments)
            return rows


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[PollStore]:
    """The store, closed again in the end."""
    store = await PollStore.open(url)
    try:
        yield store
    finally:
        await store.close()
