"""A broker that is killed, or that keeps its connections and answers nothing: everything of ours still ends in time."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from aiokafka.errors import KafkaConnectionError

from schema.service import kafka
from schema.service.kafka import Record, Undelivered
from tests.contracts.clients import Clients, new_group, read
from tests.fixtures_brokers import Broker

DEADLINE_S = 2.0
SLACK_S = 15.0  # a busy machine; without our deadline these never end
HOW = pytest.mark.parametrize("how", ["killed", "frozen"])


@pytest.fixture
async def clients(mortal_broker: Broker) -> AsyncIterator[Clients]:
    """Clients of the broker that may die; each test closes its own."""
    yield Clients(mortal_broker.settings)
    mortal_broker.node.resume()


def end(broker: Broker, how: str) -> None:
    """Take the broker away."""
    if how == "killed":
        broker.node.kill()
    else:
        broker.node.pause()


def tasks() -> set[asyncio.Task[object]]:
    """What runs besides the test."""
    return asyncio.all_tasks() - {asyncio.current_task()}


@HOW
async def test_a_send_ends_within_its_deadline(
    mortal_broker: Broker, clients: Clients, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The send is Undelivered, stop() gives up what is left, and no task of the producer lives on to send it later."""
    topic = await mortal_broker.new_topic(partitions=3)
    before = tasks()
    producer = await clients.producer()
    records = [Record(topic=topic, key=str(number).encode(), value=b"1") for number in range(100)]
    await kafka.send_all(producer, records, deadline_s=60)
    end(mortal_broker, how)
    async with asyncio.timeout(DEADLINE_S + SLACK_S):
        with pytest.raises(Undelivered):
            await kafka.send_all(producer, records, deadline_s=DEADLINE_S)
    async with asyncio.timeout(DEADLINE_S + SLACK_S):
        await kafka.stop(producer, deadline_s=DEADLINE_S)
    assert tasks() == before
    assert not [record for record in caplog.records if record.name == "asyncio" and record.levelno >= logging.ERROR]


@HOW
async def test_an_idle_producer_stops(mortal_broker: Broker, clients: Clients, how: str) -> None:
    """With nothing left to send, stop() needs no broker."""
    topic = await mortal_broker.new_topic()
    before = tasks()
    producer = await clients.producer()
    await kafka.send_all(producer, [Record(topic=topic, key=b"key", value=b"1")], deadline_s=60)
    end(mortal_broker, how)
    async with asyncio.timeout(DEADLINE_S + SLACK_S):
        await kafka.stop(producer, deadline_s=DEADLINE_S)
    assert tasks() == before


async def test_a_producer_does_not_start_without_a_broker(mortal_broker: Broker) -> None:
    """Starting where nobody listens is an error at once, and what was begun can be stopped."""
    mortal_broker.node.kill()
    producer = kafka.producer(mortal_broker.settings, client_id="test")
    async with asyncio.timeout(SLACK_S):
        with pytest.raises(KafkaConnectionError):
            await producer.start()
        await kafka.stop(producer, deadline_s=DEADLINE_S)


@HOW
async def test_a_consumer_stops_within_its_deadline(mortal_broker: Broker, clients: Clients, how: str) -> None:
    """getmany() goes on giving nothing; stopping ends in time, is no cancellation of ours, and leaves no task."""
    topic = await mortal_broker.new_topic()
    await clients.send(topic, [b"1"])
    await clients.close()
    before = tasks()
    consumer = await clients.consumer(topic, group_id=new_group())
    await read(consumer, 1)
    end(mortal_broker, how)
    async with asyncio.timeout(DEADLINE_S + SLACK_S):
        assert await consumer.getmany(timeout_ms=500) == {}
    async with asyncio.timeout(DEADLINE_S + SLACK_S):
        await kafka.stop_consumer(consumer, deadline_s=DEADLINE_S)
    assert tasks() == before
