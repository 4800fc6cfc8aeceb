"""The whole pipeline on this machine: a simulated chain, an embedded Kafka and PostgreSQL, the real programs, live."""

import asyncio
import signal
import sys
import tempfile
from collections import deque
from contextlib import nullcontext
from pathlib import Path
from typing import Final

import orjson
import typer
from rich.console import Console
from rich.live import Live

from sandbox import command_line as line
from sandbox.broker import BrokerFailed
from sandbox.children import ChildFailed
from sandbox.database import DatabaseUnavailable
from sandbox.director import Director, Ending
from sandbox.options import BalanceSource, Options
from sandbox.stage import Stage, set_up
from sandbox.view import View, print_summary, summary_as_json
from schema.migrate import MigrationRefused
from schema.service import logs
from schema.service.hosts import parse_brokers
from schema.service.settings import Unusable
from schema.stellar import Asset, Malformed, Network, parse_account_id, parse_stroops
from schema.topics import NotMade

REFRESH_S: Final = 0.5
LINE_EVERY: Final = 10  # refreshes, where there is no terminal
EXIT_INEXACT: Final = 1
EXIT_BAD_OPTION: Final = 2


def main(  # noqa: PLR0913 - one argument per option
    *,
    seconds: line.Seconds = None,
    payments: line.Payments = None,
    wallets: line.Wallets = 8,
    payments_per_s: line.PaymentsPerS = 4.0,
    ledger_s: line.LedgerS = 1.0,
    seed: line.Seed = 1,
    kills: line.Kills = 0,
    poll: line.Poll = False,
    no_stream: line.NoStream = False,
    excluded_payers: line.ExcludedPayers = 0,
    min_deposit: line.MinDeposit = "10",
    failure_rate: line.FailureRate = 0.05,
    database: line.Database = None,
    kafka: line.Kafka = None,
    source: line.Source | None = None,
    horizon: line.Horizon = None,
    rpc: line.Rpc = None,
    account: line.Account = None,
    network: line.Network = Network.TESTNET,
    asset: line.Asset = None,
    replay: line.Replay = None,
    json: line.Json = False,
    folder: line.Folder = None,
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
            poll=poll,
            stream=not no_stream,
            excluded_payers=excluded_payers,
            min_deposit=min_deposit,
            failure_rate=failure_rate,
            database_url=database,
            kafka=parse_brokers(kafka) if kafka else None,
            source=source or (BalanceSource.RPC if rpc and not horizon else BalanceSource.HORIZON),
            horizon_url=horizon.rstrip("/") if horizon else None,
            rpc_url=rpc.rstrip("/") if rpc else None,
            accounts=tuple(parse_account_id(each) for each in account or ()),
            replay=tuple(replay or ()),
            network=network,
            asset=Asset.parse(asset) if asset else None,
            folder=folder or Path(tempfile.mkdtemp(prefix="sandbox-")),
        )
    except Malformed as malformed:
        _refuse(str(malformed))
    _check(options)
    logs.configure(level="error", log_format="console")  # the parts' own logs are in the folder
    try:
        exact = asyncio.run(_run(options, as_json=json))
    except (ChildFailed, BrokerFailed, DatabaseUnavailable, MigrationRefused, NotMade, Unusable) as failure:
        sys.stderr.write(f"the sandbox cannot go on: {failure}\nlogs: {options.folder}\n")
        sys.exit(EXIT_INEXACT)
    sys.exit(0 if exact else EXIT_INEXACT)


def _check(options: Options) -> None:
    """End it where options contradict each other."""
    if not options.stream and not options.poll:
        _refuse("--no-stream needs --poll: nobody would tell anything")
    if options.simulates_chain:
        return
    if not options.accounts:
        _refuse("--horizon and --rpc need at least one --account G... to watch")
    urls = {"horizon": options.horizon_url, "rpc": options.rpc_url}
    for each in options.source.streams.values():
        if urls[each] is None:
            _refuse(f"--source {options.source} needs --{each}, or neither: the chain is then simulated")


def _refuse(message: str) -> None:
    sys.stderr.write(f"{message}\n")
    sys.exit(EXIT_BAD_OPTION)


async def _run(options: Options, *, as_json: bool) -> bool:
    console = Console(stderr=as_json)
    notes: deque[str] = deque(maxlen=3)
    drawing = False

    def say(line: str) -> None:
        notes.append(line)
        if not drawing:
            console.print(line, soft_wrap=True)

    async with set_up(options, say) as stage:
        director = Director(stage, say)
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signal_number, director.stop)
        view = View(console, stage, director, notes)
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
