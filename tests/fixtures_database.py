"""Real PostgreSQL for tests: one embedded server per worker, and for each test a fresh copy of a migrated database."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from sandbox.database import PostgresServer, embedded_binaries
from schema import migrate

TEMPLATE = "migrated_template"
POSTGRES_VERSIONS = (18, 16, 15)  # two from the wheel, the oldest supported from the system
_SYSTEM_VERSION = 15
_RAM = "/dev/shm"  # noqa: S108 - the folders made in it have names of their own, mode 0700
_RAM_BYTES_MIN = 4 * 1024**3

NewServer = Callable[[int], PostgresServer]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The embedded PostgreSQL 18 that a worker's tests share, each in a database of its own."""
    with server_for_tests(POSTGRES_VERSIONS[0]) as server:
        yield server


@pytest.fixture(scope="session")
def template_database(postgres: PostgresServer) -> str:
    """The name of a database with every migration applied: to be copied, never to be connected to."""

    async def make() -> None:
        await execute(postgres.url(), f"create database {TEMPLATE}")
        await migrate.migrate(postgres.url(TEMPLATE), dry_run=False, wait_s=0, say=lambda _: None)

    asyncio.run(make())
    return TEMPLATE


@pytest.fixture
async def database_url(postgres: PostgresServer, template_database: str) -> AsyncIterator[str]:
    """A fresh, migrated database; its URL connects as its owner."""
    async with fresh_database(postgres, template=template_database) as url:
        yield url


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """One connection to this test's database, as its owner."""
    connection = await asyncpg.connect(database_url)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    """A few connections to this test's database, as its owner."""
    async with asyncpg.create_pool(database_url, min_size=1, max_size=4) as pool:
        yield pool


@pytest.fixture
async def empty_database_url(postgres: PostgresServer) -> AsyncIterator[str]:
    """A database in which nothing was ever made. The server's roles may be there: other databases made them."""
    async with fresh_database(postgres) as url:
        yield url


@pytest.fixture
def new_server() -> Iterator[NewServer]:
    """Starts servers that nobody has used, of a version out of POSTGRES_VERSIONS, and ends them with the test."""
    with ExitStack() as started:
        yield lambda version: started.enter_context(server_for_tests(version))


@contextmanager
def server_for_tests(version: int) -> Iterator[PostgresServer]:
    """A running server for tests, which gives up safety in a power cut for speed."""
    binaries = system_postgres() if version == _SYSTEM_VERSION else embedded_binaries(version)
    with tempfile.TemporaryDirectory(prefix="postgres-", dir=_memory(), ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder), binaries=binaries, durable=False, settings={"max_wal_size": "256MB"})
        try:
            server.start()
            yield server
        finally:
            server.remove()


def _memory() -> str | None:
    """A folder in memory where there is room: a database is copied there in 10 ms, on some disks in 300."""
    return _RAM if os.access(_RAM, os.W_OK) and shutil.disk_usage(_RAM).free > _RAM_BYTES_MIN else None


@asynccontextmanager
async def fresh_database(server: PostgresServer, *, template: str = "template1") -> AsyncIterator[str]:
    """A database that nobody else uses, deleted afterwards; yields its URL."""
    name = f"test_{uuid4().hex}"
    await execute(server.url(), f"create database {name} template {template} strategy file_copy")
    try:
        yield server.url(name)
    finally:
        await execute(server.url(), f"drop database {name} with (force)")


async def execute(url: str, sql: str) -> None:
    """Run a script on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


def system_postgres() -> Path:
    """The bin folder of the PostgreSQL 15 that the system brings; without one the test is skipped, in CI it fails."""
    for binaries in _candidates():
        said = subprocess.run([binaries / "postgres", "--version"], check=True, capture_output=True, text=True).stdout
        if f" {_SYSTEM_VERSION}." in said:
            return binaries
    reason = (
        f"no PostgreSQL {_SYSTEM_VERSION} on this machine (looked in PATH, pg_config --bindir, /usr/lib/postgresql)"
    )
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _candidates() -> Iterator[Path]:
    folders = [Path(f"/usr/lib/postgresql/{_SYSTEM_VERSION}/bin")]
    if shutil.which("pg_config"):
        said = subprocess.run(["pg_config", "--bindir"], check=True, capture_output=True, text=True).stdout
        folders.append(Path(said.strip()))
    in_path = shutil.which("postgres")
    if in_path:
        folders.append(Path(in_path).resolve().parent)
    return (folder for folder in folders if (folder / "postgres").exists() and (folder / "initdb").exists())
