"""The ways to take the events in, each timed."""

import inspect
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, Final
from unittest.mock import patch

import asyncpg

from bench.consumer_world import POLICY, USDC, EncodedRecord, unseen_wallet
from consumer import store
from consumer.batch import Wallets, decide_batch
from consumer.records import Reader
from consumer.store import Store
from schema import deposit_result
from schema.service.database import open_pool
from schema.stellar import AccountId, Network

PARTS: Final = ("decode", "lock and load", "decide", "write", "begin and commit")
READER: Final = Reader(network=Network.TESTNET, asset=USDC, results_topic=deposit_result.TOPIC)
SNAPSHOT_COLUMNS: Final = (
    *("id", "user_id", "wallet_id", "usdc_balance", "previous_balance", "snapshot_type", "auto_deposit_triggered"),
    *("deposit_amount", "transaction_hash", "created_at", "ledger", "event_id", "command_id", "observed_at"),
    "authorized",
)

OnProgress = Callable[[int, int], None]  # events done, events in all


@dataclass(slots=True)
class Times:
    """Seconds, in all and by what they were spent on, and what came of it."""

    events: int = 0
    total_s: float = 0.0
    parts_s: dict[str, float] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def events_per_s(self) -> float:
        return self.events / self.total_s

    @contextmanager
    def batch(self, events: int) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.total_s += time.perf_counter() - began
        self.events += events

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.parts_s[name] = self.parts_s.get(name, 0.0) + time.perf_counter() - began


async def path(url: str, records: Sequence[EncodedRecord], batch_events: int, on_progress: OnProgress) -> Times:
    """Our path, as the consumer's loop takes it but without Kafka: one batch after the other over one connection."""
    times = Times()
    pool = await open_pool(url, connections_max=1, application_name="bench")
    recorder = Store(pool=pool, network=Network.TESTNET, asset=USDC, default_policy=POLICY)
    with _parts_timed(times):
        for batch in _batches(records, batch_events):
            with times.batch(len(batch)):
                with times.part("decode"):
                    arrived = READER.read(batch)
                writes = await recorder.record(arrived)
            times.counts.update(writes.counts)
            times.counts["commands"] += len(writes.commands)
            on_progress(times.events, len(records))
    await pool.close()
    times.parts_s["begin and commit"] = times.total_s - sum(times.parts_s.values())
    return times


@contextmanager
def _parts_timed(times: Times) -> Iterator[None]:
    """The consumer itself carries no stop-watch: its parts are wrapped here, from outside."""
    with ExitStack() as patches:
        for owner, name, part in (
            (Store, "_lock", "lock and load"),
            (Store, "_with_commands", "lock and load"),
            (store, "decide_batch", "decide"),
            (store, "_write", "write"),
        ):
            patches.enter_context(patch.object(owner, name, _timed(getattr(owner, name), times, part)))
        yield


def _timed(function: Callable[..., Any], times: Times, part: str) -> Callable[..., Any]:
    async def timed_coroutine(*arguments: Any) -> Any:
        with times.part(part):
            return await function(*arguments)

    def timed_function(*arguments: Any) -> Any:
        with times.part(part):
            return function(*arguments)

    return timed_coroutine if inspect.iscoroutinefunction(function) else timed_function


async def written_snapshots(url: str, batch_events: int) -> list[bytes]:
    """The snapshots that a path left, in the order it wrote them, in COPY's own binary form, a batch each."""
    connection = await asyncpg.connect(url)
    rows = await connection.fetchval("select count(*) from balance_snapshots")
    batches = []
    for start in range(0, rows, batch_events):
        target = BytesIO()
        await connection.copy_from_query(
            f"select {', '.join(SNAPSHOT_COLUMNS)} from balance_snapshots order by ctid limit $1 offset $2",  # noqa: S608
            batch_events,
            start,
            output=target,
            format="binary",
        )
        batches.append(target.getvalue())
    await connection.close()
    return batches


async def copy(url: str, batches: Sequence[bytes], batch_events: int, on_progress: OnProgress) -> Times:
    """The ceiling: the same rows into the same table and indexes, with nothing to decide and nothing to encode."""
    times = Times()
    connection = await asyncpg.connect(url)
    for batch in batches:
        with times.batch(batch_events):
            await connection.copy_to_table(
                "balance_snapshots", source=BytesIO(batch), columns=SNAPSHOT_COLUMNS, format="binary"
            )
        on_progress(times.events, len(batches) * batch_events)
    times.events = await connection.fetchval("select count(*) from balance_snapshots")
    await connection.close()
    return times


def decode(records: Sequence[EncodedRecord], batch_events: int, on_progress: OnProgress) -> Times:
    """The decoder alone."""
    times = Times()
    for batch in _batches(records, batch_events):
        with times.batch(len(batch)):
            READER.read(batch)
        on_progress(times.events, len(records))
    return times


def decide(
    records: Sequence[EncodedRecord], accounts: Sequence[AccountId], batch_events: int, on_progress: OnProgress
) -> Times:
    """The decision alone, over wallets in memory."""
    times = Times()
    states = {state.wallet_id: state for state in map(unseen_wallet, accounts)}
    wallets = Wallets(
        states=states,
        policies=dict.fromkeys(states, POLICY),
        by_account={state.account_id: wallet_id for wallet_id, state in states.items()},
        by_command={},
    )
    now = datetime.now(UTC)
    for batch in _batches(records, batch_events):
        arrived = READER.read(batch)
        with times.batch(len(batch)):
            decide_batch(arrived, wallets, now)
        on_progress(times.events, len(records))
    return times


def _batches(records: Sequence[EncodedRecord], batch_events: int) -> Iterator[Sequence[EncodedRecord]]:
    for start in range(0, len(records), batch_events):
        yield records[start : start + batch_events]
