"""A batch that takes longer than the database is given."""

import asyncpg

from consumer.loop import Loop
from schema import balance_event
from schema.service.readiness import Readiness
from tests.integration.consumer.conftest import Feed, store_of
from tests.people import Person

RECORDS = 9
ROW_S = 0.2
IN_TIME_S = 0.7


async def test_a_batch_that_takes_too_long_is_recorded_by_halves(
    database_url: str, feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """In order, each record once: the same again would take as long again."""
    await connection.execute(
        f"""create function slow() returns trigger language plpgsql as
            $body$ begin perform pg_sleep({ROW_S}); return new; end $body$;
            create trigger slow before insert on dead_letters for each row execute function slow()"""
    )
    poison = [feed.record(balance_event.TOPIC, b"", b"poison %d" % number) for number in range(RECORDS)]
    batch = [feed.event(person, 1, 0), *poison, feed.event(person, 2, 100)]
    recorded: list[int] = []
    async with asyncpg.create_pool(database_url, min_size=1, max_size=2, command_timeout=IN_TIME_S) as pool:
        loop = Loop(
            open_consumer=lambda: None,
            topics=(),
            reader=feed.reader,
            store=store_of(pool),
            batch_events_max=100,
            on_recorded=lambda writes: recorded.append(len(writes.dead_letters)),
            readiness=Readiness(),
        )
        await loop._record(batch)
    assert sum(recorded) == await connection.fetchval("select count(*) from dead_letters") == RECORDS
    assert len(recorded) > 1
    assert await connection.fetchval("select count(*) from deposit_commands") == 1
