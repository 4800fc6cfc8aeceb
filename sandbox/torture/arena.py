"""What is tortured: real PostgreSQL and Kafka, the simulated chain, our programs, and a link between any two."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp
import asyncpg
import orjson

from sandbox import stage
from sandbox.apache_kafka import ApacheKafka
from sandbox.database import PostgresServer
from sandbox.ledger_evidence import Epoch
from sandbox.nursery import Nursery
from sandbox.options import Options
from sandbox.torture.disk import Disk
from sandbox.torture.programs import ZYGOTE, OnOwnEnd, Program
from sandbox.torture.proxy import Link, Mode, dial_tcp, dial_unix
from schema import migrate, topics
from schema.service.settings import KafkaSettings
from schema.stellar import AccountId, Asset, Network

STREAMS: Final = ("stream-a", "stream-b")
CONSUMERS: Final = ("consumer-1", "consumer-2", "consumer-3")
COMERS: Final = ("comer-1", "comer-2")  # consumers that come and go in a rebalance storm
EXECUTOR: Final = "executor"
USUAL: Final = (STREAMS[0], *CONSUMERS[:2], EXECUTOR)  # what runs when nothing is said
KILLED: Final = (*STREAMS, *CONSUMERS, EXECUTOR)
GROUP: Final = "torture"
OURS: Final = "torture"  # what our own connections to PostgreSQL are called
SESSION_TIMEOUT_MS: Final = 1_500
COMMAND_TTL_S: Final = 30
MIN_DEPOSIT: Final = "10"
DISK_MEGABYTES: Final = 1_024
_SOCKET_NAME: Final = ".s.PGSQL.5432"
_CONNECTIONS_MAX: Final = 4
_POSTGRES_SETTINGS: Final = {"max_wal_size": "64MB", "min_wal_size": "32MB", "wal_recycle": "off"}

Say = Callable[[str], None]


def speaks_to(program: str) -> tuple[str, ...]:
    """Which of the stores and the chain a program has a link to."""
    if program in STREAMS:
        return ("horizon", "database", "kafka")
    return ("horizon", "kafka") if program == EXECUTOR else ("database", "kafka")


LINKS: Final = tuple(f"{program}:{other}" for program in (*KILLED, *COMERS) for other in speaks_to(program))


@dataclass(slots=True, kw_only=True)
class Arena:
    """What is up. The oracle reaches everything directly; our programs through their links."""

    options: Options
    postgres: PostgresServer
    kafka: ApacheKafka
    horizon_url: str
    asset: Asset
    vault: AccountId
    wallets: dict[UUID, AccountId]
    quiet: list[AccountId]  # those of them that are paid once in the whole run: no later payment brings what was lost
    http: aiohttp.ClientSession
    pool: asyncpg.Pool
    programs: dict[str, Program]
    links: dict[str, Link]
    disks: dict[str, Disk]  # "database" and "kafka", where they can be mounted
    say: Say
    ended: OnOwnEnd = field(default_factory=OnOwnEnd)
    lost_epochs: list[Epoch] = field(default_factory=list)  # what was on topics that were deleted
    groups: int = 1

    @property
    def bootstrap_servers(self) -> str:
        return self.kafka.bootstrap_servers

    @property
    def kafka_settings(self) -> KafkaSettings:
        return KafkaSettings(kafka_bootstrap_servers=self.bootstrap_servers)

    async def ask_chain(self, path: str) -> Any:
        """GET of the simulation's own side."""
        async with self.http.get(f"{self.horizon_url}/sandbox/{path}") as answer:
            answer.raise_for_status()
            return orjson.loads(await answer.read())

    async def tell_chain(self, path: str, body: Any, *, method: str = "POST") -> Any:
        """POST to the simulation's own side."""
        url = f"{self.horizon_url}/sandbox/{path}"
        async with self.http.request(method, url, data=orjson.dumps(body)) as answer:
            answer.raise_for_status()
            return orjson.loads(await answer.read())

    def consumers(self) -> list[Program]:
        """Every member of the consumers' group."""
        return [self.programs[name] for name in (*CONSUMERS, *COMERS)]

    def streams(self) -> list[Program]:
        return [self.programs[name] for name in STREAMS]

    async def heal(self) -> None:
        """Everything usual runs, undisturbed; nothing else does."""
        await self.tell_chain("faults", None, method="DELETE")
        for link in self.links.values():
            link.lose_no_commit()
            await link.set_mode(Mode.OPEN)
        for name, program in self.programs.items():
            program.resume()
            program.shift_s = 0
            if name in USUAL:
                program.wanted = True
            else:
                await program.stop()


