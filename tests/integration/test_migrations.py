"""Wherever people start from, they end with the same schema, and what they had is still there."""

import asyncio
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Final

import asyncpg
import pytest
from typer.testing import CliRunner

from sandbox.database import PostgresServer
from schema import __main__ as command_line
from schema import migrate
from schema.migrate import MigrationRefused, State
from tests.fixtures_database import POSTGRES_VERSIONS, NewServer, execute
from tests.integration.catalog import catalog_lines

SQL: Final = Path(__file__).parent / "sql"
FILES: Final = sorted(migrate.FOLDER.glob("*.sql"))
every_version = pytest.mark.parametrize("version", POSTGRES_VERSIONS)


async def apply(url: str, *, folder: Path = migrate.FOLDER) -> list[str]:
    """Migrate, and return what was said."""
    said: list[str] = []
    await migrate.migrate(url, dry_run=False, wait_s=0, say=said.append, folder=folder)
    return said


async def lines_of(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        return await catalog_lines(connection)
    finally:
        await connection.close()


def psql(server: PostgresServer, url: str, file: Path) -> None:
    """Run one file as a person would, without a transaction around it."""
    command = [str(server.binaries / "psql"), url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


async def make_supabase(server: PostgresServer) -> str:
    """A server as Supabase hands it over; returns the URL of the role that migrates there, no superuser."""
    await execute(server.url(), (SQL / "supabase.sql").read_text())
    return server.url(user="migrator")


@pytest.fixture
async def migrated_lines(database_url: str) -> list[str]:
    """The schema as it must be in the end: an empty database, migrated."""
    return await lines_of(database_url)


@every_version
async def test_an_empty_server_gets_everything(version: int, new_server: NewServer, migrated_lines: list[str]) -> None:
    """On a server that nobody has used, migrate makes Supabase's names and the whole schema; again changes nothing."""
    url = new_server(version).url()
    said = await apply(url)
    assert [line for line in said if line.startswith("applied")] == [f"applied {file.name}" for file in FILES]
    assert await lines_of(url) == migrated_lines
    assert await apply(url) == ["the schema is up to date"]
    assert await lines_of(url) == migrated_lines


@every_version
async def test_supabase_is_left_as_it_is(version: int, new_server: NewServer, migrated_lines: list[str]) -> None:
    """On Supabase the owner of the tables, who is no superuser, migrates; auth and the roles stay untouched."""
    server = new_server(version)
    url = await make_supabase(server)
    auth_before = await describe_auth(server.url())
    said = await apply(url)
    assert said[0] == "000_names_of_supabase.sql is not needed: Supabase's own are here"
    assert await describe_auth(server.url()) == auth_before
    assert await lines_of(url) == migrated_lines
    for file in FILES:  # 000 too, in case somebody runs them all by hand
        psql(server, url, file)
    assert await describe_auth(server.url()) == auth_before
    assert await lines_of(url) == migrated_lines


@every_version
async def test_an_earlier_007_with_rows(version: int, new_server: NewServer, migrated_lines: list[str]) -> None:
    """Where an earlier 007 ran, its rows stay, its open policy goes, and what cannot be a balance becomes null."""
    server = new_server(version)
    url = await make_supabase(server)
    await execute(url, (SQL / "earlier_007.sql").read_text())
    said = await apply(url)
    assert any('policy "Service can manage snapshots" on balance_snapshots is replaced' in line for line in said)
    assert any("1 wallets held a previous balance that was NaN" in line for line in said)
    assert await lines_of(url) == migrated_lines

    connection = await asyncpg.connect(url)
    try:
        wallets = await connection.fetch(
            "select previous_usdc_balance, balance_ledger, failures_in_a_row from public.stellar_wallets order by id"
        )
        assert [tuple(wallet) for wallet in wallets] == [(Decimal("125.5"), None, 0), (None, None, 0)]
        snapshots = await connection.fetch(
            "select usdc_balance::text from public.balance_snapshots order by usdc_balance"
        )
        assert [row["usdc_balance"] for row in snapshots] == ["100.0000000", "125.5000000", "NaN"]
    finally:
        await connection.close()
    assert await apply(url) == [said[0], "the schema is up to date"]


async def test_a_login_granted_the_service_role_works_on_supabase(new_server: NewServer) -> None:
    """Beside people's own policies a login in service_role, without bypassrls, sees and updates every wallet."""
    server = new_server(18)
    url = await make_supabase(server)
    await execute(url, (SQL / "earlier_007.sql").read_text())
    await apply(url)
    await execute(server.url(), "create role pipeline login in role service_role")
    pipeline = await asyncpg.connect(server.url(user="pipeline"))
    try:
        assert await pipeline.execute("update public.stellar_wallets set previous_usdc_balance = 1") == "UPDATE 2"
        assert await pipeline.fetchval("select count(*) from public.balance_snapshots") == 3
    finally:
        await pipeline.close()


@every_version
async def test_every_file_runs_by_plain_psql(version: int, new_server: NewServer, migrated_lines: list[str]) -> None:
    """Without migrate: each file by psql, twice in a row; and migrate afterwards runs them again without harm."""
    server = new_server(version)
    for _ in range(2):
        for file in FILES:
            psql(server, server.url(), file)
        assert await lines_of(server.url()) == migrated_lines
    await apply(server.url())
    assert await lines_of(server.url()) == migrated_lines


async def test_four_migrations_at_once(empty_database_url: str, migrated_lines: list[str]) -> None:
    """Four that start together apply each file once between them; none fails."""
    said = await asyncio.gather(*(apply(empty_database_url) for _ in range(4)))
    applied = sorted(line for lines in said for line in lines if line.startswith("applied"))
    assert applied == [f"applied {file.name}" for file in FILES]
    assert await lines_of(empty_database_url) == migrated_lines


async def test_a_second_migration_waits_for_the_first(empty_database_url: str) -> None:
    """While another one holds the lock, migrate says that it waits, and goes on when the lock is free."""
    other = await asyncpg.connect(empty_database_url)
    said: list[str] = []
    waits = asyncio.Event()

    def say(line: str) -> None:
        said.append(line)
        waits.set()

    try:
        async with other.transaction():
            await other.execute("select pg_advisory_xact_lock($1)", migrate.LOCK_KEY)
            waiting = asyncio.create_task(migrate.migrate(empty_database_url, dry_run=False, wait_s=0, say=say))
            await asyncio.wait_for(waits.wait(), 60)
            assert said == ["another migration is running: waiting for it"]
        await asyncio.wait_for(waiting, 60)
        assert said[-1] == "the schema is up to date"
    finally:
        await other.close()


async def test_a_file_edited_after_it_was_applied(empty_database_url: str, tmp_path: Path) -> None:
    """A changed file is refused by name, with what to do, before anything else is applied; status shows it."""
    first, second = tmp_path / "001_first.sql", tmp_path / "002_second.sql"
    first.write_text("create table public.first (a int);")
    await apply(empty_database_url, folder=tmp_path)
    first.write_text("create table public.first (a bigint);")
    second.write_text("create table public.second (a int);")
    with pytest.raises(MigrationRefused, match=r"001_first.sql was edited after .* write the change as a new file"):
        await apply(empty_database_url, folder=tmp_path)
    files = await migrate.status(empty_database_url, wait_s=0, say=print, folder=tmp_path)
    assert [(file.name, file.state) for file in files] == [(first.name, State.CHANGED), (second.name, State.PENDING)]


async def test_a_file_that_fails_leaves_nothing_behind(empty_database_url: str, tmp_path: Path) -> None:
    """Each file is one transaction: what stands before the failing statement is undone, earlier files stay applied."""
    (tmp_path / "001_good.sql").write_text("create table public.good (a int);")
    (tmp_path / "002_bad.sql").write_text("create table public.half (a int); select 1 / 0;")
    with pytest.raises(MigrationRefused, match=r"002_bad.sql: nothing of this file was applied: division by zero"):
        await apply(empty_database_url, folder=tmp_path)
    connection = await asyncpg.connect(empty_database_url)
    try:
        assert await connection.fetchval("select to_regclass('public.good') is not null")
        assert await connection.fetchval("select to_regclass('public.half') is null")
        assert [row["name"] for row in await connection.fetch("select name from schema_migrations")] == ["001_good.sql"]
    finally:
        await connection.close()


async def test_a_login_that_may_not_create_roles_is_told(new_server: NewServer) -> None:
    """Where the roles are missing and the login cannot make them, the error names the role and the remedy."""
    server = new_server(18)
    await execute(server.url(), "create role small login; grant all on schema public to small")
    with pytest.raises(
        MigrationRefused, match=r"role anon is missing, and small may not create roles\nHINT: .*administrator"
    ):
        await apply(server.url(user="small"))


def test_dry_run_and_status_change_nothing(new_server: NewServer) -> None:
    """The command line: a dry run names what is pending and changes nothing; status exits 1 until all is applied."""
    url = new_server(18).url()
    environment = {"DATABASE_URL": url}
    runner = CliRunner()

    before = asyncio.run(count_objects(url))
    dry = runner.invoke(command_line.app, ["migrate", "--dry-run"], env=environment)
    pending = runner.invoke(command_line.app, ["status"], env=environment)
    assert (dry.exit_code, pending.exit_code) == (0, 1)
    assert dry.stderr.splitlines() == [f"would apply {file.name}" for file in FILES]
    assert all("pending" in line for line in pending.stdout.splitlines())
    assert asyncio.run(count_objects(url)) == before

    assert runner.invoke(command_line.app, ["migrate"], env=environment).exit_code == 0
    applied = runner.invoke(command_line.app, ["status"], env=environment)
    assert applied.exit_code == 0
    assert [line.split()[:2] for line in applied.stdout.splitlines()] == [[file.name, "applied"] for file in FILES]


def test_a_missing_url_and_an_absent_database(tmp_path: Path) -> None:
    """No DATABASE_URL: exit 2 and its name. No database there: it says so while it waits, then gives up with exit 1."""
    runner = CliRunner()
    unset = runner.invoke(command_line.app, ["migrate"], env={"DATABASE_URL": None})
    assert unset.exit_code == 2
    assert "DATABASE_URL" in unset.stderr
    nowhere = f"postgresql://postgres@/postgres?host={tmp_path}"
    absent = runner.invoke(command_line.app, ["migrate", "--wait-s", "0.3", "--database-url", nowhere])
    assert absent.exit_code == 1
    assert "the database is not there yet, trying again" in absent.stderr


async def test_it_waits_for_a_database_that_starts_later(new_server: NewServer) -> None:
    """A database that comes up while migrate waits is migrated."""
    server = new_server(18)
    url = server.url()
    server.stop()
    said: list[str] = []
    waits = asyncio.Event()

    def say(line: str) -> None:
        said.append(line)
        waits.set()

    migrating = asyncio.create_task(migrate.migrate(url, dry_run=False, wait_s=120, say=say))
    await asyncio.wait_for(waits.wait(), 60)
    await asyncio.to_thread(server.start)
    await asyncio.wait_for(migrating, 120)
    assert said[0].startswith("the database is not there yet")
    assert said[-1] == "the schema is up to date"


async def describe_auth(url: str) -> list[str]:
    """Supabase's own: what is in the schema auth, and the roles."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            """select format('%s %s', oid::regclass, relacl) from pg_class where relnamespace = 'auth'::regnamespace
               union all select pg_get_functiondef(oid) from pg_proc where pronamespace = 'auth'::regnamespace
               union all select format('%s %s', nspname, nspacl) from pg_namespace where nspname = 'auth'
               union all select to_jsonb(r)::text from pg_roles r where rolname !~ '^pg_'
               union all select format('%s', conname) from pg_constraint where conrelid = 'auth.users'::regclass"""
        )
        return sorted(row[0] for row in rows)
    finally:
        await connection.close()


async def count_objects(url: str) -> list[int]:
    """How much there is in the database and on the server, by kind."""
    connection = await asyncpg.connect(url)
    try:
        kinds = ("pg_class", "pg_proc", "pg_roles", "pg_namespace", "pg_constraint", "pg_trigger", "pg_policy")
        return [await connection.fetchval(f"select count(*) from {kind}") for kind in kinds]  # noqa: S608 - names above
    finally:
        await connection.close()
