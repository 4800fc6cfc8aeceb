"""A TCP link between two of our parts that can be made to fail as real ones do."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final

from sandbox.torture.postgres_wire import CommitWatch

CHUNK_BYTES: Final = 64 * 1024
SLOW_CHUNK_BYTES: Final = 2 * 1024
SLOW_STEP_S: Final = 0.05  # 40 KiB/s at most, and 50 ms on every answer
CONNECT_TIMEOUT_S: Final = 10.0

Dial = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Mode(StrEnum):
    """What a link does."""

    OPEN = "open"
    STALLED = "stalled"  # connections stay, nothing passes either way; later everything that waited does
    SLOWED = "slowed"
    DEAF = "deaf"  # half-open: what the client says is lost, answers still come; reset in the end
    MUTE = "mute"  # half-open: the client is heard and never answered; reset in the end
    REFUSED = "refused"  # nobody listens, and connections that were open are reset


def dial_tcp(host: str, port: int) -> Dial:
    """Reach the server by TCP."""
    return lambda: asyncio.open_connection(host, port)


def dial_unix(path: str) -> Dial:
    """Reach the server by its unix socket."""
    return lambda: asyncio.open_unix_connection(path)


class Link:
    """One listening port; what connects to it is led to the server that `dial` reaches.

    The port is taken when the object is made and stays the same over every mode.
    """

    def __init__(self, name: str, dial: Dial, *, speaks_postgres: bool = False) -> None:
        self.name = name
        self.mode = Mode.OPEN
        self.commits_lost = 0
        self.dial = dial
        self._speaks_postgres = speaks_postgres
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._pairs: dict[_Pair, asyncio.Task[None]] = {}
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._lose_next_commit = False

    async def start(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._accept, sock=self._listener)

    async def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        self._listener.close()
        self._flowing.set()
        while self._pairs:
            self.cut()
            await asyncio.wait(list(self._pairs.values()), timeout=CONNECT_TIMEOUT_S)

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._pairs)

    def cut(self) -> None:
        """Reset every connection that is open now; new ones are taken."""
        for pair in list(self._pairs):
            pair.reset()

    def silence(self) -> None:
        """Every connection that is open now is half-open from here on, for ever: nothing passes, nothing ends it."""
        for pair in self._pairs:
            pair.is_silent = True

    async def set_mode(self, mode: Mode) -> None:
        """Change what the link does. Leaving a half-open mode resets the connections that lost bytes in it."""
        before, self.mode = self.mode, mode
        if mode is Mode.STALLED:
            self._flowing.clear()
        else:
            self._flowing.set()
        if before in (Mode.DEAF, Mode.MUTE):
            for pair in list(self._pairs):
                if pair.has_lost_bytes:
                    pair.reset()
        if mode is Mode.REFUSED and self._server is not None:
            self._server.close()
            self._server = None
            self.cut()
        elif before is Mode.REFUSED and mode is not Mode.REFUSED:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            await self.start()

    def lose_next_commit(self) -> None:
        """The next COMMIT that passes reaches the PostgreSQL server, and its answer gets lost with the connection."""
        self._lose_next_commit = True

    def lose_no_commit(self) -> None:
        """Not any more."""
        self._lose_next_commit = False

    async def pass_on(self, pair: "_Pair", chunk: bytes, writer: asyncio.StreamWriter, *, is_answer: bool) -> None:
        """Write a chunk to its destination as the mode has it."""
        if pair.is_silent:
            return
        if not is_answer and self._speaks_postgres and pair.watch.feed(chunk) and self._lose_next_commit:
            self._lose_next_commit = False
            pair.swallows_answer = True
        if self.mode is (Mode.MUTE if is_answer else Mode.DEAF):
            pair.has_lost_bytes = True
            return
        if self.mode is Mode.SLOWED:
            for begin in range(0, len(chunk), SLOW_CHUNK_BYTES):
                await asyncio.sleep(SLOW_STEP_S)
                writer.write(chunk[begin : begin + SLOW_CHUNK_BYTES])
                await writer.drain()
            return
        await self._flowing.wait()
        if is_answer and pair.swallows_answer:  # PostgreSQL answers a COMMIT once it is done
            self.commits_lost += 1
            pair.reset()
            return
        writer.write(chunk)
        await writer.drain()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pair = _Pair(writer)
        task = asyncio.current_task()
        assert task is not None
        self._pairs[pair] = task
        try:
            await self._flowing.wait()
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                server_reader, pair.server = await self.dial()
            await _pump_both(self, pair, reader, server_reader)
        except (OSError, TimeoutError):
            pass  # the server is away: what the client sees of that is a reset
        finally:
            del self._pairs[pair]
            pair.reset()


class _Pair:
    """The two ends of one connection."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.client = client
        self.server: asyncio.StreamWriter | None = None
        self.watch = CommitWatch()
        self.has_lost_bytes = False
        self.swallows_answer = False
        self.is_silent = False
        self.is_over = asyncio.Event()

    def reset(self) -> None:
        """End both ends at once, as a router that forgot them does."""
        self.is_over.set()
        for end in (self.client, self.server):
            if end is not None:
                with contextlib.suppress(OSError):
                    found = end.get_extra_info("socket")
                    if found is not None and found.family != socket.AF_UNIX:
                        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                end.transport.abort()


async def _pump_both(link: Link, pair: _Pair, client: asyncio.StreamReader, server: asyncio.StreamReader) -> None:
    """Both directions until one ends: then the other has no use either."""
    assert pair.server is not None
    pumps = [
        asyncio.create_task(_pump(link, pair, client, pair.server, is_answer=False)),
        asyncio.create_task(_pump(link, pair, server, pair.client, is_answer=True)),
    ]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        if pair.is_silent:
            await pair.is_over.wait()  # not even an end is heard on the other side
        if link.mode is not Mode.STALLED:
            for writer in (pair.server, pair.client):  # what is still on its way out may leave
                with contextlib.suppress(OSError):
                    writer.close()
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(
    link: Link, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool
) -> None:
    while chunk := await reader.read(CHUNK_BYTES):
        await link.pass_on(pair, chunk, writer, is_answer=is_answer)
