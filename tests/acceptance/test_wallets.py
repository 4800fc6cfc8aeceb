"""`python -m producers wallets` as a process: beside a stream, killed in the middle, and what it says to a person."""

import asyncio
import os
import pty
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import orjson
import psutil
import pytest

from producers.parts import Pace
from sandbox.children import ROOT, inherited
from tests.integration.producers.conftest import scene as scene  # noqa: PLC0414 - the same world
from tests.integration.producers.scene import Scene, until_true
from tests.people import account_id, add_person
from tests.waiting import until

IMPORTED = 3_000


async def wallets(
    url: str, *arguments: str | Path, given: bytes = b"", network: str = "testnet"
) -> tuple[int, str, str]:
    """Run the command; its exit code, and what it said on standard output and error."""
    running = await started(url, *arguments, network=network)
    said, complained = await asyncio.wait_for(running.communicate(given), 120)
    assert running.returncode is not None
    return running.returncode, said.decode(), complained.decode()


async def started(
    url: str, *arguments: str | Path, network: str = "testnet", stdout: int = asyncio.subprocess.PIPE
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "producers", "wallets", *map(str, arguments)),
        env={**inherited(), "DATABASE_URL": url, "STELLAR_NETWORK": network},
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
    )


async def users(connection: asyncpg.Connection, count: int) -> list[UUID]:
    ids = [uuid4() for _ in range(count)]
    await connection.copy_records_to_table("users", schema_name="auth", columns=["id"], records=[(id_,) for id_ in ids])
    return ids


def csv(rows: Iterable[Sequence[object]], header: str = "user_id,public_key") -> bytes:
    return "\r\n".join([header, *(",".join(map(str, row)) for row in rows), ""]).encode()


async def test_what_is_imported_while_a_stream_runs_is_followed_and_told(scene: Scene, tmp_path: Path) -> None:
    """Thousands of wallets by file: the stream hears of it, follows each within seconds, and tells every baseline; a
    payment to one of them is told, and a removal by file is heard, too.
    """
    people = await users(scene.connection, IMPORTED)
    keys = [*(scene.account(wallet) for wallet in range(10)), *(account_id(f"{id_}") for id_ in people[10:])]
    path = tmp_path / "wallets.csv"
    path.write_bytes(csv(zip(people, keys, strict=True)))
    async with scene.stream(pace=Pace(idle_drain_s=20.0, wallets_refresh_s=3600.0)) as running:
        await until_true(scene.saved_ledger, what="the stream is under way")
        code, said, complained = await wallets(scene.database_url, "import", path, "--json")
        assert (code, complained) == (0, "")
        assert orjson.loads(said)["added"] == IMPORTED
        tracked = running.parts.metrics.tracked._value.get
        await until_true(lambda: tracked() == IMPORTED, what="all are followed")
        scene.pay(3, 50)
        scene.close()
        await scene.until_told(3, units=150)
        await scene.until(
            lambda facts: len({fact.account_id for fact in facts}) >= IMPORTED, what="every baseline is told"
        )
        addresses = "\n".join(keys[10:2_000]).encode()
        code, said, _ = await wallets(scene.database_url, "remove", "--file", "-", given=addresses)
        assert (code, said.split(";")[0]) == (0, "1,990 removed")
        await until_true(lambda: tracked() == IMPORTED - 1_990, what="they are forgotten")


