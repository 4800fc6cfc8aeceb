"""How fast a stream catches up after an outage: `python -m bench.catch_up [--payments 20000] [--wallets 500]`.

A Horizon in a process of its own, an embedded PostgreSQL and an embedded broker. Each round closes a backlog of ledgers
while no stream runs; then a bare reader follows the pages (one connection, orjson, nothing else: the ceiling), and the
stream starts and catches up: pages, account states, the accounts' own histories, facts, acks, cursor. Everything counts
from the start of the stream until its cursor is saved behind the last ledger.
"""

import argparse
import asyncio
import contextlib
import logging
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import orjson
import structlog

from producers.asking import open_session
from producers.budget import Budget
from producers.horizon import Horizon
from producers.metrics import Metrics
from producers.parts import Pace, Parts
from producers.publisher import Publisher
from producers.start import Wish
from producers.store import Store
from producers.stream import Stream
from sandbox import database
from sandbox.broker import EmbeddedBroker
from sandbox.children import Child
from schema import balance_event, migrate
from schema.service.readiness import Readiness
from schema.service.settings import KafkaSettings
from schema.stellar import Asset, Network

PAYMENTS_PER_LEDGER = 500
LEDGER_DEADLINE_S = 120.0


class Bench:
    """One world, and what is measured in it."""

    def __init__(self, url: str, asset: Asset, database_url: str, settings: KafkaSettings) -> None:
        self.url = url
        self.asset = asset
        self.database_url = database_url
        self.settings = settings
        self.session: aiohttp.ClientSession
        self.connection: asyncpg.Connection

    async def ask(self, path: str, body: Any = None) -> Any:
        """One control request to the chain."""
        method = "GET" if body is None else "POST"
        async with self.session.request(method, f"{self.url}/sandbox/{path}", data=orjson.dumps(body)) as response:
            response.raise_for_status()
            return orjson.loads(await response.read())

    async def backlog(self, wallets: list[str], payments: int) -> None:
        """Ledgers full of payments, round and round the wallets."""
        for start in range(0, payments, PAYMENTS_PER_LEDGER):
            count = min(PAYMENTS_PER_LEDGER, payments - start)
            paid = [{"to": wallets[(start + n) % len(wallets)], "amount": "1.0000000"} for n in range(count)]
            await self.ask("pay", paid)
            await self.ask("close", {})

    async def latest(self) -> int:
        """The chain's newest ledger."""
        async with self.session.get(f"{self.url}/") as response:
            return int(orjson.loads(await response.read())["history_latest_ledger"])

    async def saved(self) -> tuple[str, int]:
        """The stream's cursor."""
        row = await self.connection.fetchrow("select cursor, ledger from stream_cursors")
        return (row["cursor"], row["ledger"]) if row else ("", 0)

    async def read_bare(self) -> float:
        """Payments a second of a reader that does nothing else."""
        cursor, count, began = (await self.saved())[0], 0, time.perf_counter()
        while True:
            query = {"cursor": cursor, "order": "asc", "limit": "200"}
            async with self.session.get(f"{self.url}/payments", params=query) as response:
                records = orjson.loads(await response.read())["_embedded"]["records"]
            count += len(records)
            if len(records) < 200:
                return count / (time.perf_counter() - began)
            cursor = records[-1]["paging_token"]

    async def catch_up(self, *, baselines: int = 0) -> tuple[float, Metrics]:
        """Seconds from the start of a stream until its cursor is behind the newest ledger, and these baselines told."""
        target = await self.latest()
        async with AsyncExitStack() as stack:
            readiness, metrics = Readiness(), Metrics()
            began = time.perf_counter()
            session = await stack.enter_async_context(open_session())
            store = await Store.open(self.database_url)
            stack.push_async_callback(store.close)
            publisher = Publisher(
                self.settings, client_id="bench", source="/bench", topic=balance_event.TOPIC, readiness=readiness
            )
            stack.push_async_callback(publisher.close)
            parts = Parts(
                network=Network.TESTNET,
                asset=self.asset,
                source=Horizon(session, self.url, budget=Budget(0), readiness=readiness),
                store=store,
                publisher=publisher,
                readiness=readiness,
                metrics=metrics,
                clock=lambda: datetime.now(UTC),
            )
            task = asyncio.create_task(Stream("bench", parts, Pace()).run(Wish()))
            ends_at = time.perf_counter() + LEDGER_DEADLINE_S
            polled = metrics.facts.labels("poll")._value  # noqa: SLF001
            while (await self.saved())[1] < target or polled.get() < baselines:
                assert time.perf_counter() < ends_at
                if task.done():
                    task.result()
                await asyncio.sleep(0.01)
            took_s = time.perf_counter() - began
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return took_s, metrics

    async def store_facts(self, wallets: list[str]) -> None:
        """What a consumer would store: every wallet's balance as of the newest ledger."""
        await self.connection.execute(
            "update stellar_wallets set balance_ledger = $1, previous_usdc_balance = 0, balance_authorized = true "
            "where public_key = any($2::text[])",
            await self.latest(),
            wallets,
        )


