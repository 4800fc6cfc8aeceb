"""The steps of the bench of a million wallets, one after the other, each beside the least that any program would do."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from bench.million_horizon import START_LEDGER
from bench.million_payments import Payments
from bench.million_world import Program, Ran, World, load
from producers.source import PAGE_RECORDS_MAX
from schema.stellar import format_stroops

CHANGED: Final = 1_000
WALKS: Final = 4
COPY_COLUMNS: Final = (
    *("id", "user_id", "wallet_id", "usdc_balance", "previous_balance", "snapshot_type", "auto_deposit_triggered"),
    *("deposit_amount", "transaction_hash", "created_at", "ledger", "event_id", "command_id", "observed_at"),
    "authorized",
)


@dataclass(kw_only=True)
class Figure:
    """What a step came to."""

    step: str
    wallets: int
    seconds: float
    beside: str = ""  # what its seconds are compared with
    beside_s: float = 0.0
    load: float = field(default_factory=load)
    requests: dict[str, int] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)

    def brief(self) -> dict[str, Any]:
        """What matters most of it."""
        said = {"seconds": round(self.seconds, 1), "load": self.load, "requests": sum(self.requests.values())}
        return said | {name: self.seen[name] for name in ("cpu_s", "peak_rss_mib", "longest_own_ms") if self.seen}

    def row(self) -> dict[str, Any]:
        """All of it, with the rate and the ratio."""
        ratio = round(self.seconds / self.beside_s, 2) if self.beside_s else None
        return {
            **asdict(self),
            "seconds": round(self.seconds, 2),
            "per_s": round(self.wallets / self.seconds),
            "times": ratio,
        }


async def bare_pages(world: World) -> float:
    """Seconds of a reader that asks for every page of holders, four at a time, parses it, and does nothing else."""

    async def walk(first: int, behind: int) -> None:
        cursor = world.people.account_id(first)[:-1]
        last = world.people.account_id(behind - 1)
        while cursor < last:
            query = {"asset": str(world.asset), "cursor": cursor, "order": "asc", "limit": str(PAGE_RECORDS_MAX)}
            async with world.session.get(f"{world.horizon_url}/accounts", params=query) as response:
                records = orjson.loads(await response.read())["_embedded"]["records"]
            cursor = records[-1]["account_id"] if len(records) == PAGE_RECORDS_MAX else "H"

    began_s, count = time.perf_counter(), world.people.count
    await asyncio.gather(*(walk(count * each // WALKS, count * (each + 1) // WALKS) for each in range(WALKS)))
    return time.perf_counter() - began_s


async def import_wallets(world: World, file: Path) -> Figure:
    """`wallets import`, beside a plain COPY of the same rows."""
    people, connection = world.people, world.connection
    with file.open("w", encoding="utf-8") as lines:
        lines.write("user_id,public_key,network\n")
        lines.writelines(f"{people.user_id(each)},{people.account_id(each)},testnet\n" for each in range(people.count))
    users = ((people.user_id(number),) for number in range(people.count))
    await connection.copy_records_to_table("users", schema_name="auth", columns=["id"], records=users)
    began_s, columns = time.perf_counter(), ["user_id", "public_key", "network"]
    await connection.copy_to_table("stellar_wallets", source=file, columns=columns, format="csv", header=True)
    plain_s = time.perf_counter() - began_s
    await connection.execute("truncate public.stellar_wallets cascade")
    await connection.execute("vacuum analyze auth.users, public.stellar_wallets")
    ran = await world.run("import", "producers", "wallets", "import", str(file), "--json")
    said = orjson.loads(ran.said)
    assert (ran.code, said["added"]) == (0, people.count), ran
    return _ran("import", world, ran, beside="a plain COPY", beside_s=plain_s)


async def first_start(world: World, pages_s: float, *, consumer: Program, is_beside: bool) -> list[Figure]:
    """The stream's first start: cursor, every baseline, the stream; the consumer beside it, or after it."""
    count, payments = world.people.count, Payments(world, seed=1)
    asked, stream = await world.asked(), world.program("stream", "producers", "stream")
    if is_beside:
        await consumer.start()
    await payments.begin()
    began_s = time.perf_counter()
    await stream.start()
    await stream.until(lambda found: found.get("producers_wallets_tracked") == count)
    followed_s = time.perf_counter() - began_s
    paying = asyncio.create_task(payments.run())
    told = await stream.until(lambda found: _at(world, "baselines told", _told(found), count) and _is_all_told(found))
    told_s = time.perf_counter() - began_s
    paying.cancel()
    taken = {path: number - asked.get(path, 0) for path, number in (await world.asked()).items()}
    told_figure = Figure(
        step="first start, told",
        wallets=count,
        seconds=told_s,
        beside="bare pages",
        beside_s=pages_s,
        requests=taken,
        seen=dict(stream.seen),
        more={
            "followed_s": round(followed_s, 2),
            "facts": _told(told),
            "duplicates": told["producers_duplicates_total"],
        },
    )
    if not is_beside:
        await consumer.start()
    recorded_began_s = began_s if is_beside else time.perf_counter()
    await _until_recorded(world, consumer)
    recorded_s = time.perf_counter() - recorded_began_s
    await payments.end()
    told_figure.more["stopped_s"] = round(await stream.stop(), 2)
    if is_beside:  # else they waited for the consumer to be started
        told_figure.more["payments"] = await payments.late()
    recorded = Figure(
        step="first start, recorded" if is_beside else "the consumer alone",
        wallets=count,
        seconds=recorded_s,
        beside="COPY of its rows",
        beside_s=await _copy_of_snapshots(world),
        seen=dict(consumer.seen),
        more={"behind_the_stream_s": round(recorded_s - told_s, 2)} if is_beside else {},
    )
    return [told_figure, recorded]


