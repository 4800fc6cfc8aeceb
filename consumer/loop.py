"""The main path: take a batch from Kafka, record it in one transaction, then commit its offsets. In that order, always.

A crash between any two steps replays the batch, and a replayed batch changes nothing.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from consumer import metrics
from consumer.batch import Writes
from consumer.dead_letters import DeadLetter
from consumer.records import Arrived, Reader, refusal
from consumer.store import REFUSED, Store
from schema.service import kafka
from schema.service.database import retrying
from schema.service.pausing import wait

log = structlog.get_logger(__name__)

POLL_TIMEOUT_MS: Final = 500
REVOKE_TIMEOUT_S: Final = 10.0  # a batch takes milliseconds: after this the others' locks and versions protect the data
RECONNECT_DELAY_S: Final = 1.0
STOP_DEADLINE_S: Final = 5.0
STUCK_AFTER_S: Final = 15.0  # records are there and none comes: aiokafka can stay silent after a broker's restart


class Loop:
    """Consumes balance events and deposit results until told to stop. `on_recorded` hears of each committed batch."""

    def __init__(  # noqa: PLR0913 - what the path leads through
        self,
        *,
        open_consumer: Callable[[], AIOKafkaConsumer],
        topics: Sequence[str],
        reader: Reader,
        store: Store,
        batch_events_max: int,
        on_recorded: Callable[[Writes], None],
    ) -> None:
        self._open_consumer = open_consumer
        self._topics = topics
        self._reader = reader
        self._store = store
        self._batch_events_max = batch_events_max
        self._on_recorded = on_recorded
        self._idle = asyncio.Event()  # clear while a batch is between Kafka and its committed offsets
        self._idle.set()
        self._heard_at = time.monotonic()
        self.trouble = "not started"

    async def run(self, stopping: asyncio.Event) -> None:
        """Follow the topics; when the broker goes away, wait and start over."""
        while not stopping.is_set():
            consumer = self._open_consumer()
            try:
                await consumer.start()
                consumer.subscribe(self._topics, listener=_Drain(self._idle))
                log.info("consumer is up", topics=list(self._topics))
                await self._follow(consumer, stopping)
            except (KafkaError, OSError) as error:
                self.trouble = f"Kafka is away: {error!r}"
                log.warning("broker is away, trying again", error=repr(error)[:300], wait_s=RECONNECT_DELAY_S)
            finally:
                await kafka.stop_consumer(consumer, deadline_s=STOP_DEADLINE_S)
            await wait(stopping, seconds=RECONNECT_DELAY_S)

    async def _follow(self, consumer: AIOKafkaConsumer, stopping: asyncio.Event) -> None:
        self._heard_at = time.monotonic()
        while not stopping.is_set():
            fetched = await consumer.getmany(timeout_ms=POLL_TIMEOUT_MS, max_records=self._batch_events_max)
            if fetched:
                self._idle.clear()
                try:
                    await self._take_in(consumer, fetched)
                finally:
                    self._idle.set()
                self._heard_at = time.monotonic()
            elif await self._is_stuck(consumer):
                log.warning("records are there and none comes: starting the consumer anew")
                return
            self.trouble = ""

    async def _take_in(self, consumer: AIOKafkaConsumer, fetched: dict[TopicPartition, list[Any]]) -> None:
        records = [record for batch in fetched.values() for record in batch]
        began = time.perf_counter()
        await self._record(self._reader.read(records))
        await _commit(consumer, {partition: batch[-1].offset + 1 for partition, batch in fetched.items()})
        metrics.BATCH_SECONDS.observe(time.perf_counter() - began)
        metrics.BATCH_RECORDS.observe(len(records))
        metrics.LAG.set(sum(_left_behind(consumer, partition, batch) for partition, batch in fetched.items()))

    async def _record(self, arrived: Sequence[Arrived]) -> None:
        """One transaction; what the database refuses is cornered by halves, kept as a dead letter, the rest goes on."""
        try:
            async for attempt in retrying("record a batch"):
                with attempt:
                    writes = await self._store.record(arrived)
        except REFUSED as error:
            if len(arrived) > 1:
                half = len(arrived) // 2
                await self._record(arrived[:half])
                await self._record(arrived[half:])
                return
            if arrived[0].refusal is not None:
                raise  # not even its dead letter is taken: a bug
            letter = refusal(arrived[0].record, "refused_by_database", f"{type(error).__name__}: {error}")
            await self._record([Arrived(record=arrived[0].record, refusal=letter)])
            return
        metrics.count(writes)
        for letter in writes.dead_letters:
            _log_refusal(letter)
        self._on_recorded(writes)

    async def _is_stuck(self, consumer: AIOKafkaConsumer) -> bool:
        """Whether silence is more than silence: the end of a partition is beyond our place, and nothing was fetched."""
        if time.monotonic() - self._heard_at < STUCK_AFTER_S:
            return False
        self._heard_at = time.monotonic()
        held = consumer.assignment()
        ends = await consumer.end_offsets(held) if held else {}
        lag: int = sum([max(end - await consumer.position(partition), 0) for partition, end in ends.items()])
        metrics.LAG.set(lag)
        return lag > 0


class _Drain(ConsumerRebalanceListener):  # type: ignore[misc]
    """Before partitions go to another member, the batch in hand is recorded and its offsets are committed."""

    def __init__(self, idle: asyncio.Event) -> None:
        self._idle = idle

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        if revoked and not self._idle.is_set():
            await wait(self._idle, seconds=REVOKE_TIMEOUT_S)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        log.info("partitions assigned", partitions=sorted(f"{p.topic}/{p.partition}" for p in assigned))


def _left_behind(consumer: AIOKafkaConsumer, partition: TopicPartition, batch: Sequence[Any]) -> int:
    """How many records the partition has behind this batch, as far as the last fetch told."""
    end: int = (consumer.highwater(partition) if partition in consumer.assignment() else None) or 0
    taken: int = batch[-1].offset + 1
    return max(end - taken, 0)


async def _commit(consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
    """Progress, after the effect. When it is not taken the records come again, to us or another, and change nothing."""
    try:
        await consumer.commit(offsets)
    except (KafkaError, IllegalStateError) as error:
        log.warning("offsets not committed, the records will come again", error=repr(error)[:300])


def _log_refusal(letter: DeadLetter) -> None:
    log.error(
        "record refused and kept as a dead letter",
        topic=letter.topic,
        partition=letter.partition,
        offset=letter.offset,
        reason=letter.reason,
        detail=letter.detail[:500],
    )
