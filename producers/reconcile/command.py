"""`python -m producers reconcile`, from its options to its exit code."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
import structlog
import typer

from producers.command import Ending, opened_within
from producers.parts import Parts
from producers.progress import Steps, steps
from producers.reconcile.book import Book
from producers.reconcile.proof import Comparison, Pace
from producers.reconcile.report import Repaired, Report
from producers.reconcile.states import Read
from producers.reconcile.store import RowStore
from producers.reconcile.telling import TOLD_AT_ONCE, Telling
from producers.settings import ProducerSettings

log = structlog.get_logger(__name__)

EXIT_DIFFERENT: Final = 1
EXIT_BEYOND_REPAIR: Final = 2
TOLD_MAX: Final = 3
TOLD_AGAIN_S: Final = 2.0  # whose payments could not be read: a replica may be behind


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the operator said."""

    repair: bool = False
    as_json: bool = False
    report: Path | None = None
    wait_s: float = 30.0
    patience_s: float = 300.0


async def reconcile(settings: ProducerSettings, options: Options, ending: Ending) -> None:
    """Compare, repair where that is asked for, and say what was found on standard output."""
    async with opened_within(settings, RowStore, name="reconcile", patience_s=options.patience_s) as (parts, rows):
        try:
            with steps() as progress:
                pace = Pace(
                    wait_s=options.wait_s,
                    patience_s=options.patience_s,
                    requests_per_hour=settings.requests_per_hour,
                )
                comparison = Comparison(parts, rows, progress, pace)
                await comparison.prove()
                repaired = await repair(comparison, parts, progress, pace) if options.repair else None
        except asyncio.CancelledError:
            log.warning("interrupted: nothing is proved; run it again")
            return
        report = Report(comparison, repaired)
        for line in [orjson.dumps(report.summary()).decode()] if options.as_json else report.lines():
            typer.echo(line)
        if report.is_equal:
            ending.code = 0
        elif options.repair and report.is_beyond_repair:
            ending.code = EXIT_BEYOND_REPAIR
        else:
            ending.code = EXIT_DIFFERENT
        if options.report is not None:
            try:
                await asyncio.to_thread(report.write, options.report)
            except OSError as error:
                reason = f"{options.report}: {error.strerror}"
                log.error("the report is not written", reason=reason)  # noqa: TRY400 - it is no bug
                ending.code = ending.code or EXIT_DIFFERENT


async def repair(comparison: Comparison, parts: Parts, progress: Steps, pace: Pace) -> Repaired:
    """Tell the facts that are missing, and compare again once they had the time to be recorded."""
    wanted = comparison.repairable()
    progress.begin("publishing facts", len(wanted))
    telling, book = Telling(parts, patience_s=pace.patience_s), comparison.book
    later: list[int] = []
    for start in range(0, len(wanted), TOLD_AT_ONCE):
        portion = wanted[start : start + TOLD_AT_ONCE]
        later += await _tell(telling, book, portion)
        progress.at(start + len(portion))
    for _ in range(TOLD_MAX - 1):
        if later:
            await asyncio.sleep(TOLD_AGAIN_S)
            later = await _tell(telling, book, later)
    if wanted:
        await comparison.settle()
    not_told = set(later).intersection(comparison.differing)  # the others were told by somebody else meanwhile
    return Repaired(published=telling.published, not_told=len(not_told))


async def _tell(telling: Telling, book: Book, numbers: Sequence[int]) -> list[int]:
    """Those of which nothing can be told yet."""
    reads = [Read(account_id=book.accounts[number], state=book.state(number)) for number in numbers]
    later = set(await telling.tell(reads))
    return [number for number in numbers if book.accounts[number] in later]
