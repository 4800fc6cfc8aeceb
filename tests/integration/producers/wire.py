"""Answers byte for byte over a real socket, broken off, dripping or silent as a test says; and a client for them."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import orjson
import stamina

from producers.asking import open_session
from producers.budget import Budget
from producers.horizon import Horizon
from schema.service.readiness import Readiness
from schema.stellar import Ledger
from tests.unit.producers.records import ALICE, LEDGER, asset_fields, payment

OBSERVED = Ledger(LEDGER + 40)
CHUNK_BYTES = 97


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one connection is sent: the bytes, `byte_s` after each one, then the end, or silence for as long as it
    takes.
    """

    text: bytes = b""
    byte_s: float = 0.0
    silent: bool = False


@dataclass(kw_only=True)
class Script:
    """A server that answers each request with the next answer, then always with the last one."""

    answers: deque[Answer]
    paths: list[str] = field(default_factory=list)
    url: str = ""
    _open: dict[asyncio.StreamWriter, asyncio.Task[None]] = field(default_factory=dict)

    async def close(self) -> None:
        """End what still hangs."""
        for writer in self._open:
            writer.transport.abort()
        await asyncio.gather(*self._open.values())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[writer] = task
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            self.paths.append(request.split(b" ", 2)[1].decode())
            answer = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
            if answer.byte_s:
                for byte in answer.text:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(answer.byte_s)
                return
            writer.write(answer.text)
            await writer.drain()
            if answer.silent:
                await reader.read()  # until the client has had enough
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            del self._open[writer]


@asynccontextmanager
async def serving(*answers: Answer) -> AsyncIterator[Script]:
    """A script on a port of its own."""
    script = Script(answers=deque(answers))
    server = await asyncio.start_server(script._serve, "127.0.0.1", 0)
    script.url = "http://{}:{}".format(*server.sockets[0].getsockname())
    try:
        yield script
    finally:
        server.close()
        await script.close()


class Hasty(Budget):
    """A budget that waits for nobody."""

    def pause(self, seconds: float) -> None:
        assert seconds >= 0


@asynccontextmanager
async def client(
    url: str, *, silence_s_max: float = 70.0, hasty: bool = False
) -> AsyncIterator[tuple[Horizon, Readiness]]:
    """The real client, without a limit."""
    readiness = Readiness()
    budget = (Hasty if hasty else Budget)(0)
    async with open_session() as session:
        horizon = Horizon(session, url, budget=budget, readiness=readiness, silence_s_max=silence_s_max)
        yield horizon, readiness


@contextmanager
def without_waiting() -> Iterator[None]:
    """Attempts follow each other at once: thousands of them are made."""
    stamina.set_testing(True, attempts=4)
    try:
        yield
    finally:
        stamina.set_testing(False)


def http(body: bytes, *headers: str, status: str = "200 OK", framing: str = "length") -> bytes:
    """An answer as it goes over the wire, its length told before, in chunks, or by the end of the connection."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/hal+json; charset=utf-8", *headers]
    if framing == "length":
        lines.append(f"Content-Length: {len(body)}")
    elif framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
        pieces = [body[at : at + CHUNK_BYTES] for at in range(0, len(body), CHUNK_BYTES)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])
    else:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode() + body


def page_body(*records: object) -> bytes:
    """A page of these records."""
    return orjson.dumps({"_links": {"next": {"href": ""}}, "_embedded": {"records": list(records)}})


def account_body(balance: str = "150.0000000", *, version: int = LEDGER) -> bytes:
    """Alice's page."""
    line = {**asset_fields(), "balance": balance, "is_authorized": True, "last_modified_ledger": version}
    return orjson.dumps({"account_id": ALICE, "balances": [line]})


def root_body(*, passphrase: str, latest: int = OBSERVED) -> bytes:
    """Horizon's root page."""
    return orjson.dumps({"network_passphrase": passphrase, "history_elder_ledger": 2, "history_latest_ledger": latest})


def stream_body(*events: bytes) -> bytes:
    """A stream that begins as Horizon's do."""
    return b'retry: 1000\nevent: open\ndata: "hello"\n\n' + b"".join(events)


RECORD = b"id: %b\ndata: %b\n\n" % (payment()["id"].encode(), orjson.dumps(payment()))
BYEBYE = b'retry: 10\nevent: close\ndata: "byebye"\n\n'
