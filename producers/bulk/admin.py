"""`python -m producers wallets`: which wallets are followed, changed one by one or by a file of a million lines."""

import asyncio
import contextlib
import os
import signal
import stat
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, NoReturn, TypeVar

import orjson
import typer

from producers.bulk import lines as wallet_lines
from producers.bulk import store as wallet_admin_store
from producers.bulk.importing import Declined, How, Summary, run
from producers.bulk.lines import Action, Fault, Unreadable, Wish
from producers.bulk.progress import Progress
from producers.bulk.store import NotDone, Row
from producers.settings import WalletSettings
from schema.service import logs
from schema.service.settings import EXIT_BAD_ENVIRONMENT, read_environment
from schema.stellar import Network, format_stroops

EXIT_REFUSED: Final = 1
EXIT_USAGE: Final = EXIT_BAD_ENVIRONMENT
EXIT_INTERRUPTED: Final = 130
LIST_COLUMNS: Final = ("public_key", "network", "version", "balance", "paused", "held")
REMOVES: Final = "a removed wallet's balance, snapshots, policy and requests go with it; its deposit commands stay"

T = TypeVar("T")
Lines = Iterator[Wish | list[Fault]]
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

SkipBad = Annotated[
    bool, typer.Option("--skip-bad/--all-or-nothing", help="Take the good lines in and report the bad ones.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing, say what would be done.")]
Report = Annotated[
    Path | None, typer.Option(help="A CSV file for everything that is wrong: line, column, value, expected.")
]
AsJson = Annotated[bool, typer.Option("--json", help="The summary as JSON on standard output.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before wallets are removed.")]
Accounts = Annotated[list[str] | None, typer.Argument(help="Wallets, as G addresses.")]
Addresses = Annotated[
    Path | None, typer.Option("--file", help="A file with an address on each line; - is standard input.")
]


@app.command("import")
def import_(  # noqa: PLR0913 - one option each
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8; - is standard input.")],
    *,
    skip_bad: SkipBad = False,
    dry_run: DryRun = False,
    report: Report = None,
    as_json: AsJson = False,
    yes: Yes = False,
) -> None:
    """Add, remove, pause or unpause the wallets of a file: columns user_id, public_key, and where you like network,
    turnkey_wallet_id, action (add, remove, pause, unpause). All of it or nothing, unless --skip-bad.
    """
    how = How(skip_bad=skip_bad, dry_run=dry_run, report=report)
    _take_file(file, wallet_lines.read, how, as_json=as_json, yes=yes)


