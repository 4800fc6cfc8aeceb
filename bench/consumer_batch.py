"""How fast the consumer takes in balance events, on a PostgreSQL of this machine that waits for its disk.

In one run, in turns, so that whatever else the machine does falls on all of them alike:
  ceiling   COPY of the very rows our path left in balance_snapshots, as prepared bytes, into the same table and indexes
  batches   our path: encoded events are decoded, decided on under row locks, written and committed, a batch at a time
  singles   the same path with a transaction for each event
and, without a database, the decoder and the decision alone.
"""

import asyncio
import gc
import os
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench import consumer_runs as runs
from bench import consumer_world as world
from bench.consumer_runs import PARTS, OnProgress, Times
from sandbox import database

Step = Callable[[str], OnProgress]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of everything."""

    wallets: int
    events: int
    batch_events: int
    single_events: int
    command_every: int
    rounds: int


def main(  # noqa: PLR0913 - one option each
    *,
    wallets: Annotated[int, typer.Option(min=1)] = 20_000,
    events: Annotated[int, typer.Option(min=1, help="In batches, and as rows of the ceiling.")] = 200_000,
    batch_events: Annotated[int, typer.Option(min=1, help="Events in one transaction.")] = 2_000,
    single_events: Annotated[int, typer.Option(min=1, help="Events with a transaction each.")] = 2_000,
    command_every: Annotated[int, typer.Option(min=0, help="Every how many-th event of a wallet is a deposit.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, help="The medians of this many are shown.")] = 3,
    folder: Annotated[Path | None, typer.Option(help="Where PostgreSQL keeps its files: the disk to measure.")] = None,
) -> None:
    """Measure the ceiling, our path in batches and by single events, and where our path's time goes."""
    sizes = Sizes(
        wallets=wallets,
        events=events,
        batch_events=batch_events,
        single_events=single_events,
        command_every=command_every,
        rounds=rounds,
    )
    asyncio.run(_measure(sizes, folder, Console()))


async def _measure(sizes: Sizes, folder: Path | None, console: Console) -> None:
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("people and events", total=sizes.wallets + sizes.events)
        accounts = world.accounts(sizes.wallets, lambda: progress.advance(task))
        records = world.records(
            accounts, sizes.events, command_every=sizes.command_every, on_each=lambda: progress.advance(task)
        )
        gc.collect()
        gc.freeze()  # a consumer never holds this many records: the collector is not to walk through them
        found: dict[str, list[Times]] = defaultdict(list)
        async with database.running(folder) as server:
            await world.make_template(server, accounts)
            for number in range(1, sizes.rounds + 1):
                step = _steps(progress, f"round {number} of {sizes.rounds}")
                async with world.fresh_database(server) as url:
                    found["batches"].append(await runs.path(url, records, sizes.batch_events, step("batches")))
                    written = await runs.written_snapshots(url, sizes.batch_events)
                async with world.fresh_database(server) as url:
                    found["ceiling"].append(await runs.copy(url, written, sizes.batch_events, step("ceiling")))
                async with world.fresh_database(server) as url:
                    some = records[: sizes.single_events]
                    found["singles"].append(await runs.path(url, some, 1, step("singles")))
                found["decode"].append(runs.decode(records, sizes.batch_events, step("decode")))
                found["decide"].append(runs.decide(records, accounts, sizes.batch_events, step("decide")))
    _show(console, sizes, found, event_bytes=len(records[-1].value))


def _steps(progress: Progress, round_name: str) -> Step:
    def begin(name: str) -> OnProgress:
        task = progress.add_task(f"{round_name}: {name}", total=None)
        return lambda done, total: progress.update(task, completed=done, total=total)

    return begin


def _show(console: Console, sizes: Sizes, found: dict[str, list[Times]], *, event_bytes: int) -> None:
    rates = {name: [run.events_per_s for run in times] for name, times in found.items()}
    rate = {name: statistics.median(each) for name, each in rates.items()}
    counts = found["batches"][-1].counts
    console.print(
        f"{sizes.events:,} events of {event_bytes} bytes for {sizes.wallets:,} wallets, {sizes.batch_events:,} a batch:"
        f" {counts['baseline'] + counts['recorded']:,} snapshots, {counts['commands']:,} commands.",
        f"fsync on, one connection, medians of {sizes.rounds},",
        f"load average {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores.",
    )
    table = Table("", "events/s", "least to most", "our path is")
    for name, says in (("ceiling", "COPY of its rows"), ("batches", "our path"), ("singles", "an event at a time")):
        spread = f"{min(rates[name]):,.0f} - {max(rates[name]):,.0f}"
        table.add_row(f"{name}: {says}", f"{rate[name]:,.0f}", spread, f"{rate['batches'] / rate[name]:.2f} of it")
    console.print(table)
    table = Table("our path's time", "us an event", "share", "alone, events/s")
    for part in PARTS:
        part_s = statistics.median(run.parts_s[part] / run.events for run in found["batches"])
        alone = f"{rate[part]:,.0f}" if part in rate else ""
        table.add_row(part, f"{part_s * 1e6:.1f}", f"{part_s * rate['batches']:.0%}", alone)
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
