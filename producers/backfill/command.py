"""`python -m producers backfill`, from its options to its exit code."""

import asyncio

import orjson
import structlog
import typer

from producers.backfill.run import Backfill, Order
from producers.command import Ending, opened_within
from producers.progress import steps
from producers.reconcile.store import RowStore
from producers.settings import ProducerSettings
from producers.source import Unavailable
from producers.store import Away

log = structlog.get_logger(__name__)


async def backfill(settings: ProducerSettings, order: Order, ending: Ending) -> None:
    """Do it, and say on standard output what was done: one line of JSON, before it a dry run's wallets, one each."""
    async with opened_within(settings, RowStore, name="backfill", patience_s=order.patience_s) as (parts, rows):
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
