"""A fresh world: its database, broker, chain and executor, and what a stream and a consumer are told of them."""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import orjson

from sandbox import broker
from sandbox.children import Child
from sandbox.database import PostgresServer
from sandbox.options import Options
from sandbox.stage import Stage
from schema import migrate
from schema.service import kafka
from schema.service.settings import KafkaSettings
from schema.stellar import AccountId, Asset
from tests.crash_points.nursery import Nursery
from tests.crash_points.scene import GROUP, JUDGED, LEDGER_S, MIN_DEPOSIT, PARTITIONS, PAYMENTS_PER_S, SESSION_MS, World
from tests.fixtures_database import execute, fresh_database

TEMPLATE: Final = "crash_points_template"


@asynccontextmanager
async def opened(
    number: int, *, seed: int, server: PostgresServer, template: str, nursery: Nursery, folder: Path
) -> AsyncIterator[World]:
    """A fresh world with its own database, broker, chain and executor."""
    (folder / "executor").mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)))
        url = await stack.enter_async_context(fresh_database(server, template=template))
        node = await stack.enter_async_context(broker.start(_topics()))
        arguments = ["--seed", str(seed + number), "--wallets", str(JUDGED + 2), "--ledger-s", str(LEDGER_S)]
        chain = Child("horizon", ["sandbox.horizon", *arguments], {}, folder)
        await chain.start()
        stack.push_async_callback(chain.stop)
        said = await chain.first_line()
        async with http.get(f"{said['url']}/sandbox/world") as answer:
            people = orjson.loads(await answer.read())
        pool = await stack.enter_async_context(asyncpg.create_pool(url, min_size=1, max_size=4))
        wallets = await _insert_wallets(pool, [AccountId(each["account_id"]) for each in people["wallets"]])
        judged = dict(list(wallets.items())[:JUDGED])
        unlucky, meddled = list(wallets.items())[JUDGED:]
        secrets = folder / "secrets.json"
        secrets.write_bytes(orjson.dumps([each for each in people["wallets"] if each["account_id"] != meddled[1]]))
        stage = Stage(
            options=_options(folder, seed + number),
            database_url=url,
            bootstrap_servers=node.bootstrap_servers,
            horizon_url=said["url"],
            asset=Asset.parse(said["asset"]),
            vault=AccountId(said["vault"]),
            wallets=judged,
            http=http,
            pool=pool,
            children={},
            recorded=None,
        )
        await pool.execute(
            "alter table balance_snapshots add constraint unlucky"  # its baseline is taken, or every life tells it
            f" check (wallet_id <> '{unlucky[0]}' or previous_balance is null)"
        )
        await pool.execute(
            "insert into auto_deposit_policies (wallet_id, daily_cap) values ($1, 100000000)", next(iter(judged))
        )
        environment = _environment(stage, folder, seed + number)
        executor = Child("executor", ["sandbox.executor"], environment, folder)
        await executor.start()
        stack.push_async_callback(executor.kill)
        rng = random.Random(f"{seed} {number}")  # noqa: S311 - a seeded simulation
        world = World(stage, nursery, environment, rng)
        world.unlucky, world.meddled, world.node = unlucky, meddled, node
        world.capped = next(iter(judged.values()))
        await world.producer.start()
        stack.push_async_callback(kafka.stop, world.producer, deadline_s=5)
        yield world


async def make_template(server: PostgresServer) -> str:
    """The name of a migrated database, to be copied."""
    await execute(server.url(), f"create database {TEMPLATE}")
    await migrate.migrate(server.url(TEMPLATE), dry_run=False, wait_s=0, say=lambda _: None)
    return TEMPLATE


def _topics() -> dict[str, int]:
    names = KafkaSettings(kafka_bootstrap_servers="-")
    four = (
        names.balance_events_topic,
        names.deposit_commands_topic,
        names.deposit_results_topic,
        names.dead_letters_topic,
    )
    return dict.fromkeys(four, PARTITIONS)


async def _insert_wallets(pool: asyncpg.Pool, accounts: list[AccountId]) -> dict[UUID, AccountId]:
    found = {}
    for account_id in accounts:
        user_id = uuid4()
        await pool.execute("insert into auth.users (id, email) values ($1, $2)", user_id, f"{user_id}@test.example")
        query = "insert into stellar_wallets (user_id, public_key, network) values ($1, $2, 'testnet') returning id"
        found[await pool.fetchval(query, user_id, account_id)] = account_id
    return found


def _environment(stage: Stage, folder: Path, seed: int) -> dict[str, str]:
    return {
        "DATABASE_URL": stage.database_url,
        "KAFKA_BOOTSTRAP_SERVERS": stage.bootstrap_servers,
        "HORIZON_URL": stage.horizon_url,
        "HORIZON_REQUESTS_PER_HOUR": "3600000",  # a budget that is never spent, but asked each time
        "STELLAR_NETWORK": "testnet",
        "ASSET_CODE": stage.asset.code,
        "ASSET_ISSUER": stage.asset.issuer,
        "STREAM_NAME": "crash",
        "CONSUMER_GROUP": GROUP,
        "GROUP_SESSION_TIMEOUT_MS": str(SESSION_MS),
        "AUTO_DEPOSIT_ENABLED": "true",
        "AUTO_DEPOSIT_MIN_DEPOSIT": MIN_DEPOSIT,
        "AUTO_DEPOSIT_EXCLUDED_SOURCES": stage.vault or "",
        "AUTO_DEPOSIT_VAULT_ADDRESS": stage.vault or "",
        "AUTO_DEPOSIT_COMMAND_TTL_S": "60",
        "AUTO_DEPOSIT_RETRY_DELAY_S": "1",
        "AUTO_DEPOSIT_ATTEMPTS_MAX": "20",
        "EXECUTOR_FOLDER": str(folder / "executor"),
        "EXECUTOR_SECRETS_FILE": str(folder / "secrets.json"),
        "EXECUTOR_SEED": str(seed),
        "EXECUTOR_FAILURE_RATE": "0.1",
    }


def _options(folder: Path, seed: int) -> Options:
    return Options(
        wallets=JUDGED,
        payments_per_s=PAYMENTS_PER_S,
        ledger_s=LEDGER_S,
        seed=seed,
        min_deposit=MIN_DEPOSIT,
        failure_rate=0.0,
        folder=folder,
    )
