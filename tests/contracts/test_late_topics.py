"""Topics that are not there when a consumer begins, or go away under it."""

import asyncio
import uuid

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from sandbox.apache_kafka import ApacheKafka
from schema.service import kafka
from tests.contracts.clients import Clients, new_group, read
from tests.fixtures_brokers import Broker

NOTICED_S = 30.0  # aiokafka by itself looks every five minutes


async def make(admin: AIOKafkaAdminClient, topic: str) -> None:
    response = await admin.create_topics([NewTopic(topic, 1, 1)])
    assert response.topic_errors[0][1] == 0, response.topic_errors


@pytest.mark.kafka
async def test_a_topic_that_is_made_late_is_read_soon(apache_kafka: ApacheKafka) -> None:
    """A consumer that was there first, or whose topic was deleted and made anew, reads it within half a minute."""
    broker = Broker(node=apache_kafka)
    clients, topic = Clients(broker.settings), f"late.{uuid.uuid4()}"
    admin = AIOKafkaAdminClient(**kafka.connection(broker.settings))
    await admin.start()
    try:
        consumer = await clients.consumer(group_id=new_group())
        consumer.subscribe([topic])
        assert await consumer.getmany(timeout_ms=1_000) == {}
        await make(admin, topic)
        await clients.send(topic, [b"one"])
        async with asyncio.timeout(NOTICED_S):
            assert [record.value for record in await read(consumer, 1)] == [b"one"]
        await admin.delete_topics([topic])
        async with asyncio.timeout(NOTICED_S):
            while consumer.assignment():
                await consumer.getmany(timeout_ms=200)
        await make(admin, topic)
        await clients.send(topic, [b"two"])
        async with asyncio.timeout(NOTICED_S):
            assert [record.value for record in await read(consumer, 1)] == [b"two"]
    finally:
        await admin.close()
        await clients.close()
