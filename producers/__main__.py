"""`python -m producers stream` follows the network's payments; `read` tells chosen wallets' balances now;
`backfill` reads history again, `reconcile` says whether the database is right.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import structlog
import typer

from producers.backfill.command import backfill as run_backfill
from producers.backfill.run import Order
from producers.bulk import admin as wallet_admin
from producers.command import Ending, opened_within
from producers.opening import opened, served
from producers.parts import Pace
from producers.poll.poller import Poll, PollPace
from producers.poll.store import PollStore
from producers.progress import is_watched, steps
from producers.read_now import read as read_wallets
from producers.reconcile.command import Options
from producers.reconcile.command import reconcile as run_reconcile
from producers.settings import PollSettings, ProducerSettings, StreamSettings, WebhookSettings
from producers.source import Fatal, Unavailable
from producers.start import Wish
from producers.store import Away
from producers.stream import Stream
from producers.webhook.service import serve as serve_webhooks
from schema.service import logs
from schema.service.settings import EXIT_BAD_ENVIRONMENT, Unusable, read_environment
from schema.stellar import AccountId, Ledger, Malformed, parse_account_id

EXIT_FATAL: Final = EXIT_BAD_ENVIRONMENT  # the operator must change something: starting again as it is would not help
EXIT_FAILED: Final = 1
CANCEL_AGAIN_S: Final = 3.0

log = structlog.get_logger(__name__)
app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
app.add_typer(wallet_admin.app, name="wallets")


@app.callback()
def producers() -> None:
    """Who says it: producers watch Horizon and publish balance events."""


@app.command()
def stream(
    *,
    accept_gap: Annotated[
        bool, typer.Option(help="Where the cursor cannot be resumed: begin at the tip and read every wallet.")
    ] = False,
    from_ledger: Annotated[
        int | None, typer.Option(min=1, help="Read the payments again from this ledger on, whatever the cursor says.")
    ] = None,
) -> None:
    """Follow the network's payments until SIGTERM."""
    settings = read_environment(StreamSettings)
    wish = Wish(accept_gap=accept_gap, from_ledger=None if from_ledger is None else Ledger(from_ledger))
    sys.exit(_run(settings, _stream(settings, wish)))


@app.command()
def read(accounts: Annotated[list[str], typer.Argument(help="Wallets, as G addresses.")]) -> None:
    """Read wallets now, publish what they hold as type `manual`, and print it: one line of JSON each. Exit code 1 when
    one of them was not published; standard error says which and why.
    """
    try:
        account_ids = [parse_account_id(account) for account in accounts]
    except Malformed as malformed:
        raise typer.BadParameter(str(malformed)) from malformed
    settings = read_environment(ProducerSettings)
    ending = Ending()
    sys.exit(_run(settings, _read(settings, account_ids, ending)) or ending.code)


@app.command()
def backfill(
    *,
    from_: Annotated[int, typer.Option("--from", min=1, metavar="LEDGER", help="The first ledger to read.")],
    to: Annotated[
        int | None, typer.Option(min=1, metavar="LEDGER", help="The last one. Default: the newest at the start.")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Only list the wallets that those ledgers touched.")] = False,
    patience: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long source, database or brokers may be away.")
    ] = 300.0,
) -> None:
    """Read a stretch of the history again: each tracked wallet that it touched is read once and told. No cursor moves,
    a running stream is not disturbed. Killed or interrupted: run it again, or as it says.
    """
    settings = _without_facts_in_sight(read_environment(ProducerSettings))
    order = Order(since=Ledger(from_), until=Ledger(to) if to else None, is_dry=dry_run, patience_s=patience)
    ending = Ending()
    sys.exit(_run(settings, run_backfill(settings, order, ending)) or ending.code)


@app.command()
def reconcile(
    *,
    repair: Annotated[bool, typer.Option(help="Publish the facts that are missing, and compare again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON instead of words.")] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", dir_okay=False, writable=True, help="List all differences there.")
    ] = None,
    wait: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="How long a row may be late.")] = 30.0,
    patience: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long source or database may be away.")
    ] = 300.0,
) -> None:
    """Compare every wallet with the chain: prove that the database equals it at a ledger, or list what differs.

    Exit code 0: equal. 1: it differs, or could not be compared. 2: a person must decide.
    """
    settings = _without_facts_in_sight(read_environment(ProducerSettings))
    if report is not None:
        _open_once(report)
    options = Options(repair=repair, as_json=as_json, report=report, wait_s=wait, patience_s=patience)
    ending = Ending()
    sys.exit(_run(settings, run_reconcile(settings, options, ending)) or ending.code)