async def test_killed_in_the_middle_it_has_done_nothing(
    database_url: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    """`kill -9` while it writes: no row of it is there, and the same file is then imported as if nothing had been."""
    people = await users(connection, 2_000)
    path = tmp_path / "wallets.csv"
    path.write_bytes(csv((id_, account_id(str(id_))) for id_ in people))
    other = await asyncpg.connect(database_url)
    in_the_way = other.transaction()
    await in_the_way.start()
    await other.execute("lock table auto_deposit_policies in access exclusive mode")  # after every row is inserted
    running = await started(database_url, "import", path)
    of_import = "select from pg_stat_activity where application_name = 'wallets'"
    waits = f"select exists ({of_import} and wait_event = 'relation')"
    await until(lambda: connection.fetchval(waits), "it stands in the middle of its transaction")
    running.kill()
    await running.wait()
    await in_the_way.rollback()
    await other.close()
    gone = f"select not exists ({of_import})"
    await until(lambda: connection.fetchval(gone), "its session is gone")
    assert await connection.fetchval("select count(*) from stellar_wallets") == 0
    code, said, _ = await wallets(database_url, "import", path)
    assert (code, said.split(";")[0]) == (0, "2,000 added")


async def test_a_database_that_falls_silent_at_the_commit_leaves_it_open(
    database_url: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    """Nobody can say then whether it was done, and so it is not called undone; the same again finds out."""
    [ada] = await users(connection, 1)
    path = tmp_path / "wallets.csv"
    path.write_bytes(csv([(ada, account_id("ada"))]))
    await connection.execute("""
        create function slow_commit() returns trigger language plpgsql
        as 'begin perform pg_sleep(60); return null; end';
        create constraint trigger slow_commit after insert on stellar_wallets
        deferrable initially deferred for each row execute function slow_commit()""")
    running = await started(database_url, "import", path)
    of_import = "select pid from pg_stat_activity where application_name = 'wallets' and wait_event = 'PgSleep'"
    pid = await until(lambda: connection.fetchval(of_import), "it commits")
    await connection.execute("select pg_terminate_backend($1)", pid)
    _, complained = await asyncio.wait_for(running.communicate(), 60)
    assert (running.returncode, b"nobody knows" in complained, b"nothing was changed" in complained) == (1, True, False)
    await connection.execute("drop trigger slow_commit on stellar_wallets")
    assert (await wallets(database_url, "import", path))[1].split(";")[0] == "1 added"


async def test_faults_are_told_on_standard_error_and_by_the_exit_code(
    database_url: str, connection: asyncpg.Connection
) -> None:
    """1 and each line with its place; with more than are shown, how many there are; and nothing is changed."""
    [ada] = await users(connection, 1)
    rows = [(ada, account_id("ada")), *((ada, f"G{number}") for number in range(25))]
    code, said, complained = await wallets(database_url, "import", "-", given=csv(rows))
    assert code == 1
    assert said.startswith("25 of 26 lines cannot be taken in; nothing was changed")
    assert complained.splitlines()[0].startswith("line 3: public_key is 'G0', expected an account id")
    assert complained.splitlines()[-1] == "and 5 more; --report FILE names all"
    assert await connection.fetchval("select count(*) from stellar_wallets") == 0
    code, said, _ = await wallets(database_url, "import", "-", "--skip-bad", given=csv(rows))
    assert (code, said.split(";")[:2]) == (1, ["1 added", " 0 unchanged, 25 refused"])


@pytest.mark.parametrize(
    ("arguments", "given", "says"),
    [
        (("import", "nowhere.csv"), b"", "nowhere.csv: No such file"),
        (("import", "-"), b"user_id,publik_key\n", "the header names 'publik_key'"),
        (
            ("import", "-", "--report", "/nowhere/report.csv"),
            b"user_id,public_key\n",
            "/nowhere/report.csv: No such",
        ),
        (("pause",), b"", "name the wallets"),
    ],
)
async def test_what_cannot_be_begun_is_bad_usage(
    database_url: str, arguments: tuple[str, ...], given: bytes, says: str
) -> None:
    """Exit code 2 and what to mend."""
    code, said, complained = await wallets(database_url, *arguments, given=given)
    assert (code, said) == (2, "")
    assert says in complained


async def test_where_nothing_can_be_written_it_is_said_of_what(
    database_url: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    """A report on a full disk: it is named, and nothing is changed. One in the place of the file itself: refused, and
    the file stands. No room for the summary: that it is done is said all the same. Nor is a list on a full disk a bug.
    """
    [ada] = await users(connection, 1)
    path = tmp_path / "wallets.csv"
    path.write_bytes(csv([(ada, account_id("ada"))]))
    before = path.read_bytes()
    for report in (path, tmp_path / "." / "wallets.csv"):
        code, _, complained = await wallets(database_url, "import", path, "--report", report)
        assert (code, path.read_bytes()) == (2, before)
        assert "the file itself" in complained
    bad = tmp_path / "bad.csv"
    bad.write_bytes(csv([(ada, account_id("ada")), (ada, "GABC")]))
    code, said, complained = await wallets(database_url, "import", bad, "--skip-bad", "--report", "/dev/full")
    assert (code, said, complained) == (1, "", "/dev/full: No space left on device: nothing was changed\n")
    assert await connection.fetchval("select count(*) from stellar_wallets") == 0

    full = os.open("/dev/full", os.O_WRONLY)
    for arguments, says in (
        (("import", str(path)), "standard output: No space left on device: what was asked for is done"),
        (("list",), "standard output: No space left on device"),
    ):
        running = await started(database_url, *arguments, stdout=full)
        _, told = await asyncio.wait_for(running.communicate(), 60)
        assert (running.returncode, told.decode().strip()) == (1, says)
    os.close(full)
    assert await connection.fetchval("select count(*) from stellar_wallets") == 1


async def test_an_interrupt_at_the_question_is_heard_at_once(database_url: str, connection: asyncpg.Connection) -> None:
    """Ctrl-C where it is asked whether wallets may be removed: exit code 130, nothing was changed."""
    ada = await add_person(connection)
    terminal, end = pty.openpty()
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "producers", "wallets", "remove", ada.account_id),
        env={**inherited(), "DATABASE_URL": database_url, "STELLAR_NETWORK": "testnet"},
        cwd=ROOT,
        stdin=end,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert running.stderr is not None
    said = await asyncio.wait_for(running.stderr.readuntil(b"[y/N]:"), 60)
    asked = psutil.Process(running.pid)

    async def waits() -> bool:
        return asked.status() == psutil.STATUS_SLEEPING  # a signal just before that is taken note of, and wakes nobody

    await until(waits, "it waits for the answer")
    running.send_signal(signal.SIGINT)
    rest = await asyncio.wait_for(running.stderr.read(), 30)
    os.close(terminal)
    os.close(end)
    assert (await running.wait(), b"nothing was changed" in rest) == (130, True), said
    assert await connection.fetchval("select count(*) from stellar_wallets") == 1


async def test_one_by_one(database_url: str, connection: asyncpg.Connection) -> None:
    """A wallet is added, paused, listed, unpaused and removed from the command line; the same again does no harm."""
    [ada] = await users(connection, 1)
    await add_person(connection, network="mainnet")
    key = account_id("ada")
    for arguments, verdict in (
        (("add", str(ada), key), "1 added"),
        (("add", str(ada), key), "nothing to do"),
        (("pause", key), "1 paused"),
    ):
        assert (await wallets(database_url, *arguments))[1].split(";")[0] == verdict
    code, said, _ = await wallets(database_url, "list")
    assert (code, said) == (0, f"public_key,network,version,balance,paused,held\n{key},testnet,,,true,false\n")
    assert (await wallets(database_url, "unpause", key))[1].split(";")[0] == "1 unpaused"
    assert (await wallets(database_url, "remove", key))[1].split(";")[0] == "1 removed"
    assert not await connection.fetchval("select exists (select from stellar_wallets where public_key = $1)", key)


async def test_without_its_variables_it_names_them_and_asks_for_no_broker() -> None:
    """DATABASE_URL and STELLAR_NETWORK are all it needs."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "producers", "wallets", "list"),
        env=inherited(),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complained = await running.communicate()
    assert running.returncode == 2
    named = {line.split()[0] for line in complained.decode().splitlines() if "is not set" in line}
    assert named == {"DATABASE_URL", "STELLAR_NETWORK"}
