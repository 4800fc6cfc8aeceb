"""Wallets in bulk: lines are loaded, checked all together, then done in one transaction.

The same lines again change nothing. A running stream hears of all of it.
"""

import contextlib
import csv
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

from producers.bulk import store as wallet_admin_store
from producers.bulk.lines import Action, Fault, Wish
from producers.bulk.progress import Progress
from producers.bulk.store import AdminStore, NotDone
from schema.stellar import Network

LINES_AT_ONCE: Final = 10_000
FAULTS_SHOWN_MAX: Final = 20
REPORT_COLUMNS: Final = ("line", "column", "value", "expected")


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How lines are taken in."""

    skip_bad: bool = False
    dry_run: bool = False
    report: Path | None = None
    confirm: Callable[[int], bool] = field(default=lambda _removals: True)  # may so many wallets be removed?


@dataclass(slots=True, kw_only=True)
class Summary:
    """What became of it. In a dry run the counts are what would be done."""

    lines: int = 0
    added: int = 0
    removed: int = 0
    paused: int = 0
    unpaused: int = 0
    unchanged: int = 0
    refused: int = 0
    applied: bool = False
    dry_run: bool = False
    seconds: float = 0.0
    faults: list[Fault] = field(default_factory=list)  # the first ones
    faults_in_all: int = 0

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


class Declined(Exception):
    """A person was asked and said no."""


async def run(url: str, network: Network, lines: Iterable[Wish | list[Fault]], how: How, progress: Progress) -> Summary:
    """Take these lines in. NotDone when the database will not, Declined when the person will not: all is as it was."""
    began = time.monotonic()
    summary = Summary(dry_run=how.dry_run)
    async with wallet_admin_store.opened(url, network) as store:
        removals = await _load(store, lines, summary, progress)
        if removals and not how.dry_run and not how.confirm(removals):
            raise Declined
        progress.checks(wallet_admin_store.STEPS)
        async with store.transaction(keep=lambda: summary.applied):
            await _take_in(store, how, summary, progress)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


async def _load(store: AdminStore, lines: Iterable[Wish | list[Fault]], summary: Summary, progress: Progress) -> int:
    """Load every line; how many are to be removed."""
    removals = 0
    for portion in _portions(lines):
        wishes = [each for each in portion if isinstance(each, Wish)]
        faults = [fault for each in portion if not isinstance(each, Wish) for fault in each]
        await store.load(wishes, faults)
        removals += sum(each.action is Action.REMOVE for each in wishes)
        summary.lines += len(portion)
        progress.lines(summary.lines)
    return removals


async def _take_in(store: AdminStore, how: How, summary: Summary, progress: Progress) -> None:
    plan = await store.check(progress.step)
    summary.refused = await store.faulty_lines()
    try:
        await _report(store, how, summary)
    except OSError as error:
        raise NotDone(f"{how.report}: {error.strerror}: nothing was changed") from error
    if summary.refused and not how.skip_bad:
        return
    summary.added, summary.removed = plan.added, plan.removed
    summary.paused, summary.unpaused = plan.paused, plan.unpaused
    summary.unchanged = plan.lines - plan.changes
    if not how.dry_run:
        await store.apply(progress.step)
        summary.applied = True


async def _report(store: AdminStore, how: How, summary: Summary) -> None:
    """The first faults for the eye, all of them for the file."""
    with contextlib.ExitStack() as stack:
        write: Callable[[Iterable[Any]], Any] = _nowhere
        if how.report is not None:
            file: TextIO = stack.enter_context(how.report.open("w", encoding="utf-8", newline=""))
            writer = csv.writer(file)
            writer.writerow(REPORT_COLUMNS)
            write = writer.writerow
        async for fault in store.faults():
            summary.faults_in_all += 1
            if len(summary.faults) < FAULTS_SHOWN_MAX:
                summary.faults.append(fault)
            write((fault.line, fault.column, fault.value, fault.expected))


def _nowhere(_row: Iterable[Any]) -> Any:
    return None


def _portions(lines: Iterable[Wish | list[Fault]]) -> Iterator[list[Wish | list[Fault]]]:
    following = iter(lines)
    while portion := list(itertools.islice(following, LINES_AT_ONCE)):
        yield portion
