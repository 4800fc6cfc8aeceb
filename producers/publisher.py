"""Facts to Kafka: sent, acked, or sent again, for as long as it takes."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import stamina
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schema import balance_event, cloud_events
from schema.balance_event import BalanceEvent
from schema.service import kafka
from schema.service.readiness import Readiness
from schema.service.settings import KafkaSettings

log = structlog.get_logger(__name__)

ACKS_WITHIN_S: Final = 7.0  # a bit more than one request has
STOP_WITHIN_S: Final = 1.0
ASK_EVERY_S: Final = 5.0
FACTS_AT_ONCE: Final = 500
MOVEMENTS_AT_ONCE: Final = 50_000  # some 15 MB in memory
AGAIN_S_MAX: Final = 1.0


class Publisher:
    """One idempotent producer at a time. After a failure another one takes its place and sends the same facts again."""

    def __init__(
        self, settings: KafkaSettings, *, client_id: str, source: str, topic: str, readiness: Readiness
    ) -> None:
        self._settings = settings
        self._client_id = client_id
        self._source = source
        self._topic = topic
        self._readiness = readiness
        self._producer: AIOKafkaProducer | None = None

    async def publish(self, events: Sequence[BalanceEvent]) -> None:
        """Return when every fact is acked, however long that takes."""
        portion: list[BalanceEvent] = []
        movements = 0
        for event in events:
            portion.append(event)
            movements += len(event.movements or ())
            if len(portion) == FACTS_AT_ONCE or movements >= MOVEMENTS_AT_ONCE:
                await self._publish(portion)
                portion, movements = [], 0
        if portion:
            await self._publish(portion)

    async def connect(self) -> None:
        """Return when the brokers answer."""
        await self._publish([])

    async def watch(self) -> None:
        """Ask the brokers for a sign of life, for ever: facts may be rare, and the readiness page must be true."""
        while True:
            await asyncio.sleep(ASK_EVERY_S)
            if self._producer is None:
                continue  # a publish is at it, and says so
            try:
                async with asyncio.timeout(ACKS_WITHIN_S):
                    cluster = await self._producer.client.fetch_all_metadata()
            except (KafkaError, TimeoutError, OSError) as error:
                self._readiness.down("broker", f"no sign of life: {error!r}")
                continue
            if cluster.partitions_for_topic(self._topic):
                self._readiness.up("broker")
            else:
                self._readiness.down("broker", f"{self._topic} is not there: run `python -m schema topics`")

    async def close(self) -> None:
        """Give the producer up."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await kafka.stop(producer, deadline_s=STOP_WITHIN_S)

    async def _publish(self, events: list[BalanceEvent]) -> None:
        """With no events: return when the brokers answer."""

        def is_transient(error: Exception) -> bool:
            if not isinstance(error, KafkaError | kafka.Undelivered | kafka.TooLarge | TimeoutError | OSError):
                return False
            self._readiness.down("broker", f"{type(error).__name__}: {error}")
            return True

        async for attempt in stamina.retry_context(
            on=is_transient, attempts=None, timeout=None, wait_initial=0.1, wait_max=AGAIN_S_MAX, wait_jitter=0.3
        ):
            with attempt:
                await self._try(events)
        self._readiness.up("broker")

    async def _try(self, events: list[BalanceEvent]) -> None:
        producer = self._producer or await self._start()
        try:
            await kafka.send_all(producer, [self._record(event) for event in events], deadline_s=ACKS_WITHIN_S)
        except kafka.TooLarge as large:
            events[large.index] = _without_movements(events[large.index], str(large))
            raise
        except BaseException:
            await self.close()  # what it still holds must not be sent behind what its successor sends
            raise

    async def _start(self) -> AIOKafkaProducer:
        producer = kafka.producer(self._settings, client_id=self._client_id)
        try:
            await kafka.start_producer(producer)
        except BaseException:
            await kafka.stop(producer, deadline_s=STOP_WITHIN_S)
            raise
        self._producer = producer
        return producer

    def _record(self, event: BalanceEvent) -> kafka.Record:
        return kafka.Record(
            topic=self._topic,
            key=balance_event.key(event),
            value=balance_event.encode(event),
            headers=cloud_events.headers(
                type_=balance_event.TYPE, id_=str(event.event_id), source=self._source, trace=event.event_id
            ),
        )


def _without_movements(event: BalanceEvent, reason: str) -> BalanceEvent:
    """The fact without its movements: the brokers take less than we do, and the balance must not wait for that."""
    if event.movements is None:
        raise AssertionError(f"a fact without movements is too large: {reason}")
    log.warning(
        "fact too large, told without its movements",
        account_id=event.account_id,
        movements=len(event.movements),
        reason=reason,
    )
    return replace(event, movements_since=None, movements=None)
