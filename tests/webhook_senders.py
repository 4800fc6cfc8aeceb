"""Senders of webhooks: they sign by hand, as the specification says it, not with the library we check by."""

import asyncio
import base64
import hashlib
import hmac
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import orjson

SECRET = "whsec_" + base64.b64encode(hashlib.sha256(b"one").digest()).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(hashlib.sha256(b"two").digest()).decode()
STRANGE_SECRET = "whsec_" + base64.b64encode(hashlib.sha256(b"a stranger's").digest()).decode()
SHARED = "supabase-0123456789-abcdefghijklmnop"
PATH = "/webhooks/stellar"


def signature(secret: str, webhook_id: str, timestamp: str, body: bytes) -> str:
    """`v1,` and the HMAC-SHA256 of `id.timestamp.body`."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b".".join([webhook_id.encode(), timestamp.encode(), body])
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def signed(body: bytes, *, webhook_id: str | None = None, secret: str = SECRET, age_s: int = 0) -> dict[str, str]:
    """The headers of a signed webhook; a new id where none is given."""
    webhook_id = webhook_id or f"msg_{uuid.uuid4().hex}"
    timestamp = str(int(time.time()) - age_s)
    return {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": signature(secret, webhook_id, timestamp, body),
    }


def naming(*account_ids: str) -> bytes:
    """A body that names these accounts."""
    return orjson.dumps({"accounts": account_ids})


def request(body: bytes, headers: dict[str, str], *, method: str = "POST", path: str = PATH) -> bytes:
    """The request's bytes."""
    named = {"host": "localhost", "content-length": str(len(body)), **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer, read."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.body)
        return found


@dataclass(kw_only=True)
class Sender:
    """One connection to the door, which is made again when it was ended."""

    host: str
    port: int
    local: str = "127.0.0.1"
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = field(default=None)

    async def send(self, content: bytes) -> Reply:
        """The reply to these bytes; ConnectionError when there is none."""
        for attempt in (1, 2):
            is_new = self._streams is None
            reader, writer = self._streams or await self._connect()
            try:
                writer.write(content)
                await writer.drain()
                reply = await read_reply(reader)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                self.close()
                if is_new or attempt == 2:
                    raise ConnectionError("no reply") from error
                continue  # it was ended while it rested, as any client must expect
            if reply.headers.get("connection", "").lower() == "close":
                self.close()
            return reply
        raise AssertionError

    async def hint(self, body: bytes, **options: Any) -> Reply:
        """The reply to a signed webhook with this body."""
        return await self.send(request(body, signed(body, **options)))

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._streams = await asyncio.open_connection(self.host, self.port, local_addr=(self.local, 0))
        return self._streams


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    """One answer; IncompleteReadError when the connection ends before."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    status = re.fullmatch(r"HTTP/(?:0\.9|1\.[01]) (\d{3}) .*", first)
    assert status is not None, first
    if status[1] == "100":
        return await read_reply(reader)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Reply(status=int(status[1]), headers=headers, body=body)