@app.command()
def poll(
    *,
    once: Annotated[bool, typer.Option(help="One round, then one line of JSON about it.")] = False,
    patience: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="With --once: how long what it needs may be away.")
    ] = 300.0,
) -> None:
    """Read every wallet on a schedule until SIGTERM, and tell what is newer than what is stored as type `poll`.

    Exit code with --once: 0 when every wallet was read, 1 when some were left, 2 when a person must decide.
    """
    settings = read_environment(PollSettings)
    if not once:
        sys.exit(_run(settings, _poll(settings)))
    ending = Ending()
    quiet = _without_facts_in_sight(settings)
    sys.exit(_run(quiet, _poll_once(settings, patience, ending)) or ending.code)


@app.command()
def webhooks() -> None:
    """Take in webhooks until SIGTERM: whose wallet a proven sender names is read, and told as type `webhook`."""
    settings = read_environment(WebhookSettings)
    sys.exit(_run(settings, _webhooks(settings)))


def _open_once(report: Path) -> None:
    """What it is for may take an hour: that nothing can be written there is said before."""
    try:
        report.open("a").close()
    except OSError as error:
        raise typer.BadParameter(f"--report {report}: {error.strerror}") from error


async def _stream(settings: StreamSettings, wish: Wish) -> None:
    pace = Pace(
        idle_drain_s=settings.stream_idle_drain_s,
        wallets_refresh_s=settings.wallets_refresh_s,
        reads_at_once=settings.states_at_once,
        changes=settings.stream_changes,
        requests_per_hour=settings.requests_per_hour,
    )
    async with served(settings, name=settings.stream_name) as parts:
        await Stream(settings.stream_name, parts, pace).run(wish)


async def _read(settings: ProducerSettings, account_ids: list[AccountId], ending: Ending) -> None:
    async with opened(settings, name="read") as parts:
        found = await read_wallets(account_ids, parts)
    for each in found:
        typer.echo(orjson.dumps(each).decode())
    missing = [each for each in found if not each["published"]]
    for each in missing:
        typer.echo(f"not published: {each['account_id']}: {each['not_published']}", err=True)
    ending.code = EXIT_FAILED if missing else 0


async def _poll(settings: PollSettings) -> None:
    async with served(settings, name="poll") as parts, PollStore.opened(settings.database_url) as store:
        with steps() as progress:
            await Poll(parts, store, _poll_pace(settings), progress).run()


async def _poll_once(settings: PollSettings, patience_s: float, ending: Ending) -> None:
    async with opened_within(settings, PollStore, name="poll", patience_s=patience_s) as (parts, store):
        with steps() as progress:
            done = await Poll(parts, store, _poll_pace(settings), progress).once(patience_s=patience_s)
    typer.echo(orjson.dumps(done).decode())
    ending.code = 0 if done["whole"] else EXIT_FAILED


def _poll_pace(settings: PollSettings) -> PollPace:
    return PollPace(
        interval_s=settings.poll_interval_s,
        reads_at_once=settings.states_at_once,
        requests_per_hour=settings.requests_per_hour,
    )


async def _webhooks(settings: WebhookSettings) -> None:
    async with served(settings, name="webhooks") as parts:
        await serve_webhooks(settings, parts)


def _without_facts_in_sight(settings: ProducerSettings) -> ProducerSettings:
    """A person who watches a bar has no use for a line per fact, unless LOG_LEVEL says so."""
    is_said = "log_level" in settings.model_fields_set
    return settings if is_said or not is_watched() else settings.model_copy(update={"log_level": "warning"})


def _run(settings: ProducerSettings, work: Coroutine[Any, Any, None]) -> int:
    """Run it; the exit code: 0, or 1 when it could not be done, 2 when a person must decide."""
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    try:
        asyncio.run(_until_signal(work))
    except (Fatal, Unusable) as fatal:
        log.error("stopped: a person must decide", reason=str(fatal))  # noqa: TRY400 - no trace: it is no bug
        return EXIT_FATAL
    except (Unavailable, Away) as error:
        log.error("not done", reason=str(error))  # noqa: TRY400 - nor is this
        return EXIT_FAILED
    except Exception:
        log.exception("a bug: this process stops, restart it and report this")
        return EXIT_FAILED
    return 0


async def _until_signal(work: Coroutine[Any, Any, None]) -> None:
    """Run until it is done, or until SIGTERM or SIGINT: then it is cancelled, which ends it cleanly anywhere."""
    task = asyncio.ensure_future(work)
    signalled = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled.set)
    waiting = asyncio.ensure_future(signalled.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    while not task.done():  # again and again: a library may swallow a cancellation
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_AGAIN_S)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    log.info("stopped")


if __name__ == "__main__":
    app()
