"""The whole pipeline on this machine: a simulated chain, an embedded Kafka and PostgreSQL, the real programs, live."""

import asyncio
import signal
import sys
import tempfile
from collections import deque
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Final

import orjson
import typer
from rich.console import Console
from rich.live import Live

from sandbox.broker import BrokerFailed
from sandbox.children import ChildFailed
from sandbox.database import DatabaseUnavailable
from sandbox.director import Director, Ending
from sandbox.options import Options
from sandbox.stage import Stage, set_up
from sandbox.view import View, print_summary, summary_as_json
from schema.migrate import MigrationRefused
from schema.stellar import Asset, Malformed, Network, parse_account_id, parse_stroops
from schema.topics import NotMade

REFRESH_S: Final = 0.5
LINE_EVERY: Final = 10  # refreshes, where there is no terminal
EXIT_INEXACT: Final = 1
EXIT_BAD_OPTION: Final = 2


def main(  # noqa: PLR0913 - one argument per option
    *,
    seconds: Annotated[
        float | None, typer.Option(help="Traffic for so long, then rest and the summary. Default: until Ctrl-C.")
    ] = None,
    payments: Annotated[int | None, typer.Option(help="End after so many payments instead.")] = None,
    wallets: Annotated[int, typer.Option(min=0, max=10_000, help="Wallets on the simulated chain.")] = 8,
    payments_per_s: Annotated[float, typer.Option(min=0, help="Pace of the traffic.")] = 4.0,
    ledger_s: Annotated[
        float, typer.Option(min=0.05, help="Seconds from ledger to ledger; the real network takes 5.6.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Decides every key, payment and failure.")] = 1,
    kills: Annotated[
        int, typer.Option(min=0, help="kill -9 of stream, consumer and executor at random, so often.")
    ] = 0,
    min_deposit: Annotated[str, typer.Option(help="The policy's minimum.")] = "10",
    failure_rate: Annotated[
        float, typer.Option(min=0, max=1, help="Share of commands that the executor fails.")
    ] = 0.05,
    database: Annotated[
        str | None, typer.Option(help="My PostgreSQL (URL) instead of the embedded one; it is migrated.")
    ] = None,
    kafka: Annotated[str | None, typer.Option(help="My Kafka (host:port) instead of the embedded one.")] = None,
    horizon: Annotated[
        str | None,
        typer.Option(help="My Horizon (URL) instead of the simulated chain; needs --account.", envvar="HORIZON_URL"),
    ] = None,
    account: Annotated[
        list[str] | None, typer.Option(help="With --horizon: a wallet to watch (G...); may be repeated.")
    ] = None,
    network: Annotated[
        Network, typer.Option(help="The network that --horizon or --replay is about.")
    ] = Network.TESTNET,
    asset: Annotated[
        str | None, typer.Option(help="CODE:ISSUER; default: USDC, Circle's or the simulation's own.")
    ] = None,
    replay: Annotated[
        list[Path] | None, typer.Option(exists=True, help="File or folder of recorded Horizon records to replay first.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Only the summary, as JSON, on standard output.")] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Where logs and the executor's memory go. Default: a temporary one.")
    ] = None,
) -> None:
    """Watch USDC arrive, snapshots and commands follow, an executor carry them out. Exit 0: every sum is exact."""
    try:
        parse_stroops(min_deposit)
        options = Options(
            seconds=seconds,
            payments=payments,
            wallets=wallets,
            payments_per_s=payments_per_s,
            ledger_s=ledger_s,
            seed=seed,
            kills=kills,
            min_deposit=min_deposit,
            failure_rate=failure_rate,
            database_url=database,
            kafka=kafka,
            horizon_url=horizon.rstrip("/") if horizon else None,
            accounts=tuple(parse_account_id(each) for each in account or ()),
            replay=tuple(replay or ()),
            network=network,
            asset=Asset.parse(asset) if asset else None,
            folder=folder or Path(tempfile.mkdtemp(prefix="sandbox-")),
        )
    except Malformed as malformed:
        _refuse(str(malformed))
    if options.horizon_url and not options.accounts:
        _refuse("--horizon needs at least one --account G... to watch")
    try:
        exact = asyncio.run(_run(options, as_json=json))
    except (ChildFailed, BrokerFailed, DatabaseUnavailable, MigrationRefused, NotMade) as failure:
        sys.stderr.write(f"the sandbox cannot go on: {failure}\nlogs: {options.folder}\n")
        sys.exit(EXIT_INEXACT)
    sys.exit(0 if exact else EXIT_INEXACT)


def _refuse(message: str) -> None:
    sys.stderr.write(f"{message}\n")
    sys.exit(EXIT_BAD_OPTION)


async def _run(options: Options, *, as_json: bool) -> bool:
    console = Console(stderr=as_json)
    notes: deque[str] = deque(maxlen=3)
    drawing = False

    def say(line: str) -> None:
        notes.append(line)
        if not as_json and not drawing:
            console.print(line, soft_wrap=True)

    async with set_up(options, say) as stage:
        director = Director(stage, say)
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signal_number, director.stop)
        view = View(stage, director, notes)
        drawing = console.is_terminal and not as_json
        ending = await _show(console, view, director, quiet=as_json)
        await view.refresh()
        _tell(console, stage, ending, view, as_json=as_json)
    return ending.sums is None or ending.sums.exact


async def _show(console: Console, view: View, director: Director, *, quiet: bool) -> Ending:
    """Lead the run and draw it."""
    leading = asyncio.create_task(director.lead())
    with (
        Live(view, console=console, refresh_per_second=4, screen=False)
        if console.is_terminal and not quiet
        else nullcontext()
    ):
        drawn = 0
        while not leading.done():
            await view.refresh()
            drawn += 1
            if not console.is_terminal and not quiet and drawn % LINE_EVERY == 0:
                console.print(view.line(), soft_wrap=True)
            await asyncio.wait([leading], timeout=REFRESH_S)
    return await leading


def _tell(console: Console, stage: Stage, ending: Ending, view: View, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(orjson.dumps(summary_as_json(stage, ending), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        print_summary(console, stage, ending, view.counts)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command(help=main.__doc__)(main)

if __name__ == "__main__":
    app()
