"""How fast the sandbox's chain and Horizon are: `python -m bench.sandbox_horizon [--ledgers 1000]`.

Builds a history of 1,000 payments a ledger, times the closes, then serves it and reads it from a second process.
"""

import argparse
import asyncio
import gc
import itertools
import multiprocessing
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import orjson

from sandbox import world
from sandbox.horizon import Horizon
from sandbox.horizon_instance import Options

SECONDS = 4.0
CONNECTIONS = 8
FREEZE_EVERY_LEDGERS = 20


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ledgers", type=int, default=100)
    ledgers = parser.parse_args().ledgers
    chain, people = world.build(seed=1, wallets=1000, started_at=datetime(2026, 1, 1, tzinfo=UTC))
    closes = []
    for ledger in range(ledgers):
        if ledger % FREEZE_EVERY_LEDGERS == 0:
            gc.freeze()  # as the process does: history only grows
        for number in range(1000):
            wallet = people.wallets[(number * 7 + ledger) % 1000].account_id
            world.pay(chain, people, wallet, 10_000_000 + number, payer=number)
        began = time.perf_counter()
        chain.close_ledger(chain.latest.closed_at + timedelta(seconds=5))
        closes.append(1000 * (time.perf_counter() - began))
    median_ms, worst_ms = statistics.median(closes), max(closes)
    print(f"closing a ledger of 1,000 operations: median {median_ms:.0f} ms, worst {worst_ms:.0f} ms")
    asyncio.run(_serve(Horizon(chain, people, options=Options(stream_check_s=0))))


async def _serve(horizon: Horizon) -> None:
    wallets = [key.account_id for key in horizon.people.wallets]
    async with horizon:
        reader = multiprocessing.get_context("spawn").Process(target=_read, args=(horizon.url, wallets))
        reader.start()
        await asyncio.to_thread(reader.join)


def _read(url: str, wallets: list[str]) -> None:
    asyncio.run(_measure(url, wallets))


async def _measure(url: str, wallets: list[str]) -> None:
    wallet = itertools.cycle(wallets)
    await _rate(url, "/", lambda: "/")
    await _rate(url, "/accounts/{id}", lambda: f"/accounts/{next(wallet)}")
    await _rate(url, "/accounts/{id}/payments?limit=10", lambda: f"/accounts/{next(wallet)}/payments?limit=10")
    await _rate(url, "/payments?limit=200, one page again and again", lambda: "/payments?limit=200")
    began, count, cursor = time.perf_counter(), 0, "1"
    connection = await _connect(url)
    while time.perf_counter() - began < 2 * SECONDS:
        body = await _get(*connection, f"/payments?limit=200&cursor={cursor}")
        records = orjson.loads(body)["_embedded"]["records"]
        if not records:
            break
        count += len(records)
        cursor = records[-1]["paging_token"]
    rate = count / (time.perf_counter() - began)
    print(f"one client following the pages of /payments from the start: {rate:,.0f} payments/s")


async def _rate(url: str, name: str, path: Callable[[], str]) -> None:
    ends_at = time.perf_counter() + SECONDS

    async def ask() -> int:
        connection = await _connect(url)
        count = 0
        while time.perf_counter() < ends_at:
            await _get(*connection, path())
            count += 1
        return count

    total = sum(await asyncio.gather(*(ask() for _ in range(CONNECTIONS))))
    print(f"{name}: {total / SECONDS:,.0f} requests/s")


async def _connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port), limit=2**20)


async def _get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> bytes:
    """The leanest client there is, so that the server is what is measured."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    return await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))


if __name__ == "__main__":
    main()
