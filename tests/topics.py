"""What lies in topics, read to their ends."""

import asyncio

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord

DEADLINE_S = 60.0


async def acked(consumer: AIOKafkaConsumer) -> list[ConsumerRecord[bytes, bytes]]:
    """The records that this consumer has not given yet, all of those that had been acked before the call.

    A plain getmany() gives what has come by chance: a record may be missing, and "there is none" says nothing.
    """
    records: list[ConsumerRecord[bytes, bytes]] = []
    async with asyncio.timeout(DEADLINE_S):
        assert consumer.assignment(), "it reads no partition"
        ends = await consumer.end_offsets(consumer.assignment())
        for place, end in ends.items():
            while await consumer.position(place) < end:
                for batch in (await consumer.getmany(timeout_ms=100)).values():
                    records += batch
    return records
