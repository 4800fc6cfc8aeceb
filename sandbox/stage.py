"""Everything a run needs, brought up in order and taken down in the reverse: stores first, then the chain, then us."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import orjson

from sandbox import broker, database, recordings
from sandbox.children import Child
from sandbox.options import Options
from sandbox.recordings import Recordings
from schema import migrate, topics
from schema.service.settings import KafkaSettings
from schema.stellar import AccountId, Asset

PARTITIONS: Final = 6
ISSUERS: Final = {
    "testnet": "USDC:GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5",
    "mainnet": "USDC:GA5ZSEJYB37JRC5AVCIA5MOP4RHTM335X2KGX3IHOJAPP5RE34K4KZVN",
}
COMMAND_TTL_S: Final = 60
EMBEDDED_SESSION_TIMEOUT_MS: Final = 2_000  # the embedded broker lets it pass whenever a member comes back
COMMAND_TTL_WITHOUT_EXECUTOR_S: Final = 86_400

Say = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Stage:
    """What is up, and how to reach it."""

    options: Options
    database_url: str
    bootstrap_servers: str
    horizon_url: str
    asset: Asset
    vault: AccountId | None
    excluded_payers: frozenset[AccountId] = frozenset()  # excluded sources beside the vault
    wallets: dict[UUID, AccountId]
    http: aiohttp.ClientSession
    pool: asyncpg.Pool
    children: dict[str, Child]
    recorded: Recordings | None

    async def ask_chain(self, path: str) -> Any:
        """GET of the simulation's own side."""
        async with self.http.get(f"{self.horizon_url}/sandbox/{path}") as answer:
            answer.raise_for_status()
            return orjson.loads(await answer.read())

    async def tell_chain(self, path: str, body: Any) -> Any:
        """POST to the simulation's own side."""
        async with self.http.post(f"{self.horizon_url}/sandbox/{path}", data=orjson.dumps(body)) as answer:
            answer.raise_for_status()
            return orjson.loads(await answer.read())


@asynccontextmanager
async def set_up(options: Options, say: Say) -> AsyncIterator[Stage]:
    """Bring the world up; the stream and the consumer run when this returns. Everything ends with the block."""
    async with AsyncExitStack() as stack:
        options.folder.mkdir(parents=True, exist_ok=True)
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)))
        recorded = None
        if options.replay:
            recorded = recordings.read(options.replay, options.asset or Asset.parse(ISSUERS[options.network]))
        database_url = await _database(stack, options, say)
        bootstrap_servers = await _kafka(stack, options, say)
        horizon_url, asset, vault, accounts = await start_horizon(stack, options, recorded, http, say)
        pool = await stack.enter_async_context(asyncpg.create_pool(database_url, min_size=1, max_size=4))
        wallets = await insert_wallets(pool, options, accounts)
        excluded_payers: frozenset[AccountId] = frozenset()
        if options.simulates_chain and options.excluded_payers:
            async with http.get(f"{horizon_url}/sandbox/world") as answer:
                payers = orjson.loads(await answer.read())["payers"]
            excluded_payers = frozenset(AccountId(each) for each in payers[: options.excluded_payers])
        stage = Stage(
            options=options,
            database_url=database_url,
            bootstrap_servers=bootstrap_servers,
            horizon_url=horizon_url,
            asset=asset,
            vault=vault,
            excluded_payers=excluded_payers,
            wallets=wallets,
            http=http,
            pool=pool,
            children={},
            recorded=recorded,
        )
        stack.push_async_callback(_stop_all, stage)
        await _start_ours(stage, say)
        yield stage


async def _database(stack: AsyncExitStack, options: Options, say: Say) -> str:
    if options.database_url is None:
        say("PostgreSQL 18 (embedded) is starting")
        server = await stack.enter_async_context(database.running())
        url = server.url()
    else:
        url = options.database_url
    await migrate.migrate(url, dry_run=False, wait_s=60, say=lambda _: None)
    return url


async def _kafka(stack: AsyncExitStack, options: Options, say: Say) -> str:
    if options.kafka is None:
        say("Kafka broker (embedded) is starting")
        embedded = await stack.enter_async_context(broker.start(dict.fromkeys(_topic_names(), PARTITIONS)))
        return embedded.bootstrap_servers
    settings = KafkaSettings(kafka_bootstrap_servers=options.kafka)
    await topics.ensure(settings, partitions=PARTITIONS, say=say)
    return options.kafka


def _topic_names() -> list[str]:
    names = KafkaSettings(kafka_bootstrap_servers="-")
    return [
        names.balance_events_topic,
        names.deposit_commands_topic,
        names.deposit_results_topic,
        names.dead_letters_topic,
    ]


