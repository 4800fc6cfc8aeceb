"""A Horizon in this process, and the plain requests that tests make of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson

from sandbox import world
from sandbox.chain import Chain
from sandbox.chain_transactions import START_LEDGER
from sandbox.horizon import Horizon
from sandbox.horizon_instance import Options
from sandbox.world import Cast
from schema.stellar import Stroops

UNIT = 10_000_000
READ_DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response, whole."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def records(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.json["_embedded"]["records"]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Requests to one Horizon."""

    horizon: Horizon
    session: aiohttp.ClientSession

    @property
    def chain(self) -> Chain:
        return self.horizon.chain

    @property
    def people(self) -> Cast:
        return self.horizon.people

    async def get(self, path: str, **headers: str) -> Answer:
        """GET; header names with underscores for hyphens."""
        wanted = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.get(self.horizon.url + path, headers=wanted) as response:
            return Answer(status=response.status, headers=response.headers, body=await response.read())

    async def post(self, path: str, body: Any) -> Any:
        """POST JSON to a control address."""
        async with self.session.post(self.horizon.url + path, data=orjson.dumps(body)) as response:
            assert response.status == 200, await response.text()
            return orjson.loads(await response.read())

    async def submit(self, envelope: str) -> Answer:
        """Hand in a transaction."""
        async with self.session.post(self.horizon.url + "/transactions", data={"tx": envelope}) as response:
            return Answer(status=response.status, headers=response.headers, body=await response.read())

    def pay(self, *, wallet: int = 0, stroops: int = UNIT, times: int = 1) -> None:
        """Enqueue ordinary payments to a wallet."""
        for _ in range(times):
            world.pay(self.chain, self.people, self.people.wallets[wallet].account_id, stroops)

    @asynccontextmanager
    async def stream(self, path: str, **headers: str) -> AsyncIterator["Stream"]:
        """A stream of server-sent events, as bytes."""
        wanted = {"Accept": "text/event-stream", **{name.replace("_", "-"): value for name, value in headers.items()}}
        async with self.session.get(self.horizon.url + path, headers=wanted) as response:
            yield Stream(response)


class Stream:
    """What a stream has sent so far."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.received = b""

    async def until(self, text: bytes) -> bytes:
        """Read until this has been received; everything so far."""
        async with asyncio.timeout(READ_DEADLINE_S):
            while text not in self.received:
                chunk = await self.response.content.readany()
                assert chunk, f"the stream ended after {self.received!r}"
                self.received += chunk
        return self.received

    async def rest(self) -> bytes:
        """Read to the end of the stream; everything it sent."""
        async with asyncio.timeout(READ_DEADLINE_S):
            self.received += await self.response.content.read()
        return self.received


@asynccontextmanager
async def serving(
    *, wallets: int = 3, holding: int = 0, options: Options | None = None, start_ledger: int = START_LEDGER
) -> AsyncIterator[Client]:
    """A Horizon over a fresh world, whose ledgers close when told to and whose streams hear of them at once."""
    chain, people = world.build(
        seed=7,
        wallets=wallets,
        started_at=datetime.now(UTC),
        wallet_stroops=Stroops(holding * UNIT),
        start_ledger=start_ledger,
    )
    options = options or Options(stream_check_s=0)
    async with Horizon(chain, people, options=options) as horizon, aiohttp.ClientSession() as session:
        yield Client(horizon=horizon, session=session)
