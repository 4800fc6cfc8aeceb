"""What we rely on when we read."""

import asyncio
import struct

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.record.util import calc_crc32c

from tests.contracts.clients import Clients, new_group, partitions, read
from tests.contracts.polling import until
from tests.fixtures_brokers import Broker

KEYS = (b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h")


async def fill(clients: Clients, topic: str, *, each: int) -> None:
    """Send `each` records for every key."""
    for key in KEYS:
        await clients.send(topic, [b"%b %d" % (key, number) for number in range(each)], key=key)


async def test_a_new_group_starts_at_the_earliest_record(broker: Broker, clients: Clients) -> None:
    """A group that has committed nothing, and says so, reads what was sent before it was there."""
    topic = await broker.new_topic()
    await clients.send(topic, [b"1", b"2", b"3"])
    consumer = await clients.consumer(topic, group_id=new_group())
    assert [record.value for record in await read(consumer, 3)] == [b"1", b"2", b"3"]
    assert await consumer.committed(TopicPartition(topic, 0)) is None


async def test_commits_hold_per_partition_for_the_next_consumer(broker: Broker, clients: Clients) -> None:
    """Only what was committed is behind the group's next consumer: one partition goes on, the other starts anew."""
    topic = await broker.new_topic(partitions=2)
    await fill(clients, topic, each=10)
    group = new_group()
    first, second = partitions(topic, 2)
    consumer = await clients.consumer(topic, group_id=group)
    seen = await read(consumer, 10 * len(KEYS))
    held = {place: sum(record.partition == place.partition for record in seen) for place in (first, second)}
    await consumer.commit({first: held[first] - 3})
    await consumer.stop()

    successor = await clients.consumer(topic, group_id=group)
    again = await read(successor, 3 + held[second])
    assert sorted(record.offset for record in again if record.partition == 0) == list(
        range(held[first] - 3, held[first])
    )
    assert sorted(record.offset for record in again if record.partition == 1) == list(range(held[second]))
    assert await successor.committed(first) == held[first] - 3
    assert await successor.committed(second) is None


async def test_getmany_gives_batches_in_offset_order(broker: Broker, clients: Clients) -> None:
    """A batch holds at most what was asked, by partition, without gaps; together the batches are everything, once."""
    topic = await broker.new_topic(partitions=3)
    await fill(clients, topic, each=100)
    consumer = await clients.consumer(topic)
    offsets: dict[TopicPartition, list[int]] = {}
    async with asyncio.timeout(60):
        while sum(map(len, offsets.values())) < 100 * len(KEYS):
            batches = await consumer.getmany(timeout_ms=200, max_records=70)
            assert sum(map(len, batches.values())) <= 70
            for place, batch in batches.items():
                offsets.setdefault(place, []).extend(record.offset for record in batch)
    assert all(found == list(range(len(found))) for found in offsets.values())
    ends = await consumer.end_offsets(partitions(topic, 3))
    assert {place: len(found) for place, found in offsets.items()} == {place: end for place, end in ends.items() if end}


async def test_getmany_returns_empty_when_nothing_comes(broker: Broker, clients: Clients) -> None:
    """An idle topic gives an empty batch after the timeout, so that a loop can look at its other duties."""
    topic = await broker.new_topic()
    consumer = await clients.consumer(topic)
    async with asyncio.timeout(30):
        assert await consumer.getmany(timeout_ms=100) == {}


async def test_seek_reads_a_record_again(broker: Broker, clients: Clients) -> None:
    """A consumer that goes back to an offset reads from exactly there; its position and the end tell how far it is."""
    topic = await broker.new_topic()
    await clients.send(topic, [str(number).encode() for number in range(20)])
    consumer = await clients.consumer(topic)
    [place] = partitions(topic, 1)
    await read(consumer, 20)
    assert await consumer.position(place) == (await consumer.end_offsets([place]))[place] == 20
    consumer.seek(place, 15)
    assert [record.offset for record in await read(consumer, 5)] == [15, 16, 17, 18, 19]
    await consumer.seek_to_beginning(place)
    assert [record.offset for record in await read(consumer, 20)] == list(range(20))


async def test_an_offset_beyond_the_end_starts_over(broker: Broker, clients: Clients) -> None:
    """A committed offset that the broker never had, as after its data was lost, leads to the earliest record."""
    topic = await broker.new_topic()
    await clients.send(topic, [b"1", b"2"])
    group = new_group()
    consumer = await clients.consumer(topic, group_id=group)
    await read(consumer, 2)
    await consumer.commit({TopicPartition(topic, 0): 1_000})
    await consumer.stop()
    successor = await clients.consumer(topic, group_id=group)
    assert [record.offset for record in await read(successor, 2)] == [0, 1]


async def test_a_record_is_read_as_soon_as_it_is_sent(broker: Broker, clients: Clients) -> None:
    """A waiting consumer gets a record well before aiokafka's own fetch would end (500 ms), on either broker."""
    topic = await broker.new_topic()
    consumer = await clients.consumer(topic)
    producer = await clients.producer()
    loop = asyncio.get_running_loop()
    waits_s = []
    for number in range(5):
        began = loop.time()
        reading = asyncio.create_task(read(consumer, 1))
        await producer.send_and_wait(topic, str(number).encode())
        [record] = await reading
        assert record.value == str(number).encode()
        waits_s.append(loop.time() - began)
    assert min(waits_s) < 0.4  # each would take 0.5 s and more; a machine that is busy now and then is not meant


@pytest.mark.parametrize("partition_count", [1, 6])
async def test_a_group_of_one_is_given_every_partition(broker: Broker, clients: Clients, partition_count: int) -> None:
    """One member alone owns all partitions, and keeps them beyond its session's timeout while it is idle."""
    topic = await broker.new_topic(partitions=partition_count)
    consumer = await clients.consumer(topic, group_id=new_group())
    everything = set(partitions(topic, partition_count))
    await until(lambda: consumer.assignment() == everything, what="all partitions assigned")
    async with asyncio.timeout(30):
        loop = asyncio.get_running_loop()
        idle_until = loop.time() + 3
        while loop.time() < idle_until:
            await consumer.getmany(timeout_ms=200)
            assert consumer.assignment() == everything


async def test_a_header_whose_name_is_no_text_is_read(broker: Broker, clients: Clients) -> None:
    """Kafka takes any bytes for a header's name: such a record is given, once, and so are those around it."""
    topic = await broker.new_topic()
    await clients.send(topic, [b"before"])
    await _send_with_names_that_are_no_text(broker, topic)
    await clients.send(topic, [b"behind"])
    consumer = await clients.consumer(topic)
    records = await read(consumer, 5)
    assert [record.offset for record in records] == [0, 1, 2, 3, 4]
    assert [record.value for record in records] == [b"before", b"first", b"bad", b"last", b"behind"]
    assert [tuple(record.headers) for record in records[1:4]] == [
        (("good", b"1"), ("null", None)),
        (("\\xff\\xfex", b"2"), ("good", b"3")),
        (),
    ]


async def _send_with_names_that_are_no_text(broker: Broker, topic: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker.node.bootstrap_servers)
    await producer.start()
    try:
        batch = producer.create_batch()
        for value, headers in (
            (b"first", [("good", b"1"), ("null", None)]),
            (b"bad", [("?!x", b"2"), ("good", b"3")]),
            (b"last", []),
        ):
            batch.append(timestamp=None, key=b"key", value=value, headers=headers)
        batch.close()
        raw = bytearray(batch._build())
        at = raw.index(b"?!x")
        raw[at : at + 2] = b"\xff\xfe"
        struct.pack_into(">I", raw, 17, calc_crc32c(memoryview(raw)[21:]))
        batch._buffer = raw
        await (await producer.send_batch(batch, topic, partition=0))
    finally:
        await producer.stop()
