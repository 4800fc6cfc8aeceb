"""A link between two parts, in each of its modes."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from sandbox.database import PostgresServer
from sandbox.torture.proxy import Link, Mode, dial_tcp, dial_unix
from tests.waiting import until

SILENCE_S = 0.5  # long enough for what passes to have passed
GONE = (ConnectionError, asyncio.IncompleteReadError)


class Echo:
    """A server that answers each line with the line, and counts what it heard."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                self.heard.append(line)
                writer.write(line)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def link(echo: Echo) -> AsyncIterator[Link]:
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    led = Link("test", dial_tcp("127.0.0.1", server.sockets[0].getsockname()[1]))
    await led.start()
    yield led
    for client in CLIENTS:
        client.writer.transport.abort()
    CLIENTS.clear()
    await led.close()
    server.close()


CLIENTS: list["Client"] = []  # of the test that runs, to be closed


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, line: bytes, *, within_s: float = 10.0) -> bytes | None:
        """The answer; None when there is silence."""
        self.writer.write(line)
        await self.writer.drain()
        return await self.hear(within_s=within_s)

    async def hear(self, *, within_s: float = 10.0) -> bytes | None:
        try:
            async with asyncio.timeout(within_s):
                return await self.reader.readuntil()
        except TimeoutError:
            return None

    async def is_reset(self) -> bool:
        try:
            return await self.hear(within_s=10.0) is not None
        except GONE:
            return True


async def connect(link: Link) -> Client:
    CLIENTS.append(Client(*await asyncio.open_connection("127.0.0.1", link.port)))
    return CLIENTS[-1]


async def test_an_open_link_passes_everything_both_ways(link: Link, echo: Echo) -> None:
    """Ten megabytes come back as they were sent."""
    client = await connect(link)
    lines = [b"%d %s\n" % (number, b"x" * 10_000) for number in range(1000)]

    async def send() -> None:
        for line in lines:
            client.writer.write(line)
            await client.writer.drain()

    sending = asyncio.create_task(send())
    assert [await client.hear() for _ in lines] == lines
    await sending
    assert echo.heard == lines


async def test_a_cut_resets_what_is_open_and_takes_what_is_new(link: Link) -> None:
    """The client sees a reset, not an orderly end, and may come again at once."""
    client = await connect(link)
    assert await client.ask(b"one\n") == b"one\n"
    link.cut()
    with pytest.raises(GONE):
        await client.ask(b"two\n")
    assert await (await connect(link)).ask(b"three\n") == b"three\n"


async def test_a_stalled_link_passes_later_what_waited(link: Link, echo: Echo) -> None:
    """Nothing is lost, nothing passes, and connections that come meanwhile wait too."""
    client = await connect(link)
    assert await client.ask(b"one\n") == b"one\n"
    await link.set_mode(Mode.STALLED)
    assert await client.ask(b"two\n", within_s=SILENCE_S) is None
    late = await connect(link)
    assert await late.ask(b"three\n", within_s=SILENCE_S) is None
    assert echo.heard == [b"one\n"]
    await link.set_mode(Mode.OPEN)
    assert await client.hear() == b"two\n"
    assert await late.hear() == b"three\n"


async def test_a_slowed_link_passes_everything_late(link: Link) -> None:
    """Each answer takes at least the two ways' steps."""
    await link.set_mode(Mode.SLOWED)
    client = await connect(link)
    began = asyncio.get_running_loop().time()
    assert await client.ask(b"x" * 8_000 + b"\n") == b"x" * 8_000 + b"\n"
    assert asyncio.get_running_loop().time() - began >= 0.4


async def test_a_deaf_link_loses_what_the_client_says(link: Link, echo: Echo) -> None:
    """The server hears nothing, the client sees no end; healed, the connection that lost bytes is reset."""
    client = await connect(link)
    assert await client.ask(b"one\n") == b"one\n"
    await link.set_mode(Mode.DEAF)
    assert await client.ask(b"two\n", within_s=SILENCE_S) is None
    assert echo.heard == [b"one\n"]
    await link.set_mode(Mode.OPEN)
    assert await client.is_reset()
    assert await (await connect(link)).ask(b"three\n") == b"three\n"


async def test_a_mute_link_loses_what_the_server_says(link: Link, echo: Echo) -> None:
    """The server hears and answers, the client hears nothing; a connection that lost nothing lives on."""
    client, other = await connect(link), await connect(link)
    assert await other.ask(b"one\n") == b"one\n"
    await link.set_mode(Mode.MUTE)
    assert await client.ask(b"two\n", within_s=SILENCE_S) is None
    assert echo.heard == [b"one\n", b"two\n"]
    await link.set_mode(Mode.OPEN)
    assert await client.is_reset()
    assert await other.ask(b"three\n") == b"three\n"


async def test_a_refused_link_has_nobody_listening(link: Link) -> None:
    """Open connections are reset, new ones refused; later the same port is there again."""
    client, port = await connect(link), link.port
    assert await client.ask(b"one\n") == b"one\n"
    await link.set_mode(Mode.REFUSED)
    assert await client.is_reset()
    with pytest.raises(ConnectionRefusedError):
        await connect(link)
    await link.set_mode(Mode.OPEN)
    assert link.port == port
    assert await (await connect(link)).ask(b"two\n") == b"two\n"


async def test_a_server_that_is_away_looks_like_a_reset(link: Link) -> None:
    """The link stands although nobody is at its other end."""
    link.dial = dial_tcp("127.0.0.1", 1)
    assert await (await connect(link)).is_reset()

    async def none_left() -> bool:
        return link.connections == 0

    await until(none_left, "the link has forgotten it")


async def test_a_lost_commit_is_done_and_its_answer_never_comes(
    postgres: PostgresServer, database_url: str, connection: asyncpg.Connection
) -> None:
    """The client does not learn what became of its transaction; the row is there; the next transaction is unharmed."""
    database = database_url.partition("?")[0].rpartition("/")[2]
    link = Link("test", dial_unix(str(postgres.socket_folder / ".s.PGSQL.5432")), speaks_postgres=True)
    await link.start()
    url = f"postgresql://postgres@127.0.0.1:{link.port}/{database}"
    await connection.execute("create table marks (id int)")
    try:
        client = await asyncpg.connect(url)
        async with client.transaction():
            await client.execute("insert into marks values (1)")
        link.lose_next_commit()
        with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError)):
            async with client.transaction():
                await client.execute("insert into marks values ($1)", 2)
        assert link.commits_lost == 1
        assert await connection.fetchval("select array_agg(id order by id) from marks") == [1, 2]
        client = await asyncpg.connect(url)
        async with client.transaction():
            await client.execute("insert into marks values (3)")
        await client.close()
        assert await connection.fetchval("select count(*) from marks") == 3
    finally:
        await link.close()
