"""What we rely on when we send."""

import asyncio
import os
from collections import defaultdict

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from schema.service import kafka
from schema.service.kafka import MESSAGE_BYTES_MAX, Record, TooLarge
from tests.contracts.clients import SEND_DEADLINE_S, Clients
from tests.fixtures_brokers import Broker

MIB = 1024 * 1024
LARGEST_VALUE_BYTES = 2 * MESSAGE_BYTES_MAX - DefaultRecordBatchBuilder.estimate_size_in_bytes(
    b"key", bytes(MESSAGE_BYTES_MAX), []
)


async def test_key_value_and_headers_arrive_byte_for_byte(broker: Broker, clients: Clients) -> None:
    """Whatever bytes are sent are read: any byte, nothing at all, an empty header, a header's name twice."""
    topic = await broker.new_topic()
    every_byte = bytes(range(256))
    sent = [
        Record(topic=topic, key=b"G" * 56, value=b'{"balance":"50.0000000"}', headers=[("ce_id", b"1"), ("e", b"")]),
        Record(topic=topic, key=every_byte, value=every_byte, headers=[("twice", b"\xff"), ("twice", b"\x00")]),
        Record(topic=topic, key=b"", value=b""),
    ]
    await kafka.send_all(await clients.producer(), sent, deadline_s=SEND_DEADLINE_S)
    read = await clients.read(topic, len(sent))
    assert [(r.key, r.value, list(r.headers)) for r in read] == [(r.key, r.value, list(r.headers)) for r in sent]


@pytest.mark.parametrize("size_bytes", [0, MIB, 5 * MIB, LARGEST_VALUE_BYTES], ids=["0", "1 MiB", "5 MiB", "largest"])
async def test_values_of_every_allowed_size_arrive(broker: Broker, clients: Clients, size_bytes: int) -> None:
    """Up to the size we promise, bytes that do not compress pass the client, the topic's limit and the consumer."""
    topic = await broker.new_topic()
    value = os.urandom(size_bytes)
    await clients.send(topic, [value])
    [record] = await clients.read(topic, 1)
    assert record.value == value


async def test_a_record_beyond_the_limit_is_named_and_nothing_is_sent(broker: Broker, clients: Clients) -> None:
    """One byte more than the promise is TooLarge with its index; those around it stay unsent, the producer is well."""
    topic = await broker.new_topic()
    producer = await clients.producer()
    fine = Record(topic=topic, key=b"key", value=b"fine")
    large = Record(topic=topic, key=b"key", value=bytes(LARGEST_VALUE_BYTES + 1))
    with pytest.raises(TooLarge) as refused:
        await kafka.send_all(producer, [fine, large, fine], deadline_s=SEND_DEADLINE_S)
    assert refused.value.index == 1
    [place] = await kafka.send_all(producer, [fine], deadline_s=SEND_DEADLINE_S)
    assert place.offset == 0


async def test_what_compresses_takes_little_room(broker: Broker, clients: Clients) -> None:
    """Batches are compressed: 30 MiB of one byte fit where the embedded broker keeps 5 MiB, and come back whole."""
    topic = await broker.new_topic()
    await clients.send(topic, [bytes([number]) * MIB for number in range(30)])
    read = await clients.read(topic, 30)
    assert [record.value for record in read] == [bytes([number]) * MIB for number in range(30)]


async def test_each_key_keeps_its_order_in_one_partition(broker: Broker, clients: Clients) -> None:
    """With several sends under way at once, every key's records stay in the order sent, in one partition, once each."""
    topic = await broker.new_topic(partitions=3)
    producer = await clients.producer()
    keys = [f"wallet-{number}".encode() for number in range(20)]

    async def send(key: bytes) -> None:
        for start in range(0, 100, 25):
            records = [Record(topic=topic, key=key, value=str(n).encode()) for n in range(start, start + 25)]
            await kafka.send_all(producer, records, deadline_s=SEND_DEADLINE_S)

    await asyncio.gather(*(send(key) for key in keys))
    seen: dict[bytes | None, list[int]] = defaultdict(list)
    places: dict[bytes | None, set[int]] = defaultdict(set)
    for record in await clients.read(topic, 2_000):
        seen[record.key].append(int(record.value or b""))
        places[record.key].add(record.partition)
    assert seen == {key: list(range(100)) for key in keys}
    assert all(len(partitions) == 1 for partitions in places.values())


async def test_acks_name_the_places(broker: Broker, clients: Clients) -> None:
    """send_all answers with the place of each record, in the order given: that is where a reader finds it."""
    topic = await broker.new_topic(partitions=3)
    records = [Record(topic=topic, key=str(number).encode(), value=str(number).encode()) for number in range(50)]
    places = await kafka.send_all(await clients.producer(), records, deadline_s=SEND_DEADLINE_S)
    read = {(record.partition, record.offset): record.value for record in await clients.read(topic, 50)}
    assert [read[place.partition, place.offset] for place in places] == [record.value for record in records]
