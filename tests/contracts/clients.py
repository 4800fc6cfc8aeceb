"""Our own clients, as the processes make them, closed when the test ends."""

import asyncio
import uuid
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from schema.service import kafka
from schema.service.kafka import Record
from schema.service.settings import KafkaSettings

READ_DEADLINE_S = 60.0
SEND_DEADLINE_S = 60.0
STOP_DEADLINE_S = 20.0
SESSION = {"session_timeout_ms": 2_000, "heartbeat_interval_ms": 500}  # the embedded broker lets it pass at each rejoin


def new_group() -> str:
    """A consumer group that nobody else has."""
    return f"group.{uuid.uuid4()}"


class Clients:
    """Makes clients of one broker."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producers: list[AIOKafkaProducer] = []
        self._consumers: list[AIOKafkaConsumer] = []

    async def producer(self) -> AIOKafkaProducer:
        """A started producer."""
        producer = kafka.producer(self._settings, client_id="test")
        self._producers.append(producer)
        await producer.start()
        return producer

    async def send(self, topic: str, values: Iterable[bytes], *, key: bytes = b"key") -> None:
        """Send these values, acked, by a producer of their own."""
        producer = await self.producer()
        records = [Record(topic=topic, key=key, value=value) for value in values]
        await kafka.send_all(producer, records, deadline_s=SEND_DEADLINE_S)

    async def consumer(self, *topics: str, group_id: str | None = None, **options: Any) -> AIOKafkaConsumer:
        """A started consumer; without a group it reads every partition from the beginning."""
        settings = {**(SESSION if group_id else {}), **options}
        consumer = kafka.consumer(self._settings, *topics, client_id="test", group_id=group_id, **settings)
        self._consumers.append(consumer)
        await consumer.start()
        return consumer

    async def read(self, topic: str, count: int) -> list[ConsumerRecord[bytes, bytes]]:
        """The topic's first `count` records."""
        return await read(await self.consumer(topic), count)

    async def close(self) -> None:
        """Stop every client."""
        for consumer in self._consumers:
            await kafka.stop_consumer(consumer, deadline_s=STOP_DEADLINE_S)
        for producer in self._producers:
            await kafka.stop(producer, deadline_s=STOP_DEADLINE_S)


async def read(consumer: AIOKafkaConsumer, count: int) -> list[ConsumerRecord[bytes, bytes]]:
    """The next `count` records of a consumer; TimeoutError when they do not come."""
    records: list[ConsumerRecord[bytes, bytes]] = []
    async with asyncio.timeout(READ_DEADLINE_S):
        while len(records) < count:
            batches = await consumer.getmany(timeout_ms=200)
            records.extend(record for batch in batches.values() for record in batch)
    return records


def partitions(topic: str, count: int) -> list[TopicPartition]:
    """The topic's partitions, in order."""
    return [TopicPartition(topic, number) for number in range(count)]
