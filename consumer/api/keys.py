"""The keys of people's tokens, from where they are published: cached, looked at again, never forgotten in an outage."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Final

import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout

from consumer.api import metrics
from consumer.api.tokens import BadKeys, Keys, NoKeys, parse_jwks
from schema.service.readiness import Readiness

log = structlog.get_logger(__name__)

BYTES_MAX: Final = 256 * 1024
WITHIN_S: Final = 5.0
REFRESH_EVERY_S: Final = 600.0  # Supabase's own edge keeps them as long; a key that was revoked is gone after that
UNKNOWN_AGAIN_S: Final = (
    10.0  # a token with an unknown key makes us look, and forged ones must not make us look for ever
)
RETRY_S: Final = 1.0
RETRY_S_MAX: Final = 30.0
_OK: Final = 200

Read = Callable[[], Awaitable[bytes]]


class Unread(Exception):
    """The keys could not be had now; says why."""


def from_file(path: str) -> Read:
    """Reads the set from a file. Unread when that cannot be."""

    def read() -> bytes:
        try:
            with Path(path).open("rb") as file:
                content = file.read(BYTES_MAX + 1)
        except OSError as error:
            raise Unread(f"{path}: {error.strerror or error}") from error
        return _of_size(content, path)

    return lambda: asyncio.to_thread(read)


def from_url(session: ClientSession, url: str) -> Read:
    """Reads the set from its address, within WITHIN_S; a redirect is no answer. Unread when there is none."""

    async def read() -> bytes:
        timeout = ClientTimeout(total=WITHIN_S)
        try:
            async with session.get(url, timeout=timeout, allow_redirects=False) as response:
                if response.status != _OK:
                    raise Unread(f"{url}: status {response.status}")
                content = bytearray()
                async for chunk in response.content.iter_chunked(BYTES_MAX):
                    content += chunk
                    _of_size(content, url)
                return bytes(content)
        except (ClientError, TimeoutError, OSError) as error:
            raise Unread(f"{url}: {type(error).__name__}: {error}") from error

    return read


class KeyRing:
    """The newest keys that could be had, with the secret of old projects beside them."""

    def __init__(self, read: Read | None, *, secret: str | None, readiness: Readiness) -> None:
        self.keys = Keys(secret=secret)
        self._read = read
        self._readiness = readiness
        self._looking: asyncio.Task[None] | None = None
        self._looked_at_s = -inf
        self.are_there = read is None  # whether they were read, if they are to be read at all
        if read is not None:
            readiness.down("keys", "not read yet")

    async def look(self) -> None:
        """Read them now. Unread or BadKeys when that cannot be: the last good ones stay. NoKeys when there are none:
        those of before are withdrawn. Beside the secret an empty set is no fault: the project signs with that.
        """
        if self._read is None:
            return
        self._looked_at_s = asyncio.get_running_loop().time()
        content = await self._read()
        try:
            self._take(parse_jwks(content))
        except NoKeys as none:
            self._take(Keys())
            self.are_there = none.is_empty and self.keys.secret is not None
            if not self.are_there:
                raise
        else:
            self.are_there = True
        self._readiness.up("keys")

    def _take(self, found: Keys) -> None:
        if found.public.keys() != self.keys.public.keys():
            log.info("keys of tokens", kids=sorted(str(kid) for kid in found.public), skipped=found.skipped)
        self.keys = replace(found, secret=self.keys.secret)
        metrics.KEYS.set(len(found.public))

    async def look_for_new(self) -> None:
        """A token names a key that is not there: look, together with whoever else wants to, but not all the time."""
        now_s = asyncio.get_running_loop().time()
        if self._read is None:
            return
        if self._looking is None or self._looking.done():
            if now_s - self._looked_at_s < UNKNOWN_AGAIN_S:
                return
            self._looking = asyncio.create_task(self._try())
        await asyncio.shield(self._looking)  # who goes away does not end it for the others

    async def run(self) -> None:
        """Read them again from time to time, and soon after a failure, for ever."""
        retry_s = RETRY_S
        while self._read is not None:
            is_read = await self._attempt()
            await asyncio.sleep(REFRESH_EVERY_S if is_read else retry_s)
            retry_s = RETRY_S if is_read else min(2 * retry_s, RETRY_S_MAX)

    async def _try(self) -> None:
        await self._attempt()

    async def _attempt(self) -> bool:
        try:
            await self.look()
        except (Unread, BadKeys) as error:
            metrics.KEYS_UNREAD.inc()
            log.warning("keys of tokens could not be read", reason=str(error)[:300], kept=len(self.keys.public))
            if not self.are_there:
                self._readiness.down("keys", str(error))
            return False
        return True


def _of_size(content: bytes | bytearray, place: str) -> bytes:
    if len(content) > BYTES_MAX:
        raise Unread(f"{place}: more than {BYTES_MAX} bytes")
    return bytes(content)
