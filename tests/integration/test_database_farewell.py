"""A server's farewell: it says that it ends a connection, and its socket closes only later."""

import asyncio
import contextlib
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from schema.service import database

_READ_BYTES = 65_536


class SlowGoodbye:
    """A unix socket before the server's own; what the server says is passed on, that it hung up is not."""

    def __init__(self, server_socket: Path, folder: Path) -> None:
        self._server_socket = server_socket
        self._socket = folder / server_socket.name
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.hung_up = asyncio.Event()

    async def open(self) -> asyncio.Server:
        return await asyncio.start_unix_server(self._serve, self._socket)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_unix_connection(self._server_socket)
        self._writers += [writer, there_writer]
        for source, target, event in ((reader, there_writer, None), (there_reader, writer, self.hung_up)):
            task = asyncio.create_task(self._pump(source, target, event))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, event: asyncio.Event | None
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(_READ_BYTES):
                target.write(data)
        if event is not None:
            event.set()

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.close()


@pytest.mark.parametrize("way", ["transaction", "connected"])
async def test_a_connection_that_was_told_goodbye_is_a_transient_failure(database_url: str, way: str) -> None:
    """Between the server's last word and its hanging up a query fails; it is tried again on another connection."""
    folder = Path(parse_qs(urlsplit(database_url).query)["host"][0])
    name = urlsplit(database_url).path.removeprefix("/")
    with tempfile.TemporaryDirectory(prefix="bye-") as temporary:
        proxy = SlowGoodbye(folder / ".s.PGSQL.5432", Path(temporary))
        listening = await proxy.open()
        url = f"postgresql://postgres@/{name}?host={temporary}"
        pool = await database.open_pool(url, connections_max=1, application_name="farewell")
        killer = await asyncpg.connect(database_url)
        try:
            terminate = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'farewell'"
            await killer.execute(terminate)
            await proxy.hung_up.wait()
            attempts = 0
            async for attempt in database.retrying("ask"):
                with attempt:
                    attempts += 1
                    async with getattr(database, way)(pool) as connection:
                        assert await connection.fetchval("select 1") == 1
            assert attempts == 2
        finally:
            await killer.close()
            pool.terminate()
            listening.close()
            proxy.close()
