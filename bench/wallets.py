"""A stream that follows a million wallets: `python -m bench.wallets [--wallets 1000000]`.

An embedded PostgreSQL that holds the rows, a Horizon in a process of its own, an embedded broker, and the stream itself
in this process. Measured: how long until all are followed and what they take of memory; how long the loop stands still;
what reading them all again costs; how soon a wallet that comes, goes, or changes its network is known, and how soon a
payment is told while all are read again.
  ceiling   a plain cursor over the same rows into a set, nothing else
  before    one reading of all rows in the stream's way, every WALLETS_REFRESH_S, as it was at first
"""

import asyncio
import contextlib
import gc
import logging
import multiprocessing
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import uuid4

import aiohttp
import asyncpg
import psutil
import structlog
import typer

from bench import wallet_rows
from bench.catch_up import Bench
from bench.loop_watch import TICK_S, Loop
from producers.asking import open_session
from producers.budget import Budget
from producers.horizon import Horizon
from producers.metrics import Metrics
from producers.parts import Pace, Parts
from producers.publisher import Publisher
from producers.start import Wish
from producers.store import Store
from producers.stream import Stream
from producers.wallets import Wallets
from sandbox import database
from sandbox.broker import EmbeddedBroker
from sandbox.children import Child
from schema import balance_event
from schema.service.readiness import Readiness
from schema.service.settings import KafkaSettings
from schema.stellar import Asset, Ledger, Network, cursor_after_ledger

DEADLINE_S: Final = 300.0
INSERT: Final = (
    "insert into public.stellar_wallets (user_id, public_key, network) "
    "select *, 'testnet' from unnest($1::uuid[], $2::text[])"
)
MIB: Final = 2**20


@dataclass(kw_only=True)
class World:
    """What the stream lives in."""

    bench: Bench
    loop: Loop
    stream: Stream
    metrics: Metrics
    start_s: float = 0.0
    again_s: float = 0.0

    @property
    def wallets(self) -> Wallets:
        return self.stream._wallets  # noqa: SLF001 - the bench looks inside, the stream carries no stop-watch


def main(
    *,
    wallets: Annotated[int, typer.Option(min=1000)] = 1_000_000,
    idle_s: Annotated[float, typer.Option(min=1, help="How long it is watched while nothing happens.")] = 60.0,
) -> None:
    """Measure a stream that follows this many wallets."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    asyncio.run(_measure(wallets, idle_s))


async def _measure(count: int, idle_s: float) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(database.running())
        broker = EmbeddedBroker.start({balance_event.TOPIC: 6})
        stack.callback(broker.stop)
        began = time.perf_counter()
        child = multiprocessing.get_context("spawn").Process(target=_fill, args=(server.url(), count))
        child.start()  # what it takes of memory is not to be counted
        await asyncio.to_thread(child.join)
        print(f"{count:,} rows inserted in {time.perf_counter() - began:.0f} s; load {os.getloadavg()[0]:.1f}")
        bench = await _chain(stack, server.url(), KafkaSettings(kafka_bootstrap_servers=broker.bootstrap_servers))
        loop = Loop()
        watching = asyncio.create_task(loop.watch())
        stack.callback(watching.cancel)
        async with _stream(bench, server.url(), loop, count) as world:
            await _idle(world, idle_s)
            await _changes(world)
            await _bulk(world)
        ceiling_s = await _ceiling(server.url(), loop)
        await _before(server.url(), loop)
        print(
            f"of the ceiling: the start took {world.start_s / ceiling_s:.2f}, "
            f"reading all again {world.again_s / ceiling_s:.2f}"
        )


def _fill(url: str, count: int) -> None:
    asyncio.run(wallet_rows.fill(url, count))


async def _chain(stack: AsyncExitStack, url: str, settings: KafkaSettings) -> Bench:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    horizon = Child("horizon", ["sandbox.horizon", "--ledger-s", "0", "--wallets", "10"], {}, folder)
    await horizon.start()
    stack.push_async_callback(horizon.stop)
    said = await horizon.first_line()
    bench = Bench(said["url"], Asset.parse(said["asset"]), url, settings)
    bench.session = await stack.enter_async_context(aiohttp.ClientSession())
    bench.connection = await asyncpg.connect(url)
    stack.push_async_callback(bench.connection.close)
    latest = await bench.latest()  # a stream that was there before: one that never was would read every wallet
    for name in ("bench", "bench:changes"):
        await bench.connection.execute(
            "insert into stream_cursors (stream_name, network, cursor, ledger) values ($1, 'testnet', $2, $3)",
            name,
            cursor_after_ledger(Ledger(latest)),
            latest,
        )
    return bench


async def _ceiling(url: str, loop: Loop) -> float:
    """Seconds of a plain cursor into a set."""
    connection = await asyncpg.connect(url)
    loop.reset()
    before, began, keys = _rss(), time.perf_counter(), set()
    async with connection.transaction():
        cursor = await connection.cursor("select public_key, balance_ledger from public.stellar_wallets")
        while rows := await cursor.fetch(10_000):
            keys.update(row[0] for row in rows)
    took_s = time.perf_counter() - began
    await connection.close()
    print(f"ceiling, a plain cursor into a set: {took_s:.2f} s, {(_rss() - before) / len(keys):.0f} bytes a wallet")
    return took_s


async def _before(url: str, loop: Loop) -> None:
    """All rows again as it was at first: one cursor, and in the end every wallet's mark looked at."""
    wallets = Wallets()
    connection = await asyncpg.connect(url)
    for what in ("first", "again"):
        loop.reset()
        began = time.perf_counter()
        seen: dict[str, int] = {}
        async with connection.transaction():
            cursor = await connection.cursor("select public_key, balance_ledger from public.stellar_wallets")
            while rows := await cursor.fetch(10_000):
                for public_key, _version in [(row[0], row[1]) for row in rows]:
                    seen[public_key] = 1
        assert not [key for key, mark in seen.items() if mark != 1]
        took_s = time.perf_counter() - began
        print(f"before, {what}: {took_s:.2f} s; {loop.said()}")
        assert not len(wallets)
    await connection.close()


