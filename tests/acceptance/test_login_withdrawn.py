"""A login that the database refuses since the process began: a new password, a role that was taken away."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from sandbox.broker import EmbeddedBroker
from sandbox.children import ROOT
from tests.acceptance.conftest import open_house, readiness_of
from tests.fixtures_brokers import Broker
from tests.waiting import until

ENDS_WITHIN_S = 60.0


@pytest.fixture
async def login(connection: asyncpg.Connection) -> AsyncIterator[str]:
    """A login of one's own, as docs/database.md makes it."""
    name = f"pipeline_{uuid4().hex}"
    await connection.execute(f"create role {name} login in role service_role")
    yield name
    await connection.execute(f"drop role {name}")


@pytest.mark.parametrize(
    "program",
    [("consumer",), ("consumer", "api"), ("producers", "stream")],
)
async def test_a_login_that_is_withdrawn_is_named_and_is_no_bug(  # noqa: PLR0917 - fixtures
    program: tuple[str, ...],
    login: str,
    resting_horizon: dict[str, str],
    connection: asyncpg.Connection,
    database_url: str,
    embedded_broker: EmbeddedBroker,
    tmp_path: Path,
) -> None:
    """Ready, then its connections are cut and no other is let in: exit code 2, DATABASE_URL and why, and no trace."""
    house = await open_house(Broker(node=embedded_broker), database_url, tmp_path)
    log = tmp_path / "program.log"
    environment = {
        **os.environ,
        **house.environment(),
        **resting_horizon,
        "DATABASE_URL": database_url.replace("postgres@", f"{login}@"),
        "POLL_INTERVAL_S": "1",
        "WEBHOOK_PORT": "0",
        "WEBHOOK_SHARED_SECRETS": "s" * 40,
        "AUTH_JWT_SECRET": "s" * 40,
    }
    with log.open("wb") as said:
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", *program), env=environment, cwd=ROOT, stdout=said, stderr=said
        )
    try:
        await until(lambda: _is_ready(log), f"{program} is ready")
        await connection.execute(f"alter role {login} nologin")
        await connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = $1", login)
        assert await asyncio.wait_for(running.wait(), ENDS_WITHIN_S) == 2, log.read_text()
    finally:
        if running.returncode is None:
            running.send_signal(signal.SIGKILL)
            await running.wait()
        await house.close()
    words = log.read_text()
    assert "DATABASE_URL is refused by the database" in words
    assert "is not permitted to log in" in words
    assert "a bug" not in words
    assert "Traceback" not in words


async def _is_ready(log: Path) -> bool:
    return await readiness_of(log) == "ready\n"
