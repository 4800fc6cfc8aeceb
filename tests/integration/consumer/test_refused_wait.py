"""A wait that is over, where the database refuses what follows from it, or falls silent over it."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from consumer.waits import wake_due_wallets
from sandbox.torture.proxy import Link, Mode, dial_unix
from schema.service.readiness import Readiness
from tests.integration.consumer.conftest import Feed, store_of
from tests.people import Person, add_person
from tests.waiting import until


async def test_a_wallet_whose_command_is_refused_holds_up_no_other(feed: Feed, connection: asyncpg.Connection) -> None:
    """It is put off for an hour and said; the others that are due with it have their commands at once."""
    people = [await add_person(connection) for _ in range(6)]
    for place, person in enumerate(people):
        await feed.take(feed.event(person, 1, 0))
        command = (await feed.take(feed.event(person, 2, 60 if place == 2 else 100))).commands[0]
        await feed.take(feed.failed(command, 3))
    await connection.execute(
        """alter table deposit_commands add constraint unlucky check (amount <> 60) not valid;
           update stellar_wallets set due_at = now() - interval '1 minute'"""
    )
    stopping = asyncio.Event()
    waking = asyncio.create_task(wake_due_wallets(feed.store, lambda _: None, Readiness(), stopping))

    async def others_have_theirs() -> bool:
        assert not waking.done()
        query = "select count(*) from deposit_commands where previous_command_id is not null"
        return bool(await connection.fetchval(query) == 5)

    async def it_is_put_off() -> bool:
        assert not waking.done()
        due_at = await connection.fetchval("select due_at from stellar_wallets where id = $1", people[2].wallet_id)
        return bool(due_at - datetime.now(UTC) > timedelta(minutes=50))

    await until(others_have_theirs, "the others are commanded again")
    await until(it_is_put_off, "the refused one is put off")
    stopping.set()
    await waking


async def test_a_link_that_falls_silent_is_left_without_another_word(
    database_url: str, feed: Feed, person: Person, connection: asyncpg.Connection
) -> None:
    """What follows is under way when nothing comes back any more: to undo it on that link would be waited for in vain,
    as long again. It is said as what it is, to be tried again.
    """
    await feed.take(feed.event(person, 1, 0))
    command = (await feed.take(feed.event(person, 2, 100))).commands[0]
    await feed.take(feed.failed(command, 3))
    await connection.execute(
        """update stellar_wallets set due_at = now() - interval '1 minute';
           create function slow() returns trigger language plpgsql as
           $body$ begin perform pg_sleep(4); return new; end $body$;
           create trigger slow before insert on deposit_commands for each row execute function slow()"""
    )
    parts = urlsplit(database_url)
    link = Link("database", dial_unix(f"{Path(parse_qs(parts.query)['host'][0])}/.s.PGSQL.5432"))
    await link.start()
    through = f"postgresql://postgres@127.0.0.1:{link.port}{parts.path}"
    try:
        async with asyncpg.create_pool(through, min_size=1, max_size=1, command_timeout=2) as pool:
            waking = asyncio.create_task(store_of(pool).wake_due(wallets_max=5))
            under_way = (
                "select true from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
            )
            await until(lambda: connection.fetchval(under_way), "it is under way")
            await link.set_mode(Mode.MUTE)
            with pytest.raises(TimeoutError):
                await waking
            pool.terminate()
    finally:
        await link.close()
