"""Runs schema/sql in order: each file once, each in a transaction of its own, two runs at once without harm.

Every file may also be run by plain `psql -f`, and then again by this: they change nothing that is there already.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

import asyncpg

from schema.service.database import REFUSED, refusal
from schema.service.settings import Unusable

FOLDER: Final = Path(__file__).parent / "sql"
NAMES_OF_SUPABASE: Final = "000_names_of_supabase.sql"
LOCK_KEY: Final = 0x5354_454C_4C41_5200  # an advisory lock's number is anybody's choice: b"STELLAR\0"
LOCK_TIMEOUT_S: Final = 30  # for a table that someone else holds: waiting longer would make everyone queue behind us
CONNECT_TIMEOUT_S: Final = 10.0
WAIT_FIRST_S: Final = 0.2
WAIT_MOST_S: Final = 5.0

_RECORD_TABLE: Final = """
create table public.schema_migrations (
  name text primary key, checksum text not null, applied_at timestamptz not null default now());
alter table public.schema_migrations enable row level security;
do $do$ declare role_name text; begin
  for role_name in select rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated') loop
    execute format('revoke all on public.schema_migrations from %I', role_name);
  end loop;
end $do$;
"""
_IS_RECORDED: Final = "select to_regclass('public.schema_migrations') is not null"
_RECORDED: Final = "select name, checksum, applied_at from public.schema_migrations"
_SUPABASE_IS_HERE: Final = """
select exists (select from pg_catalog.pg_namespace where nspname = 'auth')
  and 3 = (select count(*) from pg_catalog.pg_roles where rolname in ('anon', 'authenticated', 'service_role'))
"""
_NOT_THERE_YET: Final = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ConnectionDoesNotExistError,
)

Say = Callable[[str], None]


class MigrationRefused(Exception):
    """Nothing (more) was changed; the message says which file and what to do."""


class State(StrEnum):
    """How a file stands to the database."""

    APPLIED = "applied"
    PENDING = "pending"
    CHANGED = "changed"  # applied, and edited afterwards
    NOT_NEEDED = "not needed"  # 000 where Supabase is


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file and how it stands to the database."""

    name: str
    sql: str
    checksum: str
    state: State
    applied_at: datetime | None


async def migrate(database_url: str, *, dry_run: bool, wait_s: float, say: Say, folder: Path = FOLDER) -> None:
    """Apply what is pending. MigrationRefused for a changed file, a file that fails, a database that stays away;
    Unusable for a URL or a login that does not do.
    """
    async with _connected(database_url, wait_s=wait_s, say=say) as connection:
        if dry_run:
            for migration in await _compare(connection, folder):
                _refuse_changed(migration)
                if migration.state is State.PENDING:
                    say(f"would apply {migration.name}")
            return
        async with _locked(connection, say):
            if not await connection.fetchval(_IS_RECORDED):
                await connection.execute(_RECORD_TABLE)
        for migration in await _compare(connection, folder):
            _refuse_changed(migration)
            if migration.state is State.PENDING:
                await _apply(connection, migration, say, folder)
            elif migration.state is State.NOT_NEEDED:
                say(f"{migration.name} is not needed: Supabase's own are here")
        say("the schema is up to date")


async def status(database_url: str, *, wait_s: float, say: Say, folder: Path = FOLDER) -> list[Migration]:
    """Every file and how it stands to the database, which is only read."""
    async with _connected(database_url, wait_s=wait_s, say=say) as connection:
        return await _compare(connection, folder)


async def _apply(connection: asyncpg.Connection, migration: Migration, say: Say, folder: Path) -> None:
    try:
        async with _locked(connection, say):
            # Another run may have applied it while this one waited for the lock.
            migration = next(each for each in await _compare(connection, folder) if each.name == migration.name)
            _refuse_changed(migration)
            if migration.state is not State.PENDING:
                return
            await connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT_S}s'")
            await connection.execute(migration.sql)
            await connection.execute(
                "insert into public.schema_migrations (name, checksum) values ($1, $2)",
                migration.name,
                migration.checksum,
            )
    except asyncpg.LockNotAvailableError as error:
        raise MigrationRefused(
            f"{migration.name}: a table is locked by another session for {LOCK_TIMEOUT_S} s; nothing of this file was "
            "applied; end that session (pg_stat_activity) and run it again"
        ) from error
    except asyncpg.PostgresError as error:
        raise MigrationRefused(f"{migration.name}: nothing of this file was applied: {error}") from error
    say(f"applied {migration.name}")


async def _compare(connection: asyncpg.Connection, folder: Path) -> list[Migration]:
    is_recorded = await connection.fetchval(_IS_RECORDED)
    recorded = {row["name"]: row for row in await connection.fetch(_RECORDED)} if is_recorded else {}
    supabase_is_here = await connection.fetchval(_SUPABASE_IS_HERE)
    migrations = []
    for name, sql in _read_files(folder):
        checksum = hashlib.sha256(sql.encode()).hexdigest()
        row = recorded.get(name)
        if row is not None:
            state = State.APPLIED if row["checksum"] == checksum else State.CHANGED
        else:
            state = State.NOT_NEEDED if name == NAMES_OF_SUPABASE and supabase_is_here else State.PENDING
        applied_at = row["applied_at"] if row is not None else None
        migrations.append(Migration(name=name, sql=sql, checksum=checksum, state=state, applied_at=applied_at))
    return migrations


def _read_files(folder: Path) -> list[tuple[str, str]]:
    return [(path.name, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("[0-9][0-9][0-9]_*.sql"))]


def _refuse_changed(migration: Migration) -> None:
    if migration.state is State.CHANGED:
        raise MigrationRefused(
            f"{migration.name} was edited after it was applied at {migration.applied_at}: put the file back as it was, "
            "and write the change as a new file. If the edit changes nothing in the database (a comment), set its "
            f"checksum in public.schema_migrations to '{migration.checksum}'"
        )


@asynccontextmanager
async def _locked(connection: asyncpg.Connection, say: Say) -> AsyncIterator[None]:
    """One transaction, one migration at a time. The lock ends with the transaction: a pooler cannot leak it."""
    async with connection.transaction(isolation="read_committed"):
        if not await connection.fetchval("select pg_try_advisory_xact_lock($1)", LOCK_KEY):
            say("another migration is running: waiting for it")
            await connection.execute("select pg_advisory_xact_lock($1)", LOCK_KEY)
        yield


@asynccontextmanager
async def _connected(database_url: str, *, wait_s: float, say: Say) -> AsyncIterator[asyncpg.Connection]:
    connection = await _connect(database_url, wait_s=wait_s, say=say)
    connection.add_log_listener(lambda _, message: say(f"{message}") if message.severity == "WARNING" else None)
    try:
        yield connection
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise MigrationRefused(f"{error}; run it again when that is mended: what was applied stays applied") from error
    finally:
        await connection.close()


async def _connect(database_url: str, *, wait_s: float, say: Say) -> asyncpg.Connection:
    loop = asyncio.get_running_loop()
    deadline, pause_s = loop.time() + wait_s, WAIT_FIRST_S
    while True:
        try:
            return await asyncpg.connect(database_url, timeout=CONNECT_TIMEOUT_S)
        except _NOT_THERE_YET as error:
            left_s = deadline - loop.time()
            if left_s <= 0:
                raise MigrationRefused(f"no database within {wait_s:g} s: {error}") from error
            say(f"the database is not there yet, trying again: {error}")
            await asyncio.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 2, WAIT_MOST_S)
        except REFUSED as error:
            raise Unusable(refusal(error)) from error
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise MigrationRefused(f"the database refuses the connection: {error}") from error
