"""A wait that is over, where the database refuses what follows from it."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg

from consumer.waits import wake_due_wallets
from schema.service.readiness import Readiness
from tests.integration.consumer.conftest import Feed
from tests.people import add_person
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