async def start_horizon(
    stack: AsyncExitStack, options: Options, recorded: Recordings | None, http: aiohttp.ClientSession, say: Say
) -> tuple[str, Asset, AccountId | None, list[AccountId]]:
    """A Horizon of one's own, or the simulated chain with its wallets (and those that recordings speak of)."""
    if not options.simulates_chain:
        return (
            options.horizon_url or "",
            options.asset or Asset.parse(ISSUERS[options.network]),
            None,
            list(options.accounts),
        )
    say("the chain and its Horizon (simulated) are starting")
    arguments = ["--seed", str(options.seed), "--wallets", str(options.wallets), "--ledger-s", str(options.ledger_s)]
    arguments += ["--network", options.network]
    if recorded is not None and recorded.payments:
        arguments += ["--start-ledger", str(recorded.first_ledger - 1000)]
    asset = options.asset or (Asset.parse(ISSUERS[options.network]) if recorded is not None else None)
    if asset is not None:
        arguments += ["--asset", str(asset)]
    chain = Child("horizon", ["sandbox.horizon", *arguments], {}, options.folder)
    await chain.start()
    stack.push_async_callback(chain.stop)
    said = await chain.first_line()
    async with http.get(f"{said['url']}/sandbox/world") as answer:
        people = orjson.loads(await answer.read())
    wallets = people["wallets"]
    if recorded is not None:
        body = orjson.dumps({"accounts": recorded.accounts, "balance": "0"})
        async with http.post(f"{said['url']}/sandbox/wallets", data=body) as answer:
            wallets += orjson.loads(await answer.read())["wallets"]
    secrets = options.folder / "secrets.json"
    secrets.touch(mode=0o600)
    secrets.write_bytes(orjson.dumps(wallets))
    return said["url"], Asset.parse(said["asset"]), AccountId(said["vault"]), [w["account_id"] for w in wallets]


async def insert_wallets(pool: asyncpg.Pool, options: Options, accounts: list[AccountId]) -> dict[UUID, AccountId]:
    """A user and a wallet row each, as an app would have them; those that are there stay."""
    known = "select id, public_key from stellar_wallets where public_key = any($1::text[])"
    there = {row["public_key"] for row in await pool.fetch(known, accounts)}
    people = [(uuid4(), account_id) for account_id in accounts if account_id not in there]
    async with pool.acquire() as connection, connection.transaction():
        await connection.executemany(
            "insert into auth.users (id, email) values ($1, $2)",
            [(user_id, f"{user_id}@sandbox.example") for user_id, _ in people],
        )
        await connection.executemany(
            "insert into stellar_wallets (user_id, public_key, network) values ($1, $2, $3)",
            [(user_id, account_id, str(options.network)) for user_id, account_id in people],
        )
    return {row["id"]: AccountId(row["public_key"]) for row in await pool.fetch(known, accounts)}


async def _start_ours(stage: Stage, say: Say) -> None:
    options = stage.options
    environment = {
        "DATABASE_URL": stage.database_url,
        "KAFKA_BOOTSTRAP_SERVERS": stage.bootstrap_servers,
        "STELLAR_NETWORK": str(options.network),
        "ASSET_CODE": stage.asset.code,
        "ASSET_ISSUER": stage.asset.issuer,
        "AUTO_DEPOSIT_ENABLED": "true",
        "AUTO_DEPOSIT_MIN_DEPOSIT": options.min_deposit,
        "AUTO_DEPOSIT_EXCLUDED_SOURCES": ",".join([stage.vault or "", *sorted(stage.excluded_payers)]).strip(","),
        "AUTO_DEPOSIT_VAULT_ADDRESS": stage.vault or "",
        "AUTO_DEPOSIT_COMMAND_TTL_S": str(COMMAND_TTL_S if stage.vault else COMMAND_TTL_WITHOUT_EXECUTOR_S),
        "AUTO_DEPOSIT_RETRY_DELAY_S": "2",
        "POLL_INTERVAL_S": "1",
        "EXECUTOR_FOLDER": str(options.folder / "executor"),
        "EXECUTOR_SECRETS_FILE": str(options.folder / "secrets.json"),
        "EXECUTOR_SEED": str(options.seed),
        "EXECUTOR_FAILURE_RATE": str(options.failure_rate),
    }
    if stage.horizon_url:
        environment["HORIZON_URL"] = stage.horizon_url
    if options.rpc_url or options.simulates_chain:
        environment["RPC_URL"] = options.rpc_url or f"{stage.horizon_url}/rpc"
    if options.simulates_chain:
        environment |= {"HORIZON_REQUESTS_PER_HOUR": "0", "RPC_REQUESTS_PER_HOUR": "0"}  # it is ours alone
    if options.kafka is None:
        environment["GROUP_SESSION_TIMEOUT_MS"] = str(EMBEDDED_SESSION_TIMEOUT_MS)
    programs = {name: ["producers", "stream"] for name in options.source.streams} if options.stream else {}
    environment["BALANCE_SOURCE"] = next(iter(options.source.streams.values()))
    if options.poll:
        programs["poll"] = ["producers", "poll"]
    programs["consumer"] = ["consumer"]
    if stage.vault is not None:
        programs["executor"] = ["sandbox.executor"]
    own = {
        name: {"BALANCE_SOURCE": source, "STREAM_NAME": name.replace("stream", "sandbox")}
        for name, source in options.source.streams.items()
    }
    (options.folder / "executor").mkdir(exist_ok=True)
    say(f"{', '.join(programs)} are starting")
    for name, arguments in programs.items():
        stage.children[name] = Child(name, arguments, environment | own.get(name, {}), options.folder)
    await asyncio.gather(*(child.start() for child in stage.children.values()))


async def _stop_all(stage: Stage) -> None:
    await asyncio.gather(*(child.stop() for child in stage.children.values()))
