"""A real Kafka that is killed and started again on the same data: what it acked stays."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError

from sandbox import apache_kafka as apache
from sandbox.apache_kafka import ApacheKafka
from schema.service import kafka
from schema.service.kafka import Record, Undelivered
from tests.contracts.clients import SEND_DEADLINE_S, Clients, new_group, partitions, read
from tests.fixtures_brokers import Broker, need_apache_kafka

pytestmark = pytest.mark.kafka

KEYS = [f"wallet-{number}".encode() for number in range(10)]
RECOVERY_S = 120


@pytest.fixture
def node() -> Iterator[ApacheKafka]:
    """A Kafka of this test's own."""
    need_apache_kafka()
    with apache.running() as node:
        yield node


@pytest.fixture
async def clients(node: ApacheKafka) -> AsyncIterator[Clients]:
    """Its clients."""
    made = Clients(Broker(node=node).settings)
    yield made
    await made.close()


async def restart(node: ApacheKafka) -> None:
    """Kill it and start it again, while the loop goes on."""
    await asyncio.to_thread(node.kill)
    await asyncio.to_thread(node.start)


async def send_whatever_happens(clients: Clients, records: list[Record]) -> int:
    """Send until all are acked, as our processes do: one that failed is stopped and another made. The attempts."""
    producer: AIOKafkaProducer | None = None
    async with asyncio.timeout(RECOVERY_S):
        for attempt in range(1, 10_000):
            try:
                producer = producer or await clients.producer()
                await kafka.send_all(producer, records, deadline_s=3)
            except Undelivered:
                assert producer is not None
                await kafka.stop(producer, deadline_s=0.1)
                producer = None
            except KafkaError:
                await asyncio.sleep(0.1)  # nobody listens yet: a producer that cannot start says so at once
            else:
                return attempt
    raise AssertionError("never acked")


async def test_nothing_acked_is_lost_over_kills(node: ApacheKafka, clients: Clients) -> None:
    """Three kills while records flow: each acked record is there, and each key's records first appear in order."""
    topic = await Broker(node=node).new_topic(partitions=3)
    attempts = 0
    for round_ in range(3):
        killing = asyncio.create_task(restart(node))
        for number in range(round_ * 100, round_ * 100 + 100):
            records = [Record(topic=topic, key=key, value=str(number).encode()) for key in KEYS]
            attempts += await send_whatever_happens(clients, records)
        await killing
    consumer = await clients.consumer(topic)
    total = sum((await consumer.end_offsets(partitions(topic, 3))).values())
    firsts: dict[bytes | None, list[int]] = {key: [] for key in KEYS}
    for record in await read(consumer, total):
        number = int(record.value or b"")
        if number not in firsts[record.key]:
            firsts[record.key].append(number)
    assert firsts == {key: list(range(300)) for key in KEYS}
    assert attempts > 300, "the kills met no send: the test shows nothing"


async def test_committed_offsets_survive_a_kill(node: ApacheKafka, clients: Clients) -> None:
    """The next consumer starts where the group committed before the broker died."""
    topic = await Broker(node=node).new_topic()
    group = new_group()
    await clients.send(topic, [str(number).encode() for number in range(10)])
    consumer = await clients.consumer(topic, group_id=group)
    await read(consumer, 10)
    await consumer.commit({TopicPartition(topic, 0): 7})
    await kafka.stop_consumer(consumer, deadline_s=10)
    await restart(node)
    successor = await clients.consumer(topic, group_id=group)
    assert [record.offset for record in await read(successor, 3)] == [7, 8, 9]


async def test_a_consumer_lives_through_a_restart(node: ApacheKafka, clients: Clients) -> None:
    """A group's member that was there before the broker died goes on from its last commit when the broker is back."""
    topic = await Broker(node=node).new_topic()
    [place] = partitions(topic, 1)
    consumer = await clients.consumer(topic, group_id=new_group())
    await clients.send(topic, [b"before"])
    await read(consumer, 1)
    await consumer.commit({place: 1})
    restarting = asyncio.create_task(restart(node))
    while not restarting.done():
        assert await consumer.getmany(timeout_ms=100) == {}
    await restarting
    await send_whatever_happens(clients, [Record(topic=topic, key=b"key", value=b"after")])
    async with asyncio.timeout(RECOVERY_S):
        while await consumer.committed(place) != 2:
            [record] = await read(consumer, 1)
            assert record.value == b"after"
            with suppress(CommitFailedError):  # it has joined anew since it read this, and reads it again
                await consumer.commit({place: record.offset + 1})


async def test_what_was_given_up_is_never_sent(node: ApacheKafka, clients: Clients) -> None:
    """Records of a producer that was stopped without a broker do not appear when the broker is back."""
    topic = await Broker(node=node).new_topic()
    producer = await clients.producer()
    await kafka.send_all(producer, [Record(topic=topic, key=b"key", value=b"1")], deadline_s=SEND_DEADLINE_S)
    await asyncio.to_thread(node.kill)
    lost = [Record(topic=topic, key=b"key", value=b"lost") for _ in range(100)]
    with pytest.raises(Undelivered):
        await kafka.send_all(producer, lost, deadline_s=1)
    await kafka.stop(producer, deadline_s=0.1)
    await asyncio.to_thread(node.start)
    await send_whatever_happens(clients, [Record(topic=topic, key=b"key", value=b"2")])
    assert [record.value for record in await clients.read(topic, 2)] == [b"1", b"2"]
