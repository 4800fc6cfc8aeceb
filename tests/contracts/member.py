"""One member of a consumer group as a process of its own, so that a test can kill or freeze it. Says all in JSON lines.

`python -m tests.contracts.member BOOTSTRAP TOPIC GROUP [--freeze]`: with --freeze it stops itself (SIGSTOP) between
reading its first batch and committing it, and goes on with the commit in the very step in which it is woken.
"""

import asyncio
import json
import signal
import sys
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError

from schema.service import kafka
from schema.service.settings import KafkaSettings


def say(**fields: object) -> None:
    """One line for the test, at once."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


class Assignment(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Says which partitions this member holds."""

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 - aiokafka's signature
        say(assigned=[])

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        say(assigned=sorted(place.partition for place in assigned))


async def main(bootstrap: str, topic: str, group: str, *, freeze: bool) -> None:
    """Read, say, commit, for ever."""
    settings = KafkaSettings.model_validate({"kafka_bootstrap_servers": bootstrap})
    consumer = kafka.consumer(
        settings, client_id="member", group_id=group, session_timeout_ms=2_000, heartbeat_interval_ms=300
    )
    consumer.subscribe([topic], listener=Assignment())
    await consumer.start()
    while True:
        batches = await consumer.getmany(timeout_ms=100)
        for place, batch in batches.items():
            for record in batch:
                say(partition=place.partition, offset=record.offset)
        if freeze and batches:
            freeze = False
            say(frozen=True)
            signal.raise_signal(signal.SIGSTOP)
        if batches:
            await commit(consumer, batches)


async def commit(consumer: AIOKafkaConsumer, batches: dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]) -> None:
    """Commit what was read, or say that the group has gone on without this member."""
    try:
        await consumer.commit({place: batch[-1].offset + 1 for place, batch in batches.items()})
    except CommitFailedError:
        say(refused=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], freeze="--freeze" in sys.argv))
