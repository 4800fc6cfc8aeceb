"""The world of a stream's test."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest
from aiokafka.structs import TopicPartition

from sandbox import world
from sandbox.broker import EmbeddedBroker
from sandbox.horizon import Horizon
from sandbox.horizon_instance import Options
from schema.service import kafka
from schema.stellar import Stroops
from tests.fixtures_brokers import Broker
from tests.integration.producers.scene import UNIT, Scene

PARTITIONS = 3


@pytest.fixture
async def scene(
    database_url: str, connection: asyncpg.Connection, embedded_broker: EmbeddedBroker
) -> AsyncIterator[Scene]:
    """Ten wallets with 100 units each; no rows yet; ledgers close when told to and streams hear of them at once."""
    broker = Broker(node=embedded_broker)
    topic = await broker.new_topic(PARTITIONS)
    chain, people = world.build(seed=11, wallets=10, started_at=datetime.now(UTC), wallet_stroops=Stroops(100 * UNIT))
    consumer = kafka.consumer(broker.settings, client_id="test", group_id=None)
    await consumer.start()
    consumer.assign([TopicPartition(topic, partition) for partition in range(PARTITIONS)])
    await consumer.seek_to_beginning()
    try:
        async with Horizon(chain, people, options=Options(stream_check_s=0)) as horizon:
            yield Scene(
                horizon=horizon,
                connection=connection,
                database_url=database_url,
                kafka=broker.settings,
                topic=topic,
                consumer=consumer,
            )
    finally:
        await consumer.stop()


@pytest.fixture
async def mortal(scene: Scene) -> AsyncIterator[Broker]:
    """A broker of this test alone, with the scene's topic: it may be frozen."""
    broker = EmbeddedBroker.start()
    await asyncio.to_thread(broker.create_topic, scene.topic, PARTITIONS)
    yield Broker(node=broker)
    broker.kill()