async def polls(world: World, pages_s: float) -> AsyncIterator[Figure]:
    """A round where nothing changed, and one where a thousand did."""
    yield await poll(world, pages_s, "poll, nothing changed")
    payments = Payments(world, seed=2)
    await payments.begin()
    changed = min(CHANGED, world.people.count // 10)
    await payments.pay(changed)
    await payments.closed()
    figure = await poll(world, pages_s, f"poll, {changed:,} changed")
    await payments.end()
    figure.more["payments"] = await payments.late()
    yield figure


async def reconciled(world: World, pages_s: float) -> list[Figure]:
    """The stream again, now with a cursor; and, while it follows payments, the proof."""
    payments, stream = Payments(world, seed=3), world.program("stream-again", "producers", "stream")
    await payments.begin()
    began_s = time.perf_counter()
    await stream.start()
    await stream.until(lambda found: found.get("producers_wallets_tracked") == world.people.count)
    again = Figure(step="the stream again", wallets=world.people.count, seconds=time.perf_counter() - began_s)
    paying = asyncio.create_task(payments.run())
    figure = await reconcile(world, pages_s)
    paying.cancel()
    await payments.end()
    again.more["stopped_s"] = round(await stream.stop(), 2)
    again.more["payments"] = await payments.late()
    again.seen = dict(stream.seen)
    return [again, figure]


async def reconcile(world: World, pages_s: float) -> Figure:
    """The proof."""
    asked = await world.asked()
    ran = await world.run("reconcile", "producers", "reconcile", "--json")
    said = orjson.loads(ran.said)
    figure = _ran("reconcile", world, ran, beside="bare pages", beside_s=pages_s, asked=asked, now=await world.asked())
    figure.more = {"equal": said["equal"], "apart": said["apart"], "sentence": said["sentence"]}
    return figure


async def record_all(world: World, file: Path) -> None:
    """Every wallet's fact as the consumer would have stored it."""
    people, connection = world.people, world.connection
    with file.open("w", encoding="utf-8") as lines:
        for each in range(people.count):
            is_there = not people.is_absent(each)
            version = START_LEDGER - people.ledgers_ago(each) if is_there else START_LEDGER
            balance = format_stroops(people.stroops(each)) if is_there else "0"
            lines.write(f"{people.user_id(each)},{people.account_id(each)},testnet,{version},{balance},{is_there}\n")
    users = ((people.user_id(number),) for number in range(people.count))
    await connection.copy_records_to_table("users", schema_name="auth", columns=["id"], records=users)
    columns = ["user_id", "public_key", "network", "balance_ledger", "previous_usdc_balance", "balance_authorized"]
    await connection.copy_to_table("stellar_wallets", source=file, columns=columns, format="csv")
    await connection.execute("vacuum analyze auth.users, public.stellar_wallets")


async def poll(world: World, pages_s: float, step: str) -> Figure:
    """One round."""
    asked = await world.asked()
    ran = await world.run("poll", "producers", "poll", "--once")
    said = orjson.loads(ran.said)
    assert (ran.code, said["wallets"]) == (0, world.people.count), ran
    figure = _ran(step, world, ran, beside="bare pages", beside_s=pages_s, asked=asked, now=await world.asked())
    figure.more = {each: said[each] for each in ("read", "unchanged", "told", "left", "found")}
    return figure


def _ran(  # noqa: PLR0913 - what a figure is made of
    step: str,
    world: World,
    ran: Ran,
    *,
    beside: str,
    beside_s: float,
    asked: dict[str, int] | None = None,
    now: dict[str, int] | None = None,
) -> Figure:
    requests = {path: number - (asked or {}).get(path, 0) for path, number in (now or {}).items()}
    return Figure(
        step=step,
        wallets=world.people.count,
        seconds=ran.seconds,
        beside=beside,
        beside_s=beside_s,
        requests={path: number for path, number in requests.items() if number},
        seen=dict(ran.seen),
    )


def _told(found: dict[str, float]) -> int:
    return int(found.get('producers_facts_total{snapshot_type="poll"}', 0))


def _is_all_told(found: dict[str, float]) -> bool:
    return found["producers_baselines_waiting"] == found["producers_missed_waiting"] == 0 and _told(found) > 0


def _at(world: World, what: str, done: int, total: int) -> bool:
    world.at(what, done, total)
    return True


async def _until_recorded(world: World, consumer: Program) -> None:
    def is_done(found: dict[str, float]) -> bool:
        done = int(found.get('consumer_inputs_total{verdict="baseline"}', 0))
        return _at(world, "baselines recorded", done, world.people.count) and done >= world.people.count

    await consumer.until(is_done)
    assert await world.recorded() == world.people.count


async def _copy_of_snapshots(world: World) -> float:
    """Seconds of one COPY of the very rows into a table with the same indexes."""
    file, connection = world.folder / "snapshots.copy", world.connection
    await connection.copy_from_table("balance_snapshots", output=file, columns=COPY_COLUMNS, format="binary")
    await connection.execute("create table copied (like public.balance_snapshots including all)")
    began_s = time.perf_counter()
    await connection.copy_to_table("copied", source=file, columns=COPY_COLUMNS, format="binary")
    took_s = time.perf_counter() - began_s
    await connection.execute("drop table copied")
    file.unlink()
    return took_s