@asynccontextmanager
async def set_up(options: Options, say: Say, *, with_disks: bool, quiet_wallets: int = 0) -> AsyncIterator[Arena]:
    """Bring everything up; our programs run as soon as they are wanted. Everything ends with the block."""
    async with AsyncExitStack() as stack:
        folder = options.folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # PostgreSQL, as a user of its own, must get in
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)))
        disks = _mount(stack, folder) if with_disks else {}
        say("the chain and its Horizon (simulated) are starting")
        horizon_url, asset, vault, accounts = await stage.start_horizon(stack, options, None, http, say)
        assert vault is not None
        quiet = await _open_quiet_wallets(http, horizon_url, folder, quiet_wallets)
        postgres = await _database(stack, folder, say)
        links = await _links(stack, postgres, horizon_url)
        kafka = await _kafka(stack, folder, links, say)
        pool = await stack.enter_async_context(
            asyncpg.create_pool(
                postgres.url(), min_size=1, max_size=_CONNECTIONS_MAX, server_settings={"application_name": OURS}
            )
        )
        arena = Arena(
            options=options,
            postgres=postgres,
            kafka=kafka,
            horizon_url=horizon_url,
            asset=asset,
            vault=vault,
            wallets=await stage.insert_wallets(pool, options, [*accounts, *quiet]),
            quiet=quiet,
            http=http,
            pool=pool,
            programs={},
            links=links,
            disks=disks,
            say=say,
        )
        await topics.ensure(arena.kafka_settings, say=lambda _: None)
        await _programs(stack, arena)
        yield arena


async def _open_quiet_wallets(
    http: aiohttp.ClientSession, horizon_url: str, folder: Path, count: int
) -> list[AccountId]:
    """More wallets, which the traffic does not know."""
    if not count:
        return []
    async with http.post(f"{horizon_url}/sandbox/wallets", data=orjson.dumps({"count": count})) as answer:
        opened = orjson.loads(await answer.read())["wallets"]
    secrets = folder / "secrets.json"
    secrets.write_bytes(orjson.dumps([*orjson.loads(secrets.read_bytes()), *opened]))
    return [AccountId(wallet["account_id"]) for wallet in opened]


def _mount(stack: AsyncExitStack, folder: Path) -> dict[str, Disk]:
    disks = {}
    for name in ("database", "kafka"):
        disks[name] = Disk(folder / name, megabytes=DISK_MEGABYTES)
        stack.callback(disks[name].unmount)
    return disks


async def _database(stack: AsyncExitStack, folder: Path, say: Say) -> PostgresServer:
    say("PostgreSQL is starting")
    (folder / "database").mkdir(exist_ok=True)
    postgres = PostgresServer(folder / "database", durable=False, settings=_POSTGRES_SETTINGS)
    stack.callback(_keep_log, postgres, folder)
    stack.push_async_callback(asyncio.to_thread, postgres.remove)
    await asyncio.to_thread(postgres.start)
    await migrate.migrate(postgres.url(), dry_run=False, wait_s=60, say=lambda _: None)
    return postgres


def _keep_log(postgres: PostgresServer, folder: Path) -> None:
    """Its disk is about to go."""
    if postgres.log.exists():
        shutil.copyfile(postgres.log, folder / "postgres.log")


