"""Poolers before PostgreSQL: one that does not do is named, and nothing waits behind it without a word."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from producers.store import Store
from schema.service import database
from schema.service.readiness import Readiness
from schema.service.settings import Unusable
from tests.waiting import until

SOCKET = ".s.PGSQL.5432"
NOTIFICATION = b"A"
HEADER_BYTES = 5
LENGTH_BYTES = 4


class Pooler:
    """A unix socket before the server's own, which does what poolers do: refuses start-up parameters that it does not
    know, in PgBouncer's words, says that the server is away, and keeps notifications for itself.
    """

    def __init__(self, server_socket: Path, *, refuses: str = "", away_times: int = 0, notifies: bool = True) -> None:
        self._server_socket = server_socket
        self._refuses = refuses
        self._away_times = away_times
        self._notifies = notifies

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError), contextlib.closing(writer):
            length = await reader.readexactly(LENGTH_BYTES)
            startup = length + await reader.readexactly(int.from_bytes(length, "big") - LENGTH_BYTES)
            if self._away_times:
                self._away_times -= 1
                writer.write(_refusal("pgbouncer cannot connect to server"))
            elif self._refuses and self._refuses.encode() in startup:
                writer.write(_refusal(f"unsupported startup parameter: {self._refuses}"))
            else:
                there_reader, there_writer = await asyncio.open_unix_connection(self._server_socket)
                with contextlib.closing(there_writer):
                    there_writer.write(startup)
                    await asyncio.gather(_pass_on(reader, there_writer), self._answer(there_reader, writer))
            await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            while True:
                header = await reader.readexactly(HEADER_BYTES)
                body = await reader.readexactly(int.from_bytes(header[1:], "big") - LENGTH_BYTES)
                if self._notifies or header[:1] != NOTIFICATION:
                    writer.write(header + body)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.closing(writer):
        while said := await reader.read(65_536):
            writer.write(said)


def _refusal(message: str) -> bytes:
    """PgBouncer's: whatever it has to say has the code of a broken protocol."""
    fields = b"".join(
        kind + said.encode() + b"\0" for kind, said in ((b"S", "FATAL"), (b"C", "08P01"), (b"M", message))
    )
    body = fields + b"\0"
    return b"E" + (len(body) + LENGTH_BYTES).to_bytes(4, "big") + body


@contextlib.asynccontextmanager
async def behind(
    database_url: str, *, refuses: str = "", away_times: int = 0, notifies: bool = True
) -> AsyncIterator[str]:
    """The URL of this database behind such a pooler."""
    folder = Path(parse_qs(urlsplit(database_url).query)["host"][0])
    name = urlsplit(database_url).path.removeprefix("/")
    pooler = Pooler(folder / SOCKET, refuses=refuses, away_times=away_times, notifies=notifies)
    with tempfile.TemporaryDirectory(prefix="pooler-") as temporary:
        server = await asyncio.start_unix_server(pooler.serve, Path(temporary) / SOCKET)
        try:
            yield f"postgresql://postgres@/{name}?host={temporary}"
        finally:
            server.close()


async def test_a_pooler_that_refuses_our_limits_is_named_with_the_remedy(database_url: str) -> None:
    """It will say the same for ever: not waited for, but said, with what to set where."""
    async with behind(database_url, refuses="statement_timeout") as url:
        async with asyncio.timeout(30):
            with pytest.raises(Unusable, match=r"DATABASE_URL .*unsupported startup parameter.*ignore_startup_param"):
                await database.open_pool(url, connections_max=1, application_name="behind")


async def test_a_pooler_whose_server_is_away_is_waited_for(database_url: str) -> None:
    """The same code of error, and it passes by itself."""
    async with behind(database_url, away_times=2) as url, asyncio.timeout(30):
        pool = await database.open_pool(url, connections_max=1, application_name="behind")
        pool.terminate()


async def test_prepared_statements_that_get_lost_are_the_poolers_mode_and_no_bug(database_url: str) -> None:
    """As when the next transaction is given another of the pooler's connections, which has prepared nothing."""
    pool = await database.open_pool(database_url, connections_max=1, application_name="behind")

    async def ask_twice() -> None:
        async with database.connected(pool) as connection:
            await connection.fetchval("select $1::int", 1)
            await connection.execute("deallocate all")
            await connection.fetchval("select $1::int", 1)

    try:
        with pytest.raises(Unusable, match=r"DATABASE_URL .* session mode"):
            await ask_twice()
    finally:
        pool.terminate()


async def test_notifications_that_nobody_hears_are_said_and_not_trusted(database_url: str) -> None:
    """LISTEN is accepted and leads to nothing: a wallet would be followed late, and what it was paid lost in its
    baseline. So nothing begins, and the readiness page says why.
    """
    heard: list[str] = []
    readiness = Readiness()
    async with behind(database_url, notifies=False) as url, Store.opened(url) as store:
        listening = asyncio.create_task(
            store.listen(on_wallet=heard.append, on_request=lambda: heard.append("request"), readiness=readiness)
        )
        try:

            async def is_said() -> bool:
                return "session mode" in readiness.reasons().get("database", "")

            await until(is_said, "the page says what is wrong")
            assert heard == []
        finally:
            listening.cancel()
            await asyncio.wait([listening])


async def test_behind_a_pooler_that_keeps_sessions_all_is_heard(database_url: str) -> None:
    """What is said over one of its connections comes through another."""
    heard: list[str] = []
    readiness = Readiness()
    async with behind(database_url) as url, Store.opened(url) as store:
        listening = asyncio.create_task(
            store.listen(on_wallet=heard.append, on_request=lambda: None, readiness=readiness)
        )
        try:

            async def is_heard() -> bool:
                return heard == [""]

            await until(is_heard, "it listens")
            assert "database" not in readiness.reasons()
        finally:
            listening.cancel()
            await asyncio.wait([listening])
