"""`python -m tests.crash_points`: kill the stream and the consumer at every await, and judge what is left.

`--check` compares the list of points with the code, `--write` brings it up to date.
"""

import asyncio
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tests.crash_points import listing, nursery, scenarios
from tests.crash_points.campaign import Campaign, Report
from tests.crash_points.listing import Target
from tests.crash_points.opening import make_template
from tests.fixtures_database import POSTGRES_VERSIONS, server_for_tests

WORLDS: Final = 6
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def main(
    *,
    check: Annotated[bool, typer.Option("--check", help="Only compare the list with the code.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Only bring the list up to date.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="How often to die on each side of each point.")] = 1,
    minutes: Annotated[float, typer.Option(min=0, help="No more kills after so long; what was done is judged.")] = 0,
    sample: Annotated[int, typer.Option(min=0, help="Only so many of the targets, by the seed. 0: all.")] = 0,
    only: Annotated[str, typer.Option(help="Only targets with this in their name or scenario.")] = "",
    seed: Annotated[int, typer.Option(help="Decides the order, the hits and every payment. 0: a new one.")] = 0,
    worlds: Annotated[int, typer.Option(min=1, help="How many worlds run side by side.")] = WORLDS,
    folder: Annotated[str, typer.Option(help="Where logs go; a temporary folder where unset.")] = "",
    json: Annotated[bool, typer.Option("--json", help="The summary as JSON on standard output.")] = False,
) -> None:
    """Run a campaign; the exit code is 0 only when every point was reached and every sum is exact."""
    if write:
        listing.write()
    if check or write:
        sys.exit(_check())
    targets = [target for target in listing.read().targets if only in f"{target} [{target.scenario}]"]
    seed = seed or random.SystemRandom().randrange(1, 2**31)
    if sample:
        targets = random.Random(seed).sample(targets, min(sample, len(targets)))  # noqa: S311 - a seeded choice
    report = asyncio.run(run(targets, rounds=rounds, minutes=minutes, seed=seed, worlds=worlds, folder=folder or None))
    console = Console(stderr=json)
    _show(console, targets, report, rounds)
    if json:
        sys.stdout.write(orjson.dumps(summary(targets, report, rounds), option=orjson.OPT_INDENT_2).decode() + "\n")
    sys.exit(0 if report.passed else 1)


async def run(
    targets: list[Target], *, rounds: int, seed: int, worlds: int, minutes: float = 0, folder: str | None = None
) -> Report:
    """The campaign over these targets, with a progress bar on standard error."""
    progress = Progress(
        TextColumn("crash points"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[last]}"),
        console=Console(stderr=True),
    )
    task = progress.add_task("kills", total=len(targets) * rounds, last="")
    with (
        tempfile.TemporaryDirectory(prefix="crash-points-") as temporary,
        server_for_tests(POSTGRES_VERSIONS[0]) as server,
        progress,
    ):
        template = await make_template(server)
        async with nursery.opened(Path(folder or temporary) / "zygote.log") as cradle:
            campaign = Campaign(
                targets,
                rounds=rounds,
                minutes=minutes,
                seed=seed,
                nursery=cradle,
                server=server,
                template=template,
                folder=Path(folder or temporary),
                on_kill=lambda target: progress.update(task, advance=1, last=f"{target}"[:60]),
            )
            return await campaign.run(worlds=worlds)


def summary(targets: list[Target], report: Report, rounds: int) -> dict[str, Any]:
    """What a machine wants to know of a campaign."""
    return {
        "seed": report.seed,
        "rounds": rounds,
        "targets": len(targets),
        "points": len({target.name for target in targets}),
        "kills": report.kills.total(),
        "kills_per_target_min": min((report.kills[target] for target in targets), default=0),
        "kills_by_scenario": _by_scenario(report),
        "kills_by_hit": {str(hit): count for hit, count in sorted(report.hits.items())},
        "worlds": report.worlds,
        "judged": report.judged,
        "seconds": round(report.seconds, 1),
        "exact": report.exact,
        "passed": report.passed,
        "discrepancies": report.discrepancies,
        "never_reached": report.never_reached,
        "ended_by_themselves": report.ended_by_themselves,
        "kills_per_point": {str(target): report.kills[target] for target in sorted(set(targets))},
    }


def _by_scenario(report: Report) -> dict[str, int]:
    found: Counter[str] = Counter()
    for target, kills in report.kills.items():
        found[f"{target.role} {target.scenario}"] += kills
    return dict(sorted(found.items()))


def _show(console: Console, targets: list[Target], report: Report, rounds: int) -> None:
    table = Table("process and scenario", "points", "sides", "kills", "fewest a side", title=f"seed {report.seed}")
    for said, kills in _by_scenario(report).items():
        role, _, scenario = said.partition(" ")
        chosen = [target for target in targets if (target.role, target.scenario) == (role, scenario)]
        fewest = min(report.kills[target] for target in chosen)
        table.add_row(said, str(len({each.name for each in chosen})), str(len(chosen)), str(kills), str(fewest))
    console.print(table)
    for title, lines in (
        ("does not add up", report.discrepancies),
        ("never reached", report.never_reached),
        ("ended by itself", report.ended_by_themselves),
    ):
        for line in lines:
            console.print(f"{title}: {line}", markup=False)
    console.print(
        f"{report.kills.total()} kills, at most {rounds} a side of each point, in {report.worlds} worlds and"
        f" {report.seconds:.0f} s; judged {report.judged} times: {'exact' if report.exact else 'NOT EXACT'}"
    )


def _check() -> int:
    try:
        found = listing.check()
        found += [f"no longer in the code: {name} (scenarios.py)" for name in scenarios.missing_constants()]
    except listing.BadList as error:
        found = [str(error)]
    for line in found:
        sys.stdout.write(f"{line}\n")
    if found:
        sys.stdout.write(f"\n{listing.REMEDY}\n")
        return 1
    return 0


if __name__ == "__main__":
    app()