async def _links(stack: AsyncExitStack, postgres: PostgresServer, horizon_url: str) -> dict[str, Link]:
    """Every link but those to Kafka leads somewhere already; Kafka's node must know the links' ports first."""
    chain = urlsplit(horizon_url)
    links: dict[str, Link] = {}
    for name in LINKS:
        other = name.partition(":")[2]
        dial = dial_unix(str(postgres.socket_folder / _SOCKET_NAME))
        if other == "horizon":
            dial = dial_tcp(str(chain.hostname), int(chain.port or 0))
        links[name] = Link(name, dial, speaks_postgres=other == "database")
        await links[name].start()
        stack.push_async_callback(links[name].close)
    return links


async def _kafka(stack: AsyncExitStack, folder: Path, links: dict[str, Link], say: Say) -> ApacheKafka:
    say("Apache Kafka is starting")
    (folder / "kafka").mkdir(exist_ok=True)
    ours = {_listener(name): link for name, link in links.items() if name.endswith(":kafka")}
    kafka = ApacheKafka(folder / "kafka", led_through={name: link.port for name, link in ours.items()})
    for name, link in ours.items():
        link.dial = dial_tcp("127.0.0.1", kafka.ports[name])
    stack.push_async_callback(asyncio.to_thread, kafka.remove)
    await asyncio.to_thread(kafka.start)
    return kafka


def _listener(link: str) -> str:
    """The name of a listener: letters and digits."""
    return link.partition(":")[0].replace("-", "").upper()


async def _programs(stack: AsyncExitStack, arena: Arena) -> None:
    nursery = Nursery(ZYGOTE, arena.options.folder / "nursery.log")
    stack.push_async_callback(nursery.stop)
    await nursery.start()
    for name in (*KILLED, *COMERS):
        module, arguments = "consumer", []
        if name in STREAMS:
            module, arguments = "producers", ["stream"]
        elif name == EXECUTOR:
            module = "sandbox.executor"
        arena.programs[name] = Program(
            name, nursery, module, arguments, _environment(arena, name), arena.options.folder
        )
    keepers = [asyncio.create_task(program.keep(arena.ended)) for program in arena.programs.values()]
    stack.push_async_callback(_end, keepers)


async def _end(keepers: list[asyncio.Task[None]]) -> None:
    for keeper in keepers:
        keeper.cancel()
    for outcome in await asyncio.gather(*keepers, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


def _environment(arena: Arena, name: str) -> dict[str, str]:
    options = arena.options
    ports = {other: arena.links[f"{name}:{other}"].port for other in speaks_to(name)}
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{ports['kafka']}",
        "STELLAR_NETWORK": str(Network(options.network)),
        "ASSET_CODE": arena.asset.code,
        "ASSET_ISSUER": arena.asset.issuer,
        "GROUP_SESSION_TIMEOUT_MS": str(SESSION_TIMEOUT_MS),
    }
    if "database" in ports:
        environment["DATABASE_URL"] = f"postgresql://postgres@127.0.0.1:{ports['database']}/postgres?sslmode=disable"
    if "horizon" in ports:
        environment["HORIZON_URL"] = f"http://127.0.0.1:{ports['horizon']}"
    if name in STREAMS:
        return environment | {"HORIZON_REQUESTS_PER_HOUR": "0", "STREAM_NAME": name, "STREAM_IDLE_DRAIN_S": "5"}
    if name == EXECUTOR:
        return environment | {
            "EXECUTOR_FOLDER": str(options.folder / "executor"),
            "EXECUTOR_SECRETS_FILE": str(options.folder / "secrets.json"),
            "EXECUTOR_SEED": str(options.seed),
            "EXECUTOR_FAILURE_RATE": str(options.failure_rate),
        }
    return environment | {
        "CONSUMER_GROUP": GROUP,
        "AUTO_DEPOSIT_ENABLED": "true",
        "AUTO_DEPOSIT_MIN_DEPOSIT": options.min_deposit,
        "AUTO_DEPOSIT_EXCLUDED_SOURCES": arena.vault,
        "AUTO_DEPOSIT_VAULT_ADDRESS": arena.vault,
        "AUTO_DEPOSIT_COMMAND_TTL_S": str(COMMAND_TTL_S),
        "AUTO_DEPOSIT_RETRY_DELAY_S": "1",
        "AUTO_DEPOSIT_ATTEMPTS_MAX": "100",
    }
