"""The relay between a real database and a real Kafka, where dead letters are the trouble."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg
import pytest

from consumer.outbox import Outbox
from sandbox.apache_kafka import ApacheKafka
from schema import balance_event
from schema.service import kafka
from schema.service.readiness import Readiness
from tests.fixtures_brokers import Broker
from tests.integration.consumer.conftest import Feed
from tests.people import Person
from tests.unit.consumer.worlds import close_time
from tests.waiting import until

LARGE_BYTES = 3_000_000
ROUND_BYTES = 5_000_000


@pytest.mark.kafka
async def test_a_dead_letter_that_cannot_be_published_holds_up_no_command(
    apache_kafka: ApacheKafka, feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """Its topic is not there: commands are sent and marked all the same, also those that come later."""
    broker = Broker(node=apache_kafka)
    commands_topic = await broker.new_topic()
    poison = feed.record(balance_event.TOPIC, b"", b"poison")
    await feed.take(feed.event(person, 1, 0), poison, feed.event(person, 2, 100))

    async def marked() -> list[bool]:
        rows = await connection.fetch("select status from deposit_commands order by position")
        return [row["status"] == "published" for row in rows]

    async def first_is_marked() -> bool:
        return await marked() == [True]

    async def both_are_marked() -> bool:
        return await marked() == [True, True]

    async with _relaying(broker, feed, commands_topic=commands_topic, dead_letters_topic="test.is-not-there"):
        await until(first_is_marked, "the command is marked as sent")
        await feed.take(feed.event(person, 3, 200))
        await until(both_are_marked, "the later command is marked as sent")
    assert await connection.fetchval("select published_at from dead_letters") is None


async def test_a_round_takes_no_more_dead_letters_than_can_be_sent_in_time(feed: Feed) -> None:
    """By their bytes: at least one, and none that begins beyond the limit; in the end it is all of them, in order."""
    letters = [feed.record(balance_event.TOPIC, b"", bytes([n]) * LARGE_BYTES) for n in range(5)]
    small = [feed.record(balance_event.TOPIC, b"", b"small %d" % n) for n in range(3)]
    await feed.take(*letters)
    await feed.take(*small)
    rounds: list[int] = []
    sent: list[int] = []
    while True:
        async with feed.store.unsent_dead_letters(rows_max=100, bytes_max=ROUND_BYTES) as unsent:
            assert unsent is not None
            if not unsent.rows:
                break
            rounds.append(len(unsent.rows))
            sent += [row["place"] for row in unsent.rows]
            await unsent.mark_sent(close_time(3))
    assert rounds == [2, 2, 4]
    assert sorted(sent) == [letter.record.offset for letter in (*letters, *small)]


@asynccontextmanager
async def _relaying(broker: Broker, feed: Feed, *, commands_topic: str, dead_letters_topic: str) -> AsyncIterator[None]:
    """While a relay runs."""
    outbox = Outbox(
        store=feed.store,
        open_producer=lambda: kafka.producer(broker.settings, client_id="test"),
        commands_topic=commands_topic,
        dead_letters_topic=dead_letters_topic,
        source="/test",
        rows_max=100,
        clock=lambda: datetime.now(UTC),
        readiness=Readiness(),
    )
    stopping = asyncio.Event()
    running = asyncio.create_task(outbox.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await running
