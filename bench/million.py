"""A million wallets from end to end: `python -m bench.million [--wallets 20000] [--json]`.

Our own programs as processes, each with an eye on its event loop (`bench/million_child.py`), over an embedded
PostgreSQL that waits for its disk, an embedded broker or a real Kafka, and a Horizon with so many holders
(`bench/million_horizon.py`):
  import      `producers wallets import`
  first start `producers stream` without a cursor: cursor, every baseline, the stream; payments come meanwhile
  recorded    `consumer` beside it: every baseline; with --kafka after it, at its own pace
  poll        `producers poll --once`: nothing changed; a thousand were paid
  reconcile   `producers reconcile`, while the stream follows payments
With --recorded the first round of the poller and the proof alone, over wallets whose facts are stored.
Each beside the least there is to do, in the same run: a plain COPY of the same rows; every page of holders asked for,
four at a time, and parsed. A million takes some 20 minutes, 4 GB of disk and 3 GB of memory.
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import structlog
import typer
from rich.console import Console
from rich.table import Table

from bench import million_steps as steps_of
from bench.million_people import ABSENT_EVERY, People
from bench.million_steps import Figure
from bench.million_world import World, load, opened
from producers.progress import steps

WIDTH: Final = 140


def main(  # noqa: PLR0913 - one option each
    *,
    wallets: Annotated[int, typer.Argument(min=ABSENT_EVERY, help="How many wallets.")] = 20_000,
    kafka: Annotated[
        bool, typer.Option(help="A real Apache Kafka (`make kafka`), the consumer after the stream.")
    ] = False,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Begin with wallets whose facts are stored: a poll and the proof alone.")
    ] = False,
    ledger_s: Annotated[float, typer.Option(min=0.5, help="Seconds between ledgers.")] = 5.0,
    logs: Annotated[Path | None, typer.Option(file_okay=False, help="Keep the programs' logs there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON instead of a table.")] = False,
) -> None:
    """Measure so many wallets from end to end."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with tempfile.TemporaryDirectory() as folder:
        if logs is not None:
            logs.mkdir(parents=True, exist_ok=True)
        figures = asyncio.run(
            _measure(logs or Path(folder), wallets, kafka=kafka, is_recorded=recorded, ledger_s=ledger_s)
        )
    if as_json:
        typer.echo(orjson.dumps([each.row() for each in figures]).decode())
    else:
        _show(Console(width=None if sys.stdout.isatty() else WIDTH), figures)


async def _measure(folder: Path, wallets: int, *, kafka: bool, is_recorded: bool, ledger_s: float) -> list[Figure]:
    with steps() as progress:
        async with opened(folder, People(wallets), progress, kafka=kafka, ledger_s=ledger_s) as world:
            world.steps.say("begins", wallets=wallets, load=load())
            figures: list[Figure] = []
            found = _recorded_steps(world, folder) if is_recorded else _steps(world, folder, is_beside=not kafka)
            async for figure in found:
                figures.append(figure)
                world.steps.say(figure.step, **figure.brief())  # who waits for 20 minutes sees what there is
                with (folder / "figures.jsonl").open("ab") as file:
                    file.write(orjson.dumps(figure.row()) + b"\n")
            return figures


async def _recorded_steps(world: World, folder: Path) -> AsyncIterator[Figure]:
    pages_s = await steps_of.bare_pages(world)
    yield Figure(step="bare pages", wallets=world.people.count, seconds=pages_s)
    await steps_of.record_all(world, folder / "wallets.csv")
    yield await steps_of.poll(world, pages_s, "poll, nothing changed")
    yield await steps_of.reconcile(world, pages_s)


async def _steps(world: World, folder: Path, *, is_beside: bool) -> AsyncIterator[Figure]:
    pages_s = await steps_of.bare_pages(world)
    yield Figure(step="bare pages", wallets=world.people.count, seconds=pages_s)
    yield await steps_of.import_wallets(world, folder / "wallets.csv")
    consumer = world.program("consumer", "consumer")
    try:
        for figure in await steps_of.first_start(world, pages_s, consumer=consumer, is_beside=is_beside):
            yield figure
        async for figure in steps_of.polls(world, pages_s):
            yield figure
        for figure in await steps_of.reconciled(world, pages_s):
            yield figure
    finally:
        await consumer.stop()


def _show(console: Console, figures: list[Figure]) -> None:
    rows = [each.row() for each in figures]
    columns = ("step", "seconds", "wallets/s", "times", "of", "requests", "peak MiB", "CPU s", "own stall ms", "load")
    table = Table(*columns, title=f"{rows[0]['wallets']:,} wallets")
    for row in rows:
        seen = row["seen"]
        table.add_row(
            *(row["step"], f"{row['seconds']:,.1f}", f"{row['per_s']:,}", str(row["times"] or ""), row["beside"]),
            *(f"{sum(row['requests'].values()):,}" if row["requests"] else "", _text(seen.get("peak_rss_mib"))),
            *(_text(seen.get("cpu_s")), _text(seen.get("longest_own_ms")), str(row["load"])),
        )
    console.print(table)
    for row in rows:
        for name, value in row["more"].items():
            console.print(f"{row['step']}: {name}: {value}", highlight=False)
        if row["requests"]:
            console.print(f"{row['step']}: {row['requests']}", highlight=False)


def _text(value: Any) -> str:
    return "" if value is None else f"{value:,}"


if __name__ == "__main__":
    typer.run(main)