@app.command()
def add(
    user_id: Annotated[str, typer.Argument(help="Whose it is: an id of auth.users.")],
    public_key: Annotated[str, typer.Argument(help="Its G address.")],
    *,
    turnkey_wallet_id: Annotated[str, typer.Option(help="Its id at Turnkey.")] = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Follow one more wallet."""
    fields = {"user_id": user_id, "public_key": public_key, "turnkey_wallet_id": turnkey_wallet_id}
    settings = _settings()
    lines = iter([wallet_lines.wish(1, fields, settings.stellar_network)])
    sys.exit(_take(settings, lines, How(dry_run=dry_run), Progress(), as_json=as_json, yes=True))


@app.command()
def remove(
    accounts: Accounts = None,
    *,
    file: Addresses = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    yes: Yes = False,
) -> None:
    """Follow wallets no more: their rows, with balance, snapshots, policy and requests, are deleted."""
    _change(Action.REMOVE, accounts, file, dry_run=dry_run, as_json=as_json, yes=yes)


@app.command()
def pause(
    accounts: Accounts = None, *, file: Addresses = None, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Command no deposits for these wallets; they are recorded on."""
    _change(Action.PAUSE, accounts, file, dry_run=dry_run, as_json=as_json)


@app.command()
def unpause(
    accounts: Accounts = None, *, file: Addresses = None, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """End a pause: the default policy says again whether deposits are paused."""
    _change(Action.UNPAUSE, accounts, file, dry_run=dry_run, as_json=as_json)


@app.command("list")
def list_(
    *, as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line instead of CSV.")] = False
) -> None:
    """Every wallet of STELLAR_NETWORK: address, network, version, balance, paused, held."""
    settings = _settings()
    try:
        if not as_json:
            sys.stdout.write(f"{','.join(LIST_COLUMNS)}\n")
        _run(_list(settings, _write_json if as_json else _write_csv))
        sys.stdout.flush()
    except BrokenPipeError:  # who reads has enough, as `head` has
        _give_up_stdout()
    except OSError as error:
        _give_up_stdout()
        _end(EXIT_REFUSED, f"standard output: {error.strerror}")


def _change(  # noqa: PLR0913 - what such a command is given
    action: Action, accounts: list[str] | None, file: Path | None, *, dry_run: bool, as_json: bool, yes: bool = True
) -> None:
    if bool(accounts) == (file is not None):
        raise typer.BadParameter("name the wallets, or a file of their addresses with --file: one of the two")
    how = How(dry_run=dry_run)
    if file is not None:
        _take_file(file, partial(wallet_lines.read_addresses, action=action), how, as_json=as_json, yes=yes)
    settings = _settings()
    fields = ({"public_key": account, "action": action.value} for account in accounts or ())
    wishes = [wallet_lines.wish(number, each, settings.stellar_network) for number, each in enumerate(fields, 1)]
    sys.exit(_take(settings, iter(wishes), how, Progress(), as_json=as_json, yes=yes))


def _take_file(
    path: Path, read: Callable[[BinaryIO, Network], Lines], how: How, *, as_json: bool, yes: bool
) -> NoReturn:
    settings = _settings()
    try:
        with contextlib.ExitStack() as stack:
            is_stdin = str(path) == "-"
            file: BinaryIO = sys.stdin.buffer if is_stdin else stack.enter_context(path.open("rb"))
            size_bytes = 0 if is_stdin else os.fstat(file.fileno()).st_size
            if how.report is not None:
                _open_beside(how.report, file)
            progress = Progress(size_bytes=size_bytes, at=(lambda: 0) if is_stdin else file.tell)
            lines = read(file, settings.stellar_network)
            sys.exit(_take(settings, lines, how, progress, as_json=as_json, yes=yes))
    except OSError as error:  # of the file, or of where the report is to be: everything else is caught before
        _end(EXIT_USAGE, f"{error.filename or path}: {error.strerror}")
    except Unreadable as unreadable:
        _end(EXIT_USAGE, f"{path}: {unreadable}")


def _open_beside(report: Path, file: BinaryIO) -> None:
    """That it cannot be written is said before anything is read; and it must not be written over the file itself."""
    with report.open("ab") as opened:
        there, here = os.fstat(opened.fileno()), os.fstat(file.fileno())
    if stat.S_ISREG(here.st_mode) and os.path.samestat(there, here):
        _end(EXIT_USAGE, f"--report {report} is the file itself: give it another name")


def _take(  # noqa: PLR0913 - what taking lines in takes
    settings: WalletSettings, lines: Lines, how: How, progress: Progress, *, as_json: bool, yes: bool
) -> int:
    """Take them in and say what became of it; the exit code."""

    def ask(removals: int) -> bool:
        progress.pause()
        at_interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)  # the loop's own only takes note of it
        try:
            return typer.confirm(f"remove {removals:,} wallets? {REMOVES}", err=True)
        except typer.Abort:
            raise KeyboardInterrupt from None
        finally:
            signal.signal(signal.SIGINT, at_interrupt)
            progress.resume()

    if not yes and sys.stdin.isatty():
        how = replace(how, confirm=ask)
    try:
        with progress:
            summary = _run(run(settings.database_url, settings.stellar_network, lines, how, progress))
    except Declined:
        _end(EXIT_REFUSED, "nothing was changed")
    try:
        if as_json:
            typer.echo(orjson.dumps(summary.as_json()).decode())
        else:
            _say(summary, how)
    except OSError as error:
        _give_up_stdout()
        done = "what was asked for is done" if summary.applied else "nothing was changed"
        _end(EXIT_REFUSED, f"standard output: {error.strerror}: {done}")
    return EXIT_REFUSED if summary.refused else 0


def _say(summary: Summary, how: How) -> None:
    for fault in summary.faults:
        typer.echo(str(fault), err=True)
    hidden = summary.faults_in_all - len(summary.faults)
    if hidden:
        where = f"all are in {how.report}" if how.report else "--report FILE names all"
        typer.echo(f"and {hidden:,} more; {where}", err=True)
    if summary.refused and not how.skip_bad:
        verdict = "nothing was changed: mend them, or take the others in with --skip-bad"
        typer.echo(f"{summary.refused:,} of {summary.lines:,} lines cannot be taken in; {verdict}")
        return
    done = {name: getattr(summary, name) for name in ("added", "removed", "paused", "unpaused")}
    said = ", ".join(f"{count:,} {name}" for name, count in done.items() if count) or "nothing to do"
    dry = "a dry run, nothing was changed: it would be " if how.dry_run else ""
    rest = f"{summary.unchanged:,} unchanged, {summary.refused:,} refused"
    typer.echo(f"{dry}{said}; {rest}; {summary.lines:,} read in {summary.seconds:.1f} s")


async def _list(settings: WalletSettings, write: Callable[[Row], None]) -> None:
    async with wallet_admin_store.opened(settings.database_url, settings.stellar_network) as store:
        async for row in store.wallets():
            write(row)


def _write_json(row: Row) -> None:
    sys.stdout.write(f"{orjson.dumps(dict(zip(LIST_COLUMNS, _cells(row), strict=True))).decode()}\n")


def _write_csv(row: Row) -> None:
    """Nothing in it needs quotes."""
    texts = ("" if cell is None else str(cell).lower() if isinstance(cell, bool) else str(cell) for cell in _cells(row))
    sys.stdout.write(f"{','.join(texts)}\n")


def _cells(row: Row) -> tuple[str | int | bool | None, ...]:
    balance = None if row.balance_stroops is None else format_stroops(row.balance_stroops)
    return row.account_id, row.network, row.version, balance, row.paused, row.held


def _settings() -> WalletSettings:
    settings = read_environment(WalletSettings)
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    return settings


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except NotDone as reason:
        _end(EXIT_REFUSED, str(reason))
    except KeyboardInterrupt:
        _end(EXIT_INTERRUPTED, "interrupted: nothing was changed")


def _give_up_stdout() -> None:
    """Python writes what is left in its buffer once more at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end(code: int, reason: str) -> NoReturn:
    typer.echo(reason, err=True)
    sys.exit(code)
