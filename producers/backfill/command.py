"""`python -m producers backfill`, from its options to its exit code."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import orjson
import structlog
import typer

from producers.backfill.progress import steps
from producers.backfill.run import Backfill, Order
from producers.opening import opened
from producers.parts import Parts
from producers.reconcile.store import RowStore
from producers.settings import ProducerSettings
from producers.source import Unavailable
from producers.store import Away

log = structlog.get_logger(__name__)

OPEN_S_MIN: Final = 10.0  # a connection takes a moment, however little patience there is


@dataclass(slots=True)
class Ending:
    """With which exit code the command ends; not done unless it says so, also when it is interrupted."""

    code: int = 1


async def backfill(settings: ProducerSettings, order: Order, ending: Ending) -> None:
    """Do it, and say on standard output what was done: one line of JSON, before it a dry run's wallets, one each."""
    async with opened_within(settings, name="backfill", patience_s=order.patience_s) as (parts, rows):
        with steps() as progress:
            work = Backfill(parts, rows, progress, order)
            try:
                await work.run()
                ending.code = 0
            except asyncio.CancelledError:
                log.warning("interrupted")
            except (Unavailable, Away) as error:
                log.error("not done", reason=str(error))  # noqa: TRY400 - it is no bug
        if order.is_dry:
            _list(work)
        said = work.summary()
        typer.echo(orjson.dumps(said).decode())
        if said["go_on"]:
            typer.echo(f"Not done. Go on with:\n  {said['go_on']}", err=True)


def _list(work: Backfill) -> None:
    for number in work.marks.open():
        first, last = work.marks.first[number], work.marks.last[number]
        found = {"account_id": work.marks.accounts[number], "first_ledger": first, "last_ledger": last}
        typer.echo(orjson.dumps(found).decode())


@asynccontextmanager
async def opened_within(
    settings: ProducerSettings, *, name: str, patience_s: float
) -> AsyncIterator[tuple[Parts, RowStore]]:
    """The parts of a command that does not wait for ever; Away when the database is not there in time."""
    async with AsyncExitStack() as stack:
        within_s = max(patience_s, OPEN_S_MIN)
        try:
            async with asyncio.timeout(within_s):
                parts = await stack.enter_async_context(opened(settings, name=name))
                rows = await stack.enter_async_context(RowStore.opened(settings.database_url))
        except TimeoutError:
            reason = f"the database did not answer for {within_s:.0f} s: see that PostgreSQL does at DATABASE_URL"
            raise Away(reason) from None
        yield parts, rows
