"""`python -m producers stream` follows the network's payments; `read` tells chosen wallets' balances now."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import orjson
import structlog
import typer

from producers.budget import Budget
from producers.horizon import Horizon, open_session
from producers.metrics import Metrics
from producers.parts import Pace, Parts
from producers.publisher import Publisher
from producers.read_now import read as read_wallets
from producers.settings import ProducerSettings, StreamSettings
from producers.source import Fatal, Unavailable
from producers.start import Wish
from producers.store import Away, Store
from producers.stream import Stream
from schema.service import health, logs
from schema.service.readiness import Readiness
from schema.service.settings import EXIT_BAD_ENVIRONMENT, read_environment
from schema.stellar import AccountId, Ledger, Malformed, parse_account_id

EXIT_FATAL: Final = EXIT_BAD_ENVIRONMENT  # the operator must change something: starting again as it is would not help
EXIT_FAILED: Final = 1
CANCEL_AGAIN_S: Final = 3.0

log = structlog.get_logger(__name__)
app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


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
    """Read wallets now, publish what they hold as type `manual`, and print it: one line of JSON each."""
    try:
        account_ids = [parse_account_id(account) for account in accounts]
    except Malformed as malformed:
        raise typer.BadParameter(str(malformed)) from malformed
    settings = read_environment(ProducerSettings)
    sys.exit(_run(settings, _read(settings, account_ids)))


async def _stream(settings: StreamSettings, wish: Wish) -> None:
    readiness, metrics = Readiness(), Metrics()
    readiness.down("database", "waited for")
    page = await health.start(
        host=settings.http_host, port=settings.http_port, registry=metrics.registry, unready=readiness.reasons
    )
    try:
        async with _parts(settings, readiness, metrics, name=settings.stream_name) as parts:
            pace = Pace(
                idle_drain_s=settings.stream_idle_drain_s,
                wallets_refresh_s=settings.wallets_refresh_s,
                reads_at_once=settings.reads_at_once,
            )
            await Stream(settings.stream_name, parts, pace).run(wish)
    finally:
        await page.cleanup()


async def _read(settings: ProducerSettings, account_ids: list[AccountId]) -> None:
    async with _parts(settings, Readiness(), Metrics(), name="read") as parts:
        for found in await read_wallets(account_ids, parts):
            typer.echo(orjson.dumps(found).decode())


@contextlib.asynccontextmanager
async def _parts(
    settings: ProducerSettings, readiness: Readiness, metrics: Metrics, *, name: str
) -> AsyncIterator[Parts]:
    """Everything a producer works with, closed again in the end."""
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session())
        store = await Store.open(settings.database_url)
        stack.push_async_callback(store.close)
        publisher = Publisher(
            settings,
            client_id=f"producers-{name}",
            source=f"/{settings.stellar_network}/producers/{name}",
            topic=settings.balance_events_topic,
            readiness=readiness,
        )
        stack.push_async_callback(publisher.close)
        yield Parts(
            network=settings.stellar_network,
            asset=settings.asset,
            source=Horizon(
                session,
                settings.horizon_url,
                budget=Budget(settings.horizon_requests_per_hour),
                readiness=readiness,
            ),
            store=store,
            publisher=publisher,
            readiness=readiness,
            metrics=metrics,
            clock=lambda: datetime.now(UTC),
        )


def _run(settings: ProducerSettings, work: Coroutine[Any, Any, None]) -> int:
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    try:
        asyncio.run(_until_signal(work))
    except Fatal as fatal:
        log.error("stopped: a person must decide", reason=str(fatal))  # noqa: TRY400 - no trace: it is no bug
        return EXIT_FATAL
    except (Unavailable, Away) as error:
        log.error("not done", reason=str(error))  # noqa: TRY400 - nor is this
        return EXIT_FAILED
    except Exception:
        log.exception("a bug")
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
