"""The main path: take a batch from Kafka, record it in one transaction, then commit its offsets. In that order, always.

A crash between any two steps replays the batch, and a replayed batch changes nothing.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from consumer import metrics
from consumer.batch import Writes
from consumer.dead_letters import DeadLetter
from consumer.records import Arrived, Reader, refusal
from consumer.store import REFUSED, TOO_SLOW, Store
from schema.service import kafka
from schema.service.database import retrying
from schema.service.pausing import wait
from schema.service.readiness import Readiness

log = structlog.get_logger(__name__)

POLL_TIMEOUT_MS: Final = 500
REVOKE_TIMEOUT_S: Final = 10.0  # a batch takes milliseconds: after this the others' locks and versions protect the data
RECONNECT_DELAY_S: Final = 0.5
STOP_DEADLINE_S: Final = 3.0
ANSWER_WITHIN_S: Final = 7.0  # a bit more than one request has
SILENT_AFTER_S: Final = 2.0  # so long without a record: ask whether there are any
STUCK_AFTER_S: Final = 6.0  # records are there and none came for so long; twice as long after each vain restart
GIVEN_UP_AFTER_S: Final = 60.0  # aiokafka finds its brokers again by itself, nearly always
JOINED_WITHIN_S: Final = 5.0  # longer than this without partitions is not ready


class _Stuck(KafkaError):  # type: ignore[misc]
    """Records are there and none comes: aiokafka can stay silent after a broker's restart."""


