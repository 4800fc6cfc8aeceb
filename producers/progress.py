"""How far a long command is: a bar where a person looks on, a log line every few seconds where none does."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

log = structlog.get_logger(__name__)

LINE_S: Final = 10.0


class Steps:
    """The steps of one command, one at a time. `said` are words beside the bar, and fields of the line."""

    def __init__(self, *, console: Console | None, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._task: TaskID | None = None
        self._what, self._total, self._began = "", 0, 0
        self._began_s = self._line_s = clock_s()
        self._bar: Progress | None = None
        if console is not None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[said]}"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._bar.start()

    def begin(self, what: str, total: int) -> None:
        """A new step, of so many ledgers, wallets or whatever its name says."""
        self._what, self._total, self._began_s, self._line_s = what, total, self._clock_s(), self._clock_s()
        if self._bar is not None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(what, total=total, said="")
        else:
            log.info(what, total=total)

    def say(self, what: str, **said: Any) -> None:
        """Something to know before a step begins."""
        if self._bar is None:
            log.info(what, **said)
        else:
            self._bar.console.print(f"{what}: {', '.join(f'{value} {name}' for name, value in said.items())}")

    def at(self, done: int, **said: Any) -> None:
        """So many are done."""
        if self._bar is not None and self._task is not None:
            words = ", ".join(f"{value} {name}" for name, value in said.items())
            self._bar.update(self._task, completed=done, said=words)
        elif self._clock_s() - self._line_s >= LINE_S:
            self._line_s = self._clock_s()
            log.info(self._what, done=done, total=self._total, seconds_left=self._seconds_left(done), **said)

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def _seconds_left(self, done: int) -> int | None:
        since_s = self._clock_s() - self._began_s
        return round(since_s * (self._total - done) / done) if done else None


@contextlib.contextmanager
def steps() -> Iterator[Steps]:
    """On standard error: a bar when it is a terminal, else lines in the log."""
    found = Steps(console=Console(stderr=True) if is_watched() else None)
    try:
        yield found
    finally:
        found.end()


def is_watched() -> bool:
    """Whether a person looks on."""
    return sys.stderr.isatty()
