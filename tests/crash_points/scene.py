"""One small world: a database, a broker, a chain, an executor, and the errands that make everything happen in it."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import orjson

from sandbox import broker, ledger_book, ledger_evidence
from sandbox.children import Child
from sandbox.database import PostgresServer
from sandbox.options import Options
from sandbox.stage import Stage
from schema import balance_event, deposit_command, migrate
from schema.balance_event import SnapshotType
from schema.service import database, kafka
from schema.service.settings import KafkaSettings
from schema.stellar import AccountId, Asset, Ledger, Network, Stroops, parse_stroops
from tests.crash_points.nursery import Life, Nursery
from tests.fixtures_database import execute, fresh_database

JUDGED: Final = 48
PAID_AT_ONCE: Final = 4
PAID_IN_A_ROW: Final = 10  # and then not for long: a wallet's next payment would make a lost fact good
PARTITIONS: Final = 3
GROUP: Final = "crash-points"
TEMPLATE: Final = "crash_points_template"
LEDGER_S: Final = 0.25
PAYMENTS_PER_S: Final = 0.5  # of every kind, to anybody
UNLUCKY_EACH: Final = 0.3  # a record that the database refuses costs its batch many transactions
MIN_DEPOSIT: Final = "1"
SESSION_MS: Final = 1_000
ERRAND_EVERY_S: Final = 0.15
PROGRAMS: Final[Mapping[str, list[str]]] = {"stream": ["producers", "stream"], "consumer": ["consumer"]}


class World:
    """Runs until its block ends. `unlucky` is refused by the database; `meddled` has its state put back by hand."""

    def __init__(self, stage: Stage, nursery: Nursery, environment: Mapping[str, str], rng: random.Random) -> None:
        self.stage = stage
        self.pool = stage.pool
        self.rng = rng
        self.unlucky: tuple[UUID, AccountId]
        self.meddled: tuple[UUID, AccountId]
        self.node: broker.EmbeddedBroker
        self.producer = kafka.producer(KafkaSettings(kafka_bootstrap_servers=stage.bootstrap_servers), client_id="test")
        self._nursery = nursery
        self._environment = environment
        self._garbage = self._bursts = 0
        self.crossed: set[UUID] = set()  # changed without a payment, and not yet asked for

    async def start(
        self,
        role: str,
        *,
        constants: Mapping[str, float],
        environment: Mapping[str, str] | None = None,
        armed: tuple[str, str, int] | None = None,
    ) -> Life:
        """One life of the stream or the consumer."""
        return await self._nursery.start(
            PROGRAMS[role],
            environment={**self._environment, **(environment or {})},
            constants=constants,
            log=self.stage.options.folder / f"{role}.log",
            armed=armed,
        )

    async def run_errands(self) -> None:
        """What happens besides payments, for ever, in a seeded order."""
        errands = (
            self.pay_many,
            self.cross_offer,
            self._send_garbage,
            self.speak_of_wallet,
            self._make_due,
            self._lag,
        )
        weights = (6, 3, 1, 2, 2, 1)
        while True:
            for errand in self.rng.choices(errands, weights, k=len(errands)):
                await asyncio.sleep(ERRAND_EVERY_S)
                with contextlib.suppress(*database.TRANSIENT):  # a scenario ended its connection
                    await errand()

    async def traffic(self, payments_per_s: float) -> None:
        await self.stage.tell_chain("traffic", {"payments_per_s": payments_per_s})

    async def has_baselines(self) -> bool:
        query = "select count(*) from stellar_wallets where previous_usdc_balance is null and id = any($1::uuid[])"
        return bool(await self.pool.fetchval(query, list(self.stage.wallets)) == 0)

    async def judge(self) -> list[str]:
        """What does not add up, by the oracle that knows the chain, the topics and what is stored."""
        evidence = await ledger_evidence.collect(self.stage, minimum_stroops=parse_stroops(MIN_DEPOSIT))
        judged = [
            body for body in evidence.commands_said if deposit_command.decode(body).wallet_id in self.stage.wallets
        ]
        return (await asyncio.to_thread(ledger_book.judge, replace(evidence, commands_said=judged))).discrepancies

    async def request_read(self, wallet_id: UUID) -> None:
        query = "insert into read_requests (wallet_id, snapshot_type) values ($1, 'manual') on conflict do nothing"
        await self.pool.execute(query, wallet_id)

    async def pay_many(self) -> None:
        """Many wallets in one ledger, and one among them that the database refuses."""
        first = self._bursts // PAID_IN_A_ROW * PAID_AT_ONCE % JUDGED
        self._bursts += 1
        wallets = list(self.stage.wallets.values())[first : first + PAID_AT_ONCE]
        if self.rng.random() < UNLUCKY_EACH:
            wallets.append(self.unlucky[1])
        payments = [{"to": wallet, "amount": f"{self.rng.randint(1, 10**9) / 10**7:.7f}"} for wallet in wallets]
        await self.stage.tell_chain("pay", payments)

    async def cross_offer(self) -> None:
        """A change that no payment shows, and somebody asks for it: its ledger is beyond what was drained."""
        wallet_id, account_id = self.rng.choice(list(self.stage.wallets.items()))
        self.crossed.add(wallet_id)
        world = await self.stage.ask_chain("world")
        offer = {
            "operation": "CrossOffer",
            "source": world["market"],
            "maker": account_id,
            "sold": str(self.stage.asset),
            "sold_stroops": "0.5000000",
            "bought": "native",
            "bought_stroops": "0.0000001",
        }
        await self.stage.tell_chain("transactions", {"operations": [offer], "source": None})
        await asyncio.sleep(LEDGER_S)
        await self.request_read(wallet_id)
        self.crossed.discard(wallet_id)

    async def _send_garbage(self) -> None:
        """In one batch: no JSON, a fact that the database refuses, no JSON."""
        self._garbage += 1
        account_id = self.unlucky[1]
        ledger = Ledger(60_000_000 + self._garbage)
        fact = balance_event.fact(
            snapshot_type=SnapshotType.POLL,
            network=Network.TESTNET,
            account_id=account_id,
            asset=self.stage.asset,
            balance_stroops=Stroops(self._garbage),
            authorized=True,
            ledger=ledger,
            observed_ledger=ledger,
            observed_at=datetime.now(UTC),
            movements_since=None,
            movements=None,
        )
        values = (f"not JSON, number {self._garbage}".encode(), balance_event.encode(fact), b"nor is this")
        records = [kafka.Record(topic=balance_event.TOPIC, key=account_id.encode(), value=value) for value in values]
        await kafka.send_all(self.producer, records, deadline_s=30)

    async def speak_of_wallet(self) -> None:
        """As the database does when a row is new or another account's."""
        await self.pool.execute(
            "select pg_notify('stellar_wallets', $1)", str(self.rng.choice(list(self.stage.wallets)))
        )

    async def _make_due(self) -> None:
        """As an operator who ends a wait."""
        query = "update stellar_wallets set due_at = now() where id = $1"
        await self.pool.execute(query, self.rng.choice(list(self.stage.wallets)))

    async def _lag(self) -> None:
        await self.add_fault(path_prefix="/accounts/", lag_ledgers=3)

    async def write_dead_letter(self) -> None:
        """Something for the relay to send."""
        query = (
            'insert into dead_letters (id, topic, partition, "offset", key, value, headers, reason, detail)'
            " values ($1, 'test', 0, 0, 'key', 'value', '[]', 'test', 'made for a test')"
        )
        await self.pool.execute(query, uuid4())

    async def add_fault(self, **fault: Any) -> None:
        await self.stage.tell_chain("faults", [fault])

    async def clear_faults(self) -> None:
        await self.stage.http.delete(f"{self.stage.horizon_url}/sandbox/faults")


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
        seconds=None,
        payments=None,
        wallets=JUDGED,
        payments_per_s=PAYMENTS_PER_S,
        ledger_s=LEDGER_S,
        seed=seed,
        kills=0,
        min_deposit=MIN_DEPOSIT,
        failure_rate=0.0,
        database_url=None,
        kafka=None,
        horizon_url=None,
        accounts=(),
        replay=(),
        network=Network.TESTNET,
        asset=None,
        folder=folder,
    )
