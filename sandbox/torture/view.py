"""What a person sees of a torture: a bar for the faults, one for the kills, what goes on now, and the end."""

import statistics
from typing import Any, Final

from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from sandbox.ledger_book import DISCREPANCIES_SHOWN
from sandbox.torture.conductor import Score, Tally
from sandbox.torture.plan import Plan
from schema.stellar import format_stroops

_PHASE: Final = 22


class View:
    """The live picture of one run."""

    def __init__(self, plan: Plan, score: Score) -> None:
        self._plan = plan
        self._score = score
        self._bars = Progress(
            TextColumn("{task.description:<7}"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn()
        )
        self._faults = self._bars.add_task("faults", total=len(plan.steps))
        self._kills = self._bars.add_task("kills", total=plan.kills)

    def line(self) -> str:
        """The picture in one line, where there is no terminal."""
        score = self._score
        return (
            f"{score.phase}: {score.faults_done}/{len(self._plan.steps)} faults, {score.kills}/{self._plan.kills} kills"
            f", {score.payments} payments, {score.commands} commands {score.now}"
        )

    def __rich__(self) -> Group:
        self._bars.update(self._faults, completed=self._score.faults_done)
        self._bars.update(self._kills, completed=self._score.kills)
        score = self._score
        said = f"{score.phase:<{_PHASE}} {score.payments} payments, {score.commands} commands"
        found = Text(f"{len(score.findings)} findings", style="bold red") if score.findings else Text("")
        return Group(self._bars, Text(said, style="bold"), Text(score.now, style="dim"), found)


def as_json(score: Score, plan: Plan, *, seed: int, left_out: dict[str, str]) -> dict[str, Any]:
    """The ending, for machines."""
    sums = score.sums
    said: dict[str, Any] = {
        "exact": score.exact,
        "seed": seed,
        "seconds": round(score.seconds, 1),
        "kills": score.kills,
        "kills_planned": plan.kills,
        "kills_by_program": dict(sorted(score.kills_by_program.items())),
        "payments": score.payments,
        "faults": {name: _tally_as_json(tally) for name, tally in score.tallies.items()},
        "left_out": left_out,
        "discrepancies": [*score.findings, *(sums.discrepancies if sums else ["nothing was judged"])],
    }
    if sums is not None:
        said |= {
            "commands": sums.commands,
            "commands_by_status": dict(sums.statuses),
            "snapshots": sums.snapshots,
            "versions_touched": sums.touched,
            "versions_collapsed": sums.collapsed,
            "commands_said_again": sums.topic_repeats,
            "dead_letters": sums.dead_letters,
        }
        for name in ("received", "excluded", "doubtful", "spent", "deposited", "balance"):
            said[name] = format_stroops(getattr(sums, name))
    return said


def _tally_as_json(tally: Tally) -> dict[str, Any]:
    said: dict[str, Any] = {"planned": tally.planned, "done": tally.done, "seconds": round(tally.seconds, 1)}
    if tally.hits is not None:
        said["hits"] = tally.hits
    if tally.back_s:
        said |= {"back_s_median": round(statistics.median(tally.back_s), 2), "back_s_max": round(max(tally.back_s), 2)}
    return said


def tell(console: Console, said: dict[str, Any]) -> None:
    """The ending, for people."""
    table = Table(title=f"torture, seed {said['seed']}: {said['seconds']:.0f} s", title_style="bold")
    table.add_column("fault")
    for name in ("planned", "done", "seconds", "recording again after, median", "at most"):
        table.add_column(name, justify="right")
    for name, tally in said["faults"].items():
        back = [f"{tally[key]:.1f} s" if key in tally else "" for key in ("back_s_median", "back_s_max")]
        table.add_row(name, str(tally["planned"]), str(tally["done"]), f"{tally['seconds']:.1f}", *back)
    table.add_row("kill", str(said["kills_planned"]), str(said["kills"]), "", "", "")
    console.print(table)
    for name, why in said["left_out"].items():
        console.print(f"LEFT OUT: {name}: {why}", style="bold yellow", soft_wrap=True, markup=False)
    counts = [(name, said[name]) for name in _SHOWN if name in said]
    console.print(", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in counts), soft_wrap=True)
    if said["exact"]:
        console.print("every sum is exact: nothing lost, nothing twice", style="bold green")
        return
    console.print(f"{len(said['discrepancies'])} DISCREPANCIES", style="bold red")
    for each in said["discrepancies"][:DISCREPANCIES_SHOWN]:
        console.print(f"  {each}", soft_wrap=True, markup=False)


_SHOWN: Final = (
    *(
        "kills_by_program",
        "payments",
        "received",
        "deposited",
        "excluded",
        "spent",
        "doubtful",
        "commands",
        "commands_by_status",
    ),
    *("commands_said_again", "snapshots", "versions_touched", "versions_collapsed", "dead_letters"),
)