class _TooMuch(Exception):
    """So many records were not recorded in time."""


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
        readiness: Readiness,
    ) -> None:
        self._open_consumer = open_consumer
        self._topics = topics
        self._reader = reader
        self._store = store
        self._batch_events_max = batch_events_max
        self._on_recorded = on_recorded
        self._readiness = readiness
        self._membership = _Membership()
        self._asked_at = self._answered_at = 0.0
        self._behind: dict[TopicPartition, int] = {}
        self._behind_since = 0.0
        self._patience_s = STUCK_AFTER_S

    async def run(self, stopping: asyncio.Event) -> None:
        """Follow the topics; when the broker goes away, wait and start over."""
        self._readiness.down("kafka", "not connected yet")
        self._readiness.watch(self._membership.unready)
        while not stopping.is_set():
            consumer = self._open_consumer()
            try:
                await consumer.start()
                consumer.subscribe(self._topics, listener=self._membership)
                log.info("consumer is up", topics=list(self._topics))
                await self._follow(consumer, stopping)
            except (KafkaError, OSError) as error:
                self._readiness.down("kafka", f"away: {error!r}")
                log.warning("broker is away, trying again", error=repr(error)[:300], wait_s=RECONNECT_DELAY_S)
            finally:
                self._membership.left()
                await kafka.stop_consumer(consumer, deadline_s=STOP_DEADLINE_S)
            await wait(stopping, seconds=RECONNECT_DELAY_S)

    async def _follow(self, consumer: AIOKafkaConsumer, stopping: asyncio.Event) -> None:
        self._asked_at = self._answered_at = time.monotonic()
        self._behind = {}
        while not stopping.is_set():
            fetched = await consumer.getmany(timeout_ms=POLL_TIMEOUT_MS, max_records=self._batch_events_max)
            if fetched:
                with self._membership.busy():
                    is_committed = await self._take_in(consumer, fetched)
                if is_committed:
                    self._heard(consumer)
            elif time.monotonic() - self._asked_at >= SILENT_AFTER_S:
                await self._ask(consumer)

    def _heard(self, consumer: AIOKafkaConsumer, *, records: bool = True) -> None:
        if records:
            self._behind, self._patience_s = {}, STUCK_AFTER_S
        self._asked_at = self._answered_at = time.monotonic()
        self._readiness.up("kafka")
        missing = [topic for topic in self._topics if not consumer.partitions_for_topic(topic)]
        if missing:  # of which a group knows nothing: it hands out what there is
            self._readiness.down("topics", f"not there: {', '.join(missing)}: run `python -m schema topics`")
        else:
            self._readiness.up("topics")

    async def _take_in(self, consumer: AIOKafkaConsumer, fetched: dict[TopicPartition, list[Any]]) -> bool:
        """Record them, then commit their offsets: whether the brokers took these."""
        records = [record for batch in fetched.values() for record in batch]
        began = time.perf_counter()
        await self._record(self._reader.read(records))
        offsets = {partition: batch[-1].offset + 1 for partition, batch in fetched.items()}
        is_committed = await self._commit(consumer, offsets)
        metrics.BATCH_SECONDS.observe(time.perf_counter() - began)
        metrics.BATCH_RECORDS.observe(len(records))
        metrics.LAG.set(sum(_left_behind(consumer, partition, batch) for partition, batch in fetched.items()))
        return is_committed

    async def _record(self, arrived: Sequence[Arrived]) -> None:
        """One transaction; what the database refuses is cornered by halves, kept as a dead letter, the rest goes on.

        What it does not do in time is tried by halves, too: the same again would take as long again, for ever.
        """
        try:
            async for attempt in retrying("record a batch", self._readiness):
                with attempt:
                    writes = await self._recorded_in_time(arrived)
        except (*REFUSED, _TooMuch) as error:
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
        self._readiness.up("database")
        metrics.count(writes)
        for letter in writes.dead_letters:
            _log_refusal(letter)
        self._on_recorded(writes)

    async def _recorded_in_time(self, arrived: Sequence[Arrived]) -> Writes:
        try:
            return await self._store.record(arrived)
        except TOO_SLOW as error:
            if len(arrived) == 1:
                raise
            log.warning("a batch took too long, trying its halves", records=len(arrived), error=repr(error)[:300])
            raise _TooMuch from error

    async def _commit(self, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> bool:
        """Progress, after the effect. Records whose offsets are not taken come again, and change nothing."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):  # by itself aiokafka tries for ever
                await consumer.commit(offsets)
        except (KafkaError, TimeoutError) as error:
            self._readiness.down("kafka", f"offsets not committed: {error!r}")
            log.warning("offsets not committed, the records will come again", error=repr(error)[:300])
            return False
        return True

    async def _ask(self, consumer: AIOKafkaConsumer) -> None:
        """Whether silence is more than silence: whether the brokers answer, and have records beyond our places."""
        self._asked_at = time.monotonic()
        held = consumer.assignment()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                if not held:
                    await consumer.topics()  # a member without partitions lives, too
                ends = await consumer.end_offsets(held) if held else {}
                places = {partition: await consumer.position(partition) for partition in ends}
        except (KafkaError, TimeoutError) as error:
            silent_s = time.monotonic() - self._answered_at
            self._readiness.down("kafka", f"silent for {silent_s:.0f} s: {error!r}")
            if silent_s > GIVEN_UP_AFTER_S:
                raise
            return
        behind = {partition: place for partition, place in places.items() if ends[partition] > place}
        metrics.LAG.set(sum(ends[partition] - place for partition, place in behind.items()))
        if not behind.items() & self._behind.items():
            self._behind, self._behind_since = behind, self._asked_at
        elif self._asked_at - self._behind_since >= self._patience_s:
            self._patience_s = min(2 * self._patience_s, GIVEN_UP_AFTER_S)
            raise _Stuck(f"no records came, and there are some behind {behind}")
        self._heard(consumer, records=False)


class _Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """Our place in the group. Before partitions go to another member, the batch in hand is recorded and committed."""

    def __init__(self) -> None:
        self._idle = asyncio.Event()  # clear while a batch is between Kafka and its committed offsets
        self._idle.set()
        self._waits_since_s: float | None = time.monotonic()

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """While a batch is in hand."""
        self._idle.clear()
        try:
            yield
        finally:
            self._idle.set()

    def left(self) -> None:
        """The consumer was stopped."""
        self._waits_since_s = time.monotonic()

    def unready(self) -> Mapping[str, str]:
        """Says so when the group takes long to hand out its partitions."""
        waits_s = 0.0 if self._waits_since_s is None else time.monotonic() - self._waits_since_s
        return {"group": f"no partitions for {waits_s:.0f} s"} if waits_s > JOINED_WITHIN_S else {}

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._waits_since_s = time.monotonic()
        if revoked and not self._idle.is_set():
            await wait(self._idle, seconds=REVOKE_TIMEOUT_S)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._waits_since_s = None  # with none at all it stands by: there are more members than partitions
        log.info("partitions assigned", partitions=sorted(f"{p.topic}/{p.partition}" for p in assigned))


def _left_behind(consumer: AIOKafkaConsumer, partition: TopicPartition, batch: Sequence[Any]) -> int:
    """How many records the partition has behind this batch, as far as the last fetch told."""
    end: int = (consumer.highwater(partition) if partition in consumer.assignment() else None) or 0
    taken: int = batch[-1].offset + 1
    return max(end - taken, 0)


def _log_refusal(letter: DeadLetter) -> None:
    log.error(
        "record refused and kept as a dead letter",
        topic=letter.topic,
        partition=letter.partition,
        offset=letter.offset,
        reason=letter.reason,
        detail=letter.detail[:500],
    )