@asynccontextmanager
async def _stream(bench: Bench, url: str, loop: Loop, count: int) -> AsyncIterator[World]:
    """The stream, when it follows all of them."""
    async with AsyncExitStack() as stack:
        readiness, metrics = Readiness(), Metrics()
        session = await stack.enter_async_context(open_session())
        store = await Store.open(url)
        stack.push_async_callback(store.close)
        publisher = Publisher(
            bench.settings, client_id="bench", source="/bench", topic=balance_event.TOPIC, readiness=readiness
        )
        stack.push_async_callback(publisher.close)
        parts = Parts(
            network=Network.TESTNET,
            asset=bench.asset,
            source=Horizon(session, bench.url, budget=Budget(0), readiness=readiness),
            store=store,
            publisher=publisher,
            readiness=readiness,
            metrics=metrics,
            clock=lambda: datetime.now(UTC),
        )
        gc.collect()
        loop.reset()
        before, began = _rss(), time.perf_counter()
        stream = Stream("bench", parts, Pace())
        task = asyncio.create_task(stream.run(Wish()))
        world = World(bench=bench, loop=loop, stream=stream, metrics=metrics)
        await _until(lambda: world.wallets.are_loaded and len(world.wallets) == count, task)
        world.start_s = time.perf_counter() - began
        said = loop.said()
        gc.collect()
        print(f"start until {count:,} are followed: {world.start_s:.2f} s; {said}")
        print(f"memory: {(_rss() - before) / count:.0f} bytes a wallet, {(_rss() - before) / MIB:.0f} MiB")
        try:
            yield world
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _idle(world: World, idle_s: float) -> None:
    world.loop.reset()
    await asyncio.sleep(idle_s)
    reload = world.stream._feed._reload  # noqa: SLF001
    world.again_s = reload._worked_s  # noqa: SLF001
    print(f"nothing happens, but all rows are looked at again, in {world.again_s:.2f} s: {world.loop.said()}")
    print(f"they will be again in {reload.next_look_s():.0f} s")


async def _changes(world: World) -> None:
    """A wallet of the chain comes, is paid, goes, comes again, and changes its network."""
    connection = world.bench.connection
    people = [wallet["account_id"] for wallet in (await world.bench.ask("world"))["wallets"]]
    key, followed = people[0], world.wallets.__contains__
    user_id = uuid4()
    await connection.execute("insert into auth.users (id) values ($1)", user_id)
    told = world.metrics.facts.labels("poll")._value.get  # noqa: SLF001
    facts = told()
    await _timed(world, "inserted, until followed", connection.execute(INSERT, [user_id], [key]), lambda: followed(key))
    await _until(lambda: told() > facts)
    await world.bench.store_facts([key])
    await _paid(world, key, "a payment, until told")
    update = "update public.stellar_wallets set network = $2 where public_key = $1"
    await _timed(world, "to the other network", connection.execute(update, key, "mainnet"), lambda: not followed(key))
    await _timed(world, "and back", connection.execute(update, key, "testnet"), lambda: followed(key))
    delete = "delete from public.stellar_wallets where public_key = $1"
    await _timed(world, "deleted, until forgotten", connection.execute(delete, key), lambda: not followed(key))


async def _bulk(world: World) -> None:
    """Thousands at once, so that everything is read again; and a payment to another wallet meanwhile."""
    connection = world.bench.connection
    key = (await world.bench.ask("world"))["wallets"][1]["account_id"]
    user_id = uuid4()
    await connection.execute("insert into auth.users (id) values ($1)", user_id)
    await connection.execute(INSERT, [user_id], [key])
    await _until(lambda: key in world.wallets)
    await world.bench.store_facts([key])
    rows = list(wallet_rows.people(5_000, seed=20))
    count = len(world.wallets)
    await connection.executemany("insert into auth.users (id) values ($1)", [(user_id,) for user_id, _ in rows])
    loop, began = Loop(), time.perf_counter()
    watching = asyncio.create_task(loop.watch())
    await connection.execute(INSERT, *([*column] for column in zip(*rows, strict=True)))
    await _paid(world, key, "a payment while all rows are read again, until told")
    await _until(lambda: len(world.wallets) >= count + len(rows))
    took_s = time.perf_counter() - began
    print(f"{len(rows):,} inserted at once, until followed: {took_s:.2f} s; {loop.said()}")
    watching.cancel()


async def _paid(world: World, key: str, what: str) -> None:
    told = world.metrics.facts.labels("webhook")._value.get  # noqa: SLF001
    facts = told()
    await world.bench.ask("pay", [{"to": key, "amount": "1.0000000"}])
    await _timed(world, what, world.bench.ask("close", {}), lambda: told() > facts)


async def _timed(world: World, what: str, change: Awaitable[Any], condition: Callable[[], object]) -> None:
    world.loop.reset()
    began = time.perf_counter()
    await change
    await _until(condition)
    print(f"{what}: {time.perf_counter() - began:.2f} s; {world.loop.said()}")


async def _until(condition: Callable[[], object], task: asyncio.Task[None] | None = None) -> None:
    ends_at = time.perf_counter() + DEADLINE_S
    while not condition():
        assert time.perf_counter() < ends_at, "it never came true"
        if task is not None and task.done():
            task.result()
        await asyncio.sleep(TICK_S)


def _rss() -> int:
    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    typer.run(main)
