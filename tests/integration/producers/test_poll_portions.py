"""The poller's portions of very many wallets, on a real PostgreSQL."""

import asyncio
import time
from uuid import uuid4

import asyncpg

from producers.poll import round as poll_round
from producers.poll.compare import TellingMemory
from producers.poll.gaps import Gaps
from producers.poll.metrics import PollMetrics
from producers.poll.round import Round
from producers.poll.store import PollStore
from producers.progress import Steps
from schema.stellar import Network
from tests.integration.producers.scene import Scene
from tests.people import account_id

WALLETS = poll_round.PORTION_WALLETS + 3_000
BLOCKED_S_MAX = 0.1  # of this thread's own work: what else the machine does is not counted


async def test_very_many_rows_block_nothing(scene: Scene, connection: asyncpg.Connection) -> None:
    """Every wallet is in one portion, a full one as large as pages of holders want it; and while the rows come nothing
    else waits for a tenth of a second of our work.
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
    longest_s = 0.0

    async def watch() -> None:
        nonlocal longest_s
        before_s = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now_s = time.thread_time()
            longest_s, before_s = max(longest_s, now_s - before_s), now_s

    async with scene.parts() as parts:
        store = await PollStore.open(scene.database_url)
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
        watching = asyncio.create_task(watch())
        portions = [portion async for portion in round_._portions(every=True)]
        watching.cancel()
        await store.close()
    assert [len(portion) for portion in portions] == [poll_round.PORTION_WALLETS, 3_000]
    assert {each for portion in portions for each in portion} == {key for _, key in rows}
    assert (round_.report.wallets, round_.report.unchanged) == (WALLETS, 0)
    assert longest_s < BLOCKED_S_MAX
