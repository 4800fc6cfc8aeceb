"""The zygote from outside: start a life, see it end."""

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import orjson

from tests.crash_points.points import ROOT

READY_WITHIN_S: Final = 60.0
INHERITED: Final = ("PATH", "HOME", "LANG", "TMPDIR")


class Life:
    """One process, from its start to its end."""

    def __init__(self, passes: Path) -> None:
        self.pid = 0
        self._passes = passes
        self.born: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def passes(self) -> int:
        """How often the armed point was passed so far."""
        return self._passes.stat().st_size if self._passes.exists() else 0

    def signal(self, number: signal.Signals) -> None:
        if not self.ended.done():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await asyncio.shield(self.ended)


class Nursery:
    """Starts processes by forking the zygote."""

    def __init__(self, zygote: asyncio.subprocess.Process) -> None:
        self._zygote = zygote
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Life] = {}
        self._living: dict[int, Life] = {}

    async def start(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        constants: Mapping[str, float],
        log: Path,
        armed: tuple[str, str, int] | None = None,
    ) -> Life:
        """Start a process; with `armed` (name, side, hit) it will die there."""
        number = next(self._numbers)
        passes = log.with_suffix(f".{number}.passes")
        life = self._waiting[number] = Life(passes)
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        wish = {
            "number": number,
            "arguments": list(arguments),
            "environment": {**inherited, **environment},
            "constants": dict(constants),
            "log": str(log),
            "armed": None
            if armed is None
            else {"name": armed[0], "side": armed[1], "hit": armed[2], "passes": str(passes)},
        }
        assert self._zygote.stdin is not None
        self._zygote.stdin.write(orjson.dumps(wish) + b"\n")
        await life.born
        return life

    async def listen(self) -> None:
        """Hear of births and deaths, until the zygote ends."""
        assert self._zygote.stdout is not None
        async for line in self._zygote.stdout:
            self._hear(orjson.loads(line))

    def _hear(self, said: dict[str, Any]) -> None:
        if "born" in said:
            life = self._waiting.pop(said["born"])
            life.pid = said["pid"]
            self._living[life.pid] = life
            life.born.set_result(life.pid)
        elif "died" in said:
            life = self._living.pop(said["died"])
            life.ended.set_result(said["status"])


@asynccontextmanager
async def opened() -> AsyncIterator[Nursery]:
    """A zygote of our own; every process in it ends with the block."""
    zygote = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.crash_points.zygote"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert zygote.stdout is not None
    assert zygote.stdin is not None
    try:
        line = await asyncio.wait_for(zygote.stdout.readline(), READY_WITHIN_S)
        assert line, "the zygote ended; its words are on standard error"
        nursery = Nursery(zygote)
        listening = asyncio.create_task(nursery.listen())
        try:
            yield nursery
        finally:
            listening.cancel()
    finally:
        zygote.stdin.close()
        zygote.kill()
        await zygote.wait()
