"""A million wallets imported: `python -m bench.wallet_import [--wallets 1000000]`.

An embedded PostgreSQL with as many users; `python -m producers wallets import` as a process of its own, while this
process follows the wallets as a stream does. Measured: lines a second and memory of a dry run, of the import, and of
the same file again; and how soon after the commit all of them are followed.
  ceiling   a plain COPY of the same rows into the same table, indexes, keys and triggers
  before    an INSERT for each row, one after the other, as a script would
"""

import asyncio
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, Final

import asyncpg
import orjson
import psutil
import typer

from bench import wallet_rows
from bench.loop_watch import Loop
from producers.store import Store
from producers.wallet_feed import WalletFeed
from producers.wallets import Wallets
from sandbox import database
from schema.service.readiness import Readiness
from schema.stellar import Ledger, Network

SINGLES: Final = 5_000
DEADLINE_S: Final = 300.0
MIB: Final = 2**20
INSERT: Final = "insert into public.stellar_wallets (user_id, public_key, network) values ($1, $2, 'testnet')"


def main(*, wallets: Annotated[int, typer.Option(min=SINGLES)] = 1_000_000) -> None:
    """Measure the import of this many wallets."""
    asyncio.run(_measure(wallets))


async def _measure(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wallets.csv"
        async with database.running() as server:
            child = multiprocessing.get_context("spawn").Process(target=_prepare, args=(server.url(), count, path))
            child.start()
            await asyncio.to_thread(child.join)
            print(f"{count:,} users; {path.stat().st_size / MIB:.0f} MiB of CSV; load {os.getloadavg()[0]:.1f}")
            before = await _before(server.url())
            ceiling = await _ceiling(server.url(), count)
            await _run("a dry run", server.url(), path, "--dry-run")
            async with _followed() as (wallets, follow, loop):
                following = asyncio.create_task(follow(server.url()))
                await _until(lambda: wallets.are_loaded)
                loop.reset()
                rate = await _run("import", server.url(), path)
                began = time.perf_counter()
                await _until(lambda: len(wallets) >= count)
                print(f"all followed {time.perf_counter() - began:.2f} s after the importer's end; {loop.said()}")
                following.cancel()
            await _run("the same again", server.url(), path)
            print(f"the import is {rate / ceiling:.2f} of the ceiling, {rate / before:.1f} times an INSERT for each")


def _prepare(url: str, count: int, path: Path) -> None:
    asyncio.run(wallet_rows.fill(url, count, users_only=True))
    with path.open("w", encoding="utf-8") as file:
        file.write("user_id,public_key\n")
        file.writelines(f"{user_id},{key}\n" for user_id, key in wallet_rows.people(count))


async def _before(url: str) -> float:
    connection = await asyncpg.connect(url)
    began = time.perf_counter()
    for user_id, key in islice(wallet_rows.people(SINGLES), SINGLES):
        await connection.execute(INSERT, user_id, key)
    rate = SINGLES / (time.perf_counter() - began)
    await connection.execute("truncate public.stellar_wallets cascade")
    await connection.close()
    print(f"before, an INSERT for each: {rate:,.0f} rows/s")
    return rate


async def _ceiling(url: str, count: int) -> float:
    connection = await asyncpg.connect(url)
    rows = [(user_id, key, "testnet") for user_id, key in wallet_rows.people(count)]
    began = time.perf_counter()
    await connection.copy_records_to_table(
        "stellar_wallets", columns=["user_id", "public_key", "network"], records=rows
    )
    rate = count / (time.perf_counter() - began)
    await connection.execute("truncate public.stellar_wallets cascade")
    await connection.execute("vacuum public.stellar_wallets")
    await connection.close()
    print(f"ceiling, a plain COPY: {rate:,.0f} rows/s")
    return rate


async def _run(what: str, url: str, path: Path, *options: str) -> float:
    """Lines a second of the command, its start included."""
    began = time.perf_counter()
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "producers", "wallets", "import", str(path), "--json", *options),
        env={**os.environ, "DATABASE_URL": url, "STELLAR_NETWORK": "testnet", "LOG_LEVEL": "warning"},
        stdout=asyncio.subprocess.PIPE,
    )
    memory = asyncio.create_task(_peak_rss(running.pid))
    said, _ = await running.communicate()
    took_s = time.perf_counter() - began
    summary = orjson.loads(said)
    print(
        f"{what}: {took_s:.1f} s, {summary['lines'] / took_s:,.0f} lines/s, at most {await memory / MIB:.0f} MiB; "
        f"{summary['added']:,} added, {summary['unchanged']:,} unchanged, {summary['refused']:,} refused"
    )
    return float(summary["lines"] / took_s)


async def _until(condition: Callable[[], bool]) -> None:
    ends_at = time.perf_counter() + DEADLINE_S
    while not condition():
        assert time.perf_counter() < ends_at, "it never came true"
        await asyncio.sleep(0.01)


async def _peak_rss(pid: int) -> int:
    highest = 0
    try:
        process = psutil.Process(pid)
        while process.is_running():
            highest = max(highest, process.memory_info().rss)
            await asyncio.sleep(0.05)
    except psutil.NoSuchProcess:
        pass
    return highest


@asynccontextmanager
async def _followed() -> AsyncIterator[tuple]:  # type: ignore[type-arg]
    wallets, loop = Wallets(), Loop()
    wallets.begin(Ledger(1))

    async def follow(url: str) -> None:
        store = await Store.open(url)
        feed = WalletFeed(store, wallets, network=Network.TESTNET, refresh_s=30)
        listening = asyncio.create_task(feed.listen(Readiness()))
        await feed.listening()
        try:
            while True:
                feed.wake.clear()
                await feed.look()
                try:
                    async with asyncio.timeout(feed.next_look_s()):
                        await feed.wake.wait()
                except TimeoutError:
                    continue
        finally:
            listening.cancel()
            await store.close()

    watching = asyncio.create_task(loop.watch())
    try:
        yield wallets, follow, loop
    finally:
        watching.cancel()


if __name__ == "__main__":
    typer.run(main)
