"""Wallets in bulk by a login of one's own (docs/database.md): it does what the service does, and sees no users."""

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from producers.bulk.importing import How
from producers.bulk.store import NotDone
from tests.integration.producers.test_wallet_import import rows_of, take, users
from tests.people import account_id
from tests.waiting import until


@pytest.fixture
async def login_url(database_url: str, connection: asyncpg.Connection) -> AsyncIterator[str]:
    """A login that was granted service_role, and nothing else."""
    name = f"pipeline_{uuid4().hex}"
    await connection.execute(f"create role {name} login in role service_role")
    yield database_url.replace("postgres@", f"{name}@")
    gone = "select not exists (select from pg_stat_activity where usename = $1)"
    await until(lambda: connection.fetchval(gone, name), "its sessions, and what they own, are gone")
    await connection.execute(f"drop role {name}")


async def test_a_login_of_ones_own_changes_wallets(login_url: str, connection: asyncpg.Connection) -> None:
    """It adds, pauses, unpauses and removes. A user that is not there is refused by the database itself: nothing is
    changed, and it is said which login can name the line.
    """
    [ada] = await users(connection, 1)
    key = account_id("ada")
    assert (await take(login_url, [(ada, key)])).added == 1
    assert (await take(login_url, [("", key, "pause")])).paused == 1
    assert (await take(login_url, [("", key, "unpause")])).unpaused == 1
    before = await rows_of(connection)
    with pytest.raises(NotDone, match=r"not in auth.users.*the owner of the tables"):
        await take(login_url, [("", key, "remove"), (uuid4(), account_id("bob"))], How(skip_bad=True))
    assert await rows_of(connection) == before
    assert (await take(login_url, [("", key, "remove")])).removed == 1