async def main(payments: int, wallets: int, rounds: int) -> None:
    """Build the world, run the rounds, print the figures."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = await stack.enter_async_context(database.running(durable=True))
        broker = EmbeddedBroker.start({balance_event.TOPIC: 6})
        stack.callback(broker.stop)
        await migrate.migrate(server.url(), dry_run=False, wait_s=10, say=lambda _: None)
        horizon = Child("horizon", ["sandbox.horizon", "--ledger-s", "0", "--wallets", str(wallets)], {}, folder)
        await horizon.start()
        stack.push_async_callback(horizon.stop)
        said = await horizon.first_line()
        settings = KafkaSettings.model_validate({"kafka_bootstrap_servers": broker.bootstrap_servers})
        bench = Bench(said["url"], Asset.parse(said["asset"]), server.url(), settings)
        bench.session = await stack.enter_async_context(aiohttp.ClientSession())
        bench.connection = await asyncpg.connect(server.url())
        stack.push_async_callback(bench.connection.close)
        keys = [wallet["account_id"] for wallet in (await bench.ask("world"))["wallets"]]
        users = [uuid4() for _ in keys]
        await bench.connection.execute("insert into auth.users (id) select unnest($1::uuid[])", users)
        await bench.connection.execute(
            "insert into stellar_wallets (user_id, public_key, network) "
            "select *, 'testnet' from unnest($1::uuid[], $2::text[])",
            users,
            keys,
        )
        print(f"first start, {wallets} baselines: {(await bench.catch_up(baselines=wallets))[0]:.2f} s")
        await bench.store_facts(keys)
        await _rounds(bench, keys, payments, rounds)


async def _rounds(bench: Bench, keys: list[str], payments: int, rounds: int) -> None:
    rates, ratios = [], []
    for number in range(1, rounds + 1):
        await bench.backlog(keys, payments)
        bare = await bench.read_bare()
        took_s, metrics = await bench.catch_up()
        facts = metrics.facts.labels("webhook")._value.get()  # noqa: SLF001
        rates.append(payments / took_s)
        ratios.append(rates[-1] / bare)
        print(
            f"round {number}: {payments} payments to {len(keys)} wallets, {facts:.0f} facts in {took_s:.2f} s: "
            f"{rates[-1]:,.0f} payments/s; bare pages {bare:,.0f}/s; ratio {ratios[-1]:.2f}"
        )
        await bench.store_facts(keys)
    print(f"median: {statistics.median(rates):,.0f} payments/s, {statistics.median(ratios):.2f} of the bare reader")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payments", type=int, default=20_000)
    parser.add_argument("--wallets", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    asyncio.run(main(arguments.payments, arguments.wallets, arguments.rounds))
