"""What a person sees while wallets are taken in: a bar on a terminal, lines of the log elsewhere. On standard error."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import structlog
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

LOG_EVERY_S: Final = 5.0
log = structlog.get_logger(__name__)


class Progress:
    """`at` says where in the file reading is, `size_bytes` how long it is; 0: nobody knows."""

    def __init__(self, *, size_bytes: int = 0, at: Callable[[], int] = lambda: 0) -> None:
        self._size_bytes = size_bytes
        self._at = at
        self._bars: Bars | None = None
        self._said_s = time.monotonic()
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
            self._bars = Bars(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bars.add_task("reading", total=size_bytes or None)

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def lines(self, count: int) -> None:
        """So many lines are read."""
        if self._bars is not None:
            self._bars.update(self._task, completed=self._at(), description=f"{count:,} lines read")
        elif time.monotonic() - self._said_s >= LOG_EVERY_S:
            self._said_s = time.monotonic()
            log.info("reading", lines=count, bytes=self._at(), of_bytes=self._size_bytes)

    def checks(self, steps: int) -> None:
        """All is read; so many steps of checking and writing follow."""
        if self._bars is not None:
            self._bars.remove_task(self._task)
            self._task = self._bars.add_task("checking and writing", total=steps)

    def step(self) -> None:
        """One of them is done."""
        if self._bars is not None:
            self._bars.advance(self._task)
        elif time.monotonic() - self._said_s >= LOG_EVERY_S:
            self._said_s = time.monotonic()
            log.info("checking and writing")

    def pause(self) -> None:
        """Somebody is asked a question: the bar steps aside."""
        if self._bars is not None:
            self._bars.stop()

    def resume(self) -> None:
        """It was answered."""
        if self._bars is not None:
            self._bars.start()
