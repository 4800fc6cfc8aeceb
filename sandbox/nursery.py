"""A fork server from outside: bear processes, hear of their ends. The server itself is `sandbox/fork_server.py`."""

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson

from sandbox.children import ROOT, ChildFailed, inherited
from sandbox.parent import die_with_parent

START_TIMEOUT_S: Final = 60.0


class Life:
    """One process, from its birth to its end."""

    def __init__(self) -> None:
        self.pid = 0
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()  # with its exit code

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if not self.ended.done():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self.signal(signal.SIGKILL)
        await asyncio.shield(self.ended)


_L = TypeVar("_L", bound=Life)


class Nursery:
    """Has processes forked by a server, `python -m <module>`, whose own words go to the log."""

    def __init__(self, module: str, log: Path) -> None:
        self._module = module
        self._log = log
        self._server: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)
        self._unborn: dict[int, tuple[Life, asyncio.Future[None]]] = {}
        self._living: dict[int, Life] = {}

    async def start(self) -> None:
        """Bring it up; ChildFailed when it does not come."""
        with self._log.open("ab") as log:
            self._server = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self._module),
                cwd=ROOT,
                env=inherited(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
        assert self._server.stdout is not None
        async with asyncio.timeout(START_TIMEOUT_S):
            if not await self._server.stdout.readline():
                raise ChildFailed(f"{self._module} did not come up: {self._log.read_text()}")
        self._listening = asyncio.create_task(self._listen(self._server.stdout))

    async def stop(self) -> None:
        """End it, and with it every process."""
        if self._server is not None and self._server.returncode is None:
            self._server.kill()
            await self._server.wait()
        if self._listening is not None:
            await self._listening

    async def bear(self, life: _L, wish: Mapping[str, Any]) -> _L:
        """Begin a life as this wish says; ChildFailed when the server has ended."""
        assert self._server is not None
        assert self._server.stdin is not None
        assert self._listening is not None
        if self._listening.done():
            raise ChildFailed(f"{self._module} has ended")
        number = next(self._numbers)
        born = asyncio.get_running_loop().create_future()
        self._unborn[number] = (life, born)
        self._server.stdin.write(orjson.dumps({**wish, "number": number}) + b"\n")
        with suppress(ConnectionError):  # it has ended: `born` will say so
            await self._server.stdin.drain()
        await born
        return life

    async def _listen(self, lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            said = orjson.loads(line)
            if "born" in said:
                life, born = self._unborn.pop(said["born"])
                life.pid = said["pid"]
                self._living[life.pid] = life
                if not born.done():  # whoever wanted it may have gone
                    born.set_result(None)
            else:
                self._living.pop(said["died"]).ended.set_result(said["code"])
        for _, born in self._unborn.values():
            if not born.done():
                born.set_exception(ChildFailed(f"{self._module} has ended"))
