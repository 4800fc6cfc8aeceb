"""Torture: kill -9 and everything else that can go wrong, at random from a seed, and an oracle that judges the end."""

import asyncio
import hashlib
import signal
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Final

import orjson
import typer
from rich.console import Console
from rich.live import Live

from sandbox.apache_kafka import KafkaFailed
from sandbox.children import ChildFailed
from sandbox.database import DatabaseUnavailable
from sandbox.options import Options
from sandbox.torture import disk, plan, view
from sandbox.torture.arena import KILLED, MIN_DEPOSIT, set_up
from sandbox.torture.conductor import Conductor
from sandbox.torture.plan import Plan
from sandbox.torture.registry import Fault, all_faults
from schema.service import logs

EXIT_FOUND: Final = 1
EXIT_BAD_OPTION: Final = 2
LINE_S: Final = 10.0
QUIET_WALLETS_MAX: Final = 1_000  # one a second, and no more than can be looked at in the end
REFRESH_S: Final = 0.5


def main(  # noqa: PLR0913 - one argument per option
    *,
    kills: Annotated[int, typer.Option(min=0, help="kill -9 of our programs, so many in all.")] = 60,
    minutes: Annotated[float, typer.Option(min=0, help="The faults and kills are spread over so long.")] = 3.0,
    seed: Annotated[int, typer.Option(help="Decides which faults, when, at what, and the traffic.")] = 1,
    only: Annotated[list[str] | None, typer.Option(help="Only this fault; may be repeated.")] = None,
    wallets: Annotated[int, typer.Option(min=1, max=1000, help="Wallets on the chain.")] = 12,
    payments_per_s: Annotated[float, typer.Option(min=0, help="Pace of the traffic.")] = 5.0,
    failure_rate: Annotated[float, typer.Option(min=0, max=1, help="Commands that the executor fails.")] = 0.05,
    show_plan: Annotated[bool, typer.Option("--plan", help="Print what would be done, and end.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Only the ending, as JSON, on standard output.")] = False,
    folder: Annotated[
        Path | None, typer.Option(file_okay=False, help="Where logs go. Default: a temporary one.")
    ] = None,
) -> None:
    """Torture the pipeline. Exit 0: the oracle finds nothing. Needs `make kafka`; full disks need root on Linux."""
    faults = all_faults()
    unknown = set(only or ()) - faults.keys()
    if unknown:
        sys.stderr.write(f"no such fault: {', '.join(sorted(unknown))}; there are: {', '.join(faults)}\n")
        sys.exit(EXIT_BAD_OPTION)
    chosen = {name: each for name, each in faults.items() if not only or name in only}
    chosen, left_out = (chosen, {}) if show_plan else _possible(chosen)
    drawn = plan.make(
        [each.kind for each in chosen.values()], seed=seed, seconds=60 * minutes, kills=kills, programs=KILLED
    )
    if show_plan:
        sys.stdout.write(_written(drawn))
        return
    if folder is not None and folder.exists() and any(folder.iterdir()):
        sys.stderr.write(f"{folder} is not empty: an executor's memory of another world must not meet this one\n")
        sys.exit(EXIT_BAD_OPTION)
    options = Options(
        seconds=60 * minutes,
        wallets=wallets,
        payments_per_s=payments_per_s,
        ledger_s=1.0,
        seed=seed,
        kills=kills,
        min_deposit=MIN_DEPOSIT,
        failure_rate=failure_rate,
        folder=folder or Path(tempfile.mkdtemp(prefix="torture-", dir="/tmp")),
    )
    logs.configure(level="error", log_format="console")
    try:
        exact = asyncio.run(_run(options, drawn, chosen, left_out, as_json=json))
    except (ChildFailed, DatabaseUnavailable, KafkaFailed) as failure:
        sys.stderr.write(f"the torture cannot go on: {failure}\nlogs: {options.folder}\n")
        sys.exit(EXIT_FOUND)
    sys.exit(0 if exact else EXIT_FOUND)


def _possible(chosen: dict[str, Fault]) -> tuple[dict[str, Fault], dict[str, str]]:
    """The faults that can be done here, and why the others cannot."""
    if not any(each.disk for each in chosen.values()):
        return chosen, {}
    try:
        disk.keep_mounts_to_ourselves()
    except disk.NotAllowed as refused:
        why = f"a disk of its own cannot be mounted here ({refused})"
        left_out = {name: why for name, each in chosen.items() if each.disk}
        return {name: each for name, each in chosen.items() if not each.disk}, left_out
    return chosen, {}


def _written(drawn: Plan) -> str:
    """Every step and volley, in order."""
    steps = [
        f"{step.number:5} {step.gap_s:6.2f} s later {step.name} {step.target} for {step.seconds} s ({step.chance:.3f})"
        for step in drawn.steps
    ]
    kills = [
        f"{volley.at_s:9.2f} s kill {', '.join(f'{name} (down {down_s:g} s)' for name, down_s in volley.kills)}"
        for volley in drawn.volleys
    ]
    return "\n".join([*steps, *kills, ""])


async def _run(
    options: Options, drawn: Plan, chosen: dict[str, Fault], left_out: dict[str, str], *, as_json: bool
) -> bool:
    console = Console(stderr=as_json)
    live = console.is_terminal and not as_json
    written = _written(drawn)
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / "plan.txt").write_text(written)

    def say(line: str) -> None:
        with (options.folder / "torture.log").open("a") as log:
            log.write(f"{line}\n")
        if not live:
            console.print(line, soft_wrap=True, markup=False)

    digest = hashlib.sha256(written.encode()).hexdigest()[:12]
    console.print(
        f"seed {options.seed}: {len(drawn.steps)} faults of {len(chosen)} kinds, {drawn.kills} kills; plan {digest} and"
        f" logs in {options.folder}",
        soft_wrap=True,
    )
    for name, why in left_out.items():
        console.print(f"LEFT OUT: {name}: {why}", style="bold yellow", soft_wrap=True)
    with_disks = any(each.disk for each in chosen.values())
    quiet_wallets = min(QUIET_WALLETS_MAX, max(1, round(options.seconds or 0)))
    async with set_up(options, say, with_disks=with_disks, quiet_wallets=quiet_wallets) as arena:
        conductor = Conductor(arena, drawn, chosen, say=say)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, conductor.stop)
        picture = view.View(drawn, conductor.score)
        leading = asyncio.create_task(conductor.lead())
        with Live(picture, console=console, refresh_per_second=4) if live else nullcontext():
            while not leading.done():
                await asyncio.wait([leading], timeout=REFRESH_S if live else LINE_S)
                if not live:
                    console.print(picture.line(), soft_wrap=True, markup=False)
        score = await leading
    said = view.as_json(score, drawn, seed=options.seed, left_out=left_out)
    (options.folder / "ending.json").write_bytes(orjson.dumps(said, option=orjson.OPT_INDENT_2))
    if as_json:
        sys.stdout.write(orjson.dumps(said, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        view.tell(console, said)
    return score.exact


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command(help=main.__doc__)(main)

if __name__ == "__main__":
    app()
