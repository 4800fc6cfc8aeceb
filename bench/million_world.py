"""What the bench of a million wallets runs in: a database, a broker, a Horizon, and our own programs beside them."""

import asyncio
import os
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import asyncpg
import orjson

from bench.million_people import People
from producers.progress import Steps
from sandbox import apache_kafka, broker, database
from sandbox.children import Child, inherited
from schema import balance_event, deposit_command, deposit_result, migrate, topics
from schema.service.settings import KafkaSettings
from schema.stellar import Asset

LOOK_S: Final = 0.5
PARTITIONS: Final = 6
DEAD_LETTERS: Final = "stellar.dead-letters"


@dataclass(kw_only=True)
class Ran:
    """One of our programs, and what was seen of it while it ran."""

    seconds: float = 0.0
    code: int | None = None
    said: bytes = b""
    seen: Mapping[str, Any] = field(default_factory=dict)


class World:
    """Everything, running."""

    def __init__(self, folder: Path, people: People, steps: Steps) -> None:
        self.folder = folder
        self.people = people
        self.steps = steps
        self.database_url = ""
        self.environment: dict[str, str] = {}
        self.horizon_url = ""
        self.asset: Asset
        self.session: aiohttp.ClientSession
        self.connection: asyncpg.Connection
        self._runs, self._what = 0, ""

    def at(self, what: str, done: int, total: int) -> None:
        """Progress."""
        if what != self._what:
            self._what = what
            self.steps.begin(what, total)
        self.steps.at(done)

    async def ask(self, path: str, body: Any = None) -> Any:
        """One control request to the chain."""
        method = "GET" if body is None else "POST"
        async with self.session.request(method, f"{self.horizon_url}{path}", data=orjson.dumps(body)) as response:
            response.raise_for_status()
            return orjson.loads(await response.read())

    async def asked(self) -> dict[str, int]:
        """How many requests Horizon had so far, by address."""
        found = await self.ask("/sandbox/requests")
        return dict(found["asked"])

    async def recorded(self) -> int:
        """How many wallets have a fact."""
        count = await self.connection.fetchval(
            "select count(*) from public.stellar_wallets where balance_ledger is not null"
        )
        return int(count)

    async def run(self, name: str, *arguments: str) -> Ran:
        """A program from its start to its end."""
        began_s, seen, log = time.perf_counter(), self._seen(name), self.folder / f"{name}.log"
        with log.open("ab") as errors:
            running = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bench.million_child", str(seen), *arguments),
                env={**inherited(), **self.environment},
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
            )
        try:
            said, _ = await running.communicate()
        finally:
            if running.returncode is None:
                running.kill()
        return Ran(seconds=time.perf_counter() - began_s, code=running.returncode, said=said, seen=_read(seen))

    def program(self, name: str, *arguments: str, **environment: str) -> "Program":
        """One that runs until it is stopped."""
        port = _free_port()
        seen = self._seen(name)
        child = Child(
            seen.stem,
            ["bench.million_child", str(seen), *arguments],
            {**self.environment, "HTTP_PORT": str(port), **environment},
            self.folder,
        )
        return Program(child, seen, f"http://127.0.0.1:{port}", self.session)

    def _seen(self, name: str) -> Path:
        self._runs += 1
        return self.folder / f"{self._runs}-{name}.json"


class Program:
    """One of our programs that runs until it is stopped."""

    def __init__(self, child: Child, seen: Path, url: str, session: aiohttp.ClientSession) -> None:
        self._child, self._seen, self._url, self._session = child, seen, url, session

    async def start(self) -> None:
        await self._child.start()

    async def stop(self) -> float:
        """Seconds from the signal to its end."""
        began_s = time.perf_counter()
        await self._child.stop()
        return time.perf_counter() - began_s

    @property
    def seen(self) -> Mapping[str, Any]:
        """What was seen of its loop."""
        return _read(self._seen)

    async def metrics(self) -> dict[str, float]:
        """Its page of metrics; nothing while it is not up."""
        if not self._child.is_running:
            raise AssertionError(f"it ended:\n{self._child.last_words()}")
        try:
            async with self._session.get(f"{self._url}/metrics") as response:
                text = await response.text()
        except (aiohttp.ClientError, OSError):
            return {}
        return {name: float(value) for name, value in re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)}

    async def until(self, condition: Callable[[dict[str, float]], bool]) -> dict[str, float]:
        """Its metrics once this is true of them."""
        while True:
            found = await self.metrics()
            if found and condition(found):
                return found
            await asyncio.sleep(LOOK_S)


@asynccontextmanager
async def opened(folder: Path, people: People, steps: Steps, *, kafka: bool, ledger_s: float) -> AsyncIterator[World]:
    """The world with its users, and without wallets."""
    world = World(folder, people, steps)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(database.running())
        world.database_url = server.url()
        await migrate.migrate(server.url(), dry_run=False, wait_s=10, say=lambda _: None)
        horizon = Child(
            "horizon",
            ["bench.million_horizon", "--wallets", str(people.count), "--ledger-s", str(ledger_s)],
            {},
            folder,
        )
        await horizon.start()
        stack.push_async_callback(horizon.stop)
        said = await horizon.first_line()
        world.horizon_url, world.asset = said["url"], Asset.parse(said["asset"])
        world.environment = {
            "DATABASE_URL": server.url(),
            "KAFKA_BOOTSTRAP_SERVERS": await _brokers(stack, kafka=kafka),
            "HORIZON_URL": world.horizon_url,
            "HORIZON_REQUESTS_PER_HOUR": "0",
            "STELLAR_NETWORK": "testnet",
            "ASSET_CODE": world.asset.code,
            "ASSET_ISSUER": world.asset.issuer,
        }
        world.session = await stack.enter_async_context(aiohttp.ClientSession())
        world.connection = await asyncpg.connect(server.url())
        stack.push_async_callback(world.connection.close)
        yield world


async def _brokers(stack: AsyncExitStack, *, kafka: bool) -> str:
    names = (balance_event.TOPIC, deposit_command.TOPIC, deposit_result.TOPIC, DEAD_LETTERS)
    if not kafka:
        embedded = await stack.enter_async_context(broker.start(dict.fromkeys(names, PARTITIONS)))
        return embedded.bootstrap_servers
    node = await asyncio.to_thread(apache_kafka.ApacheKafka.started)
    stack.callback(node.remove)
    settings = KafkaSettings(kafka_bootstrap_servers=node.bootstrap_servers)
    await topics.ensure(settings, partitions=PARTITIONS, say=lambda _: None)
    return node.bootstrap_servers


def load() -> float:
    """How many processes want a core."""
    return round(os.getloadavg()[0], 1)


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def _read(seen: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = orjson.loads(seen.read_bytes()) if seen.exists() else {}
    return found
