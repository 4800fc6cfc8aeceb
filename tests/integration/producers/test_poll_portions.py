"""The poller's portions of very many wallets, on a real PostgreSQL."""

from collections.abc import Sequence
from uuid import uuid4

import asyncpg

from producers.poll import round as poll_round
from producers.poll.compare import TellingMemory
from producers.poll.gaps import Gaps
from producers.poll.metrics import PollMetrics
from producers.poll.round import Round
from producers.poll.store import PollStore
from producers.progress import Steps
from producers.wallet import Stored
from schema.stellar import Network
from tests.integration.producers.scene import Scene
from tests.people import account_id

WALLETS = poll_round.PORTION_WALLETS + 3_000
ROWS_MAX = 5_000  # some 60 ms


class Counting(PollStore):
    """Notes how many rows came at once: nothing else has its turn while they are made into wallets."""

    rows_max = 0

    async def portion(
        self, network: Network, *, after: str, every: bool, wallets_max: int
    ) -> Sequence[tuple[str, Stored]]:
        rows = await super().portion(network, after=after, every=every, wallets_max=wallets_max)
        self.rows_max = max(self.rows_max, len(rows))
        return rows


async def test_very_many_rows_block_nothing(scene: Scene, connection: asyncpg.Connection) -> None:
    """Every wallet is in one portion, a full one as large as pages of holders want it; and its rows come few enough at
    a time that nothing else waits for them.
    """
    rows = [(uuid4(), account_id(f"portion {number}")) for number in range(WALLETS)]
    await connection.copy_records_to_table(
        "users", schema_name="auth", columns=["id"], records=[row[:1] for row in rows]
    )
    await connection.copy_records_to_table(
        "stellar_wallets",
        columns=["user_id", "public_key", "network", "balance_ledger", "previous_usdc_balance", "balance_authorized"],
        records=[(*row, "testnet", 7, 1, True) for row in rows],
    )
    async with scene.parts() as parts:
        store = await Counting.open(scene.database_url)
        metrics = PollMetrics(parts.metrics.registry)
        round_ = Round(
            parts,
            store,
            memory=TellingMemory(),
            gaps=Gaps(store, Network.TESTNET, metrics),
            metrics=metrics,
            steps=Steps(console=None),
            patience_s=10.0,
            reads_at_once=16,
        )
        portions = [portion async for portion in round_._portions(every=True)]
        await store.close()
    assert [len(portion) for portion in portions] == [poll_round.PORTION_WALLETS, 3_000]
    assert {each for portion in portions for each in portion} == {key for _, key in rows}
    assert (round_.report.wallets, round_.report.unchanged) == (WALLETS, 0)
    assert store.rows_max <= ROWS_MAX
