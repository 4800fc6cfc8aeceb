"""Our own programs as child processes: started, watched, killed, started again; their words in one file each."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from sandbox.parent import die_with_parent

ROOT: Final = Path(__file__).parent.parent
FIRST_LINE_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 20.0
_LOG_LINES_SHOWN: Final = 12


class ChildFailed(Exception):
    """A program did not come up, or ended when it should not have; says which, with the end of its log."""


class Child:
    """One program: `python -m <module> <arguments>` with this environment. It may be killed and started again."""

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.starts = 0
        self._arguments = [sys.executable, "-m", *arguments]
        self._environment = {**inherited(), **environment}
        self._running: asyncio.subprocess.Process | None = None

    @property
    def is_running(self) -> bool:
        return self._running is not None and self._running.returncode is None

    async def start(self) -> None:
        """Start it, its standard error going to the log."""
        with self.log.open("ab") as log:
            self._running = await asyncio.create_subprocess_exec(
                *self._arguments,
                env=self._environment,
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if self.starts == 0 else log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is ours: the children end in order
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
        self.starts += 1

    async def first_line(self) -> dict[str, Any]:
        """The JSON line with which it says that it is up."""
        assert self._running is not None
        assert self._running.stdout is not None
        try:
            line = await asyncio.wait_for(self._running.stdout.readline(), FIRST_LINE_TIMEOUT_S)
        except TimeoutError:
            line = b""
        if not line:
            raise ChildFailed(f"{self.name} did not come up:\n{self.last_words()}")
        said: dict[str, Any] = orjson.loads(line)
        return said

    async def kill(self) -> None:
        """SIGKILL: as a machine dies."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL when that is not heard in time."""
        await self._end(signal.SIGTERM)

    def last_words(self) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-_LOG_LINES_SHOWN:])

    async def _end(self, how: signal.Signals) -> None:
        if self._running is None or self._running.returncode is not None:
            return
        self._running.send_signal(how)
        try:
            await asyncio.wait_for(self._running.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            self._running.kill()
            await self._running.wait()


def inherited() -> dict[str, str]:
    """What a Python needs of our environment, and nothing that would steer ours."""
    wanted = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "TMPDIR")
    return {name: os.environ[name] for name in wanted if name in os.environ}
