"""What the poller asks the database. Reads only."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from producers.poll.compare import Recorded, Version
from producers.store import PoolStore, as_stored
from producers.wallet import Stored
from schema.balance_event import SnapshotType
from schema.service import database
from schema.stellar import AccountId, Ledger, Network

STREAM_ALIVE_S: Final = 60.0  # a stream saves its cursor with every ledger that had a payment


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """Up to which ledger each stream's cursors say that everything is told."""

    passed: Mapping[str, Ledger]
    any_alive: bool


class PollStore(PoolStore):
    """The wallets in portions, and how far others are."""

    queries = database.load_queries(Path(__file__).with_name("queries.sql"))
    application_name = "producers-poll"

    async def portion(
        self, network: Network, *, after: str, every: bool, wallets_max: int
    ) -> Sequence[tuple[str, Stored]]:
        """The next wallets behind this public key, with their keys as stored; without `every` those without a fact."""
        rows = await self._fetch("portion", network.value, after, every, wallets_max)
        return [(row["public_key"], as_stored(row)) for row in rows]

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
