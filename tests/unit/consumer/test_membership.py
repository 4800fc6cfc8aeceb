"""A consumer's place in its group."""

import asyncio

from aiokafka import TopicPartition

from consumer.loop import _Membership
from schema import balance_event


async def test_partitions_go_when_the_batch_in_hand_is_done() -> None:
    """A rebalance waits for the batch between Kafka and its committed offsets."""
    membership = _Membership()
    with membership.busy():
        going = asyncio.create_task(membership.on_partitions_revoked({TopicPartition(balance_event.TOPIC, 3)}))
        done, _ = await asyncio.wait([going], timeout=0.05)
        assert not done
    await asyncio.wait_for(going, timeout=30)
