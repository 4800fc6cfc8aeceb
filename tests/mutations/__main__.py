"""`python -m tests.mutations`: remove each guard in turn, change the core everywhere; exit 1 if anything survived."""

import sys
from typing import Annotated

import typer
from rich.progress import track

from tests.mutations import core, report
from tests.mutations.guards import Caught, Guard, guards, without
from tests.mutations.trees import copied

app = typer.Typer(add_completion=False)


@app.command()
def main(
    part: Annotated[str, typer.Argument(help="guards, core or all")] = "all",
    *,
    only: Annotated[str, typer.Option(help="guards whose name or file holds this")] = "",
    missing: Annotated[bool, typer.Option("--missing", help="only guards that no run has seen caught yet")] = False,
    share: Annotated[str, typer.Option(help="1/2: the first half of the guards, for runs side by side")] = "1/1",
    children: Annotated[int, typer.Option(help="how many mutants of the core at once")] = 2,
) -> None:
    """Write docs/mutations.md anew with what was found."""
    survived = 0
    if part in ("all", "guards"):
        chosen = [each for each in guards() if only in each.name or only in each.file]
        if missing:
            chosen = [each for each in chosen if each.name not in report.caught_before()]
        number, _, of = share.partition("/")
        survived += _guards(chosen[int(number) - 1 :: int(of)])
    if part in ("all", "core"):
        survived += _core(children)
    sys.exit(1 if survived else 0)


def _guards(chosen: list[Guard]) -> int:
    caught: list[Caught] = []
    with copied() as tree:
        for guard in track(chosen, description="guards"):
            found = without(guard, tree)
            caught.append(found)
            typer.echo(f"{'caught  ' if found.test else 'SURVIVED'} {guard.name}: {found.test or guard.file}")
            report.keep(caught=[found])
    survived = sum(not each.test for each in caught)
    typer.echo(f"{len(caught) - survived} of {len(caught)} removed guards were noticed")
    return survived


def _core(children: int) -> int:
    scores = core.run(children=children)
    report.keep(scores=scores)
    for score in scores:
        typer.echo(f"{score.module:28} {score.mutants:5} mutants {score.percent:6.1f} %")
        for name in score.survived:
            typer.echo(f"    survived: {name}")
    killed = sum(score.killed for score in scores)
    judged = killed + sum(len(score.survived) for score in scores)
    percent = 100 * killed / judged
    typer.echo(f"{percent:.1f} % of {judged} mutants that are not equivalent were killed")
    stale = core.stale(scores)
    for name in stale:
        typer.echo(f"excused in equivalent.toml, and killed: {name}")
    return int(percent < core.SCORE_MIN or bool(stale))


if __name__ == "__main__":
    app()
