"""A consumer for a stream's world: what comes through the topic is decided on and recorded, by the consumer's parts.
And the judge of a comparison: the chain itself, at the ledger that was named.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka.structs import TopicPartition

from consumer.records import Reader
from consumer.store import Store
from consumer.wallet import Policy
from producers.progress import Steps
from producers.reconcile.command import repair
from producers.reconcile.proof import Comparison, Pace
from producers.reconcile.report import Report
from producers.reconcile.store import RowStore
from schema.service import kafka
from schema.service.database import open_pool
from schema.stellar import Network
from tests.integration.producers.scene import Scene
from tests.unit.consumer.worlds import POLICY

PARTITIONS = 3
PACE = Pace(wait_s=3.0, patience_s=20.0, quiet_s=2.0)


@asynccontextmanager
async def recording(scene: Scene, *, policy: Policy = POLICY) -> AsyncIterator[None]:
    """Whatever lies in the topic, from its beginning on, is recorded for the length of the block."""
    pool = await open_pool(scene.database_url, connections_max=2, application_name="recorder")
    store = Store(pool=pool, network=Network.TESTNET, asset=scene.people.asset, default_policy=policy)
    reader = Reader(network=Network.TESTNET, asset=scene.people.asset, results_topic="none")
    consumer = kafka.consumer(scene.kafka, client_id="recorder", group_id=None)
    await consumer.start()
    consumer.assign([TopicPartition(scene.topic, partition) for partition in range(PARTITIONS)])
    await consumer.seek_to_beginning()

    async def record() -> None:
        while True:
            for records in (await consumer.getmany(timeout_ms=50)).values():
                await store.record(reader.read(records))

    task = asyncio.create_task(record())
    try:
        yield
    finally:
        task.cancel()
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        finally:
            await consumer.stop()
            await pool.close()


async def compare(scene: Scene, *, pace: Pace = PACE, mend: bool = False, rpc: bool = False) -> Report:
    """What `python -m producers reconcile` finds, with `mend` with `--repair`."""
    async with scene.parts(rpc=rpc) as parts:
        rows = await RowStore.open(scene.database_url)
        steps = Steps(console=None)
        try:
            comparison = Comparison(parts, rows, steps, pace)
            await comparison.prove()
            repaired = await repair(comparison, parts, steps, pace) if mend else None
        finally:
            await rows.close()
    return Report(comparison, repaired)


def kinds(report: Report) -> dict[str, str]:
    """Account to what is the matter with it."""
    return {each["account_id"]: each["kind"] for each in report.found()}


async def judge(scene: Scene, report: Report) -> None:
    """Who was found equal, and not counted apart, held at the named ledger on the chain what its row says, or,
    where the row has moved on, what was recorded before.
    """
    comparison = report.comparison
    out = {*comparison.differing, *comparison.apart, *comparison.gone}
    for number in range(len(comparison.book)):
        if number in out:
            continue
        account_id = comparison.book.accounts[number]
        account = scene.chain.state.account(account_id, as_of=comparison.ledger)
        line = account.trustlines.get(scene.people.asset) if account else None
        held = (line.balance_stroops, line.authorized) if line else (0, False)
        row = comparison.book.row(number)
        said = (row.balance_stroops, row.authorized)
        if comparison.book.is_recalled(number):
            recorded = await scene.connection.fetchrow(
                """select (s.usdc_balance * 10000000)::bigint as balance, s.authorized
                   from public.balance_snapshots s join public.stellar_wallets w on w.id = s.wallet_id
                   where w.public_key = $1 and s.ledger <= $2 and s.snapshot_type <> 'auto_deposit_trigger'
                   order by s.ledger desc limit 1""",
                account_id,
                max(comparison.ledger, comparison.book.state(number).observed),
            )
            assert recorded is not None, account_id
            said = tuple(recorded)
        assert said == held, f"{account_id} at ledger {comparison.ledger}"
