"""Our programs under torture: started by the nursery, killed, frozen, started again whenever they are wanted."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from sandbox.children import ROOT, ChildFailed, inherited
from sandbox.parent import die_with_parent

KEEP_S: Final = 0.05  # how often the keeper looks
REST_AFTER_OWN_END_S: Final = 0.5  # as a service manager waits
START_TIMEOUT_S: Final = 60.0
END_TIMEOUT_S: Final = 30.0
_LOG_BYTES_SHOWN: Final = 6_000


class Nursery:
    """The fork server (sandbox/torture/nursery.py) as this program sees it."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._server: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._asked = 0
        self._answers: dict[int, asyncio.Future[int]] = {}
        self._endings: dict[int, asyncio.Future[int]] = {}
        self._early: dict[int, int] = {}

    async def start(self) -> None:
        """Bring it up; ChildFailed when it does not come."""
        with self._log.open("ab") as log:
            self._server = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "sandbox.torture.nursery"),
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
                raise ChildFailed(f"the nursery did not come up: {self._log.read_text()}")
        self._reader = asyncio.create_task(self._listen(self._server.stdout))

    async def stop(self) -> None:
        """End it, and with it every child."""
        if self._server is not None and self._server.returncode is None:
            self._server.kill()
            await self._server.wait()
        if self._reader is not None:
            await self._reader

    async def bear(self, request: Mapping[str, Any]) -> tuple[int, asyncio.Future[int]]:
        """Start a program: its process id, and its exit code once it has ended."""
        assert self._server is not None
        assert self._server.stdin is not None
        self._asked += 1
        answer = self._answers[self._asked] = asyncio.get_running_loop().create_future()
        self._server.stdin.write(orjson.dumps({**request, "id": self._asked}) + b"\n")
        await self._server.stdin.drain()
        pid = await answer
        ending = self._endings[pid] = asyncio.get_running_loop().create_future()
        if pid in self._early:
            self._endings.pop(pid).set_result(self._early.pop(pid))
        return pid, ending

    async def _listen(self, lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            said = orjson.loads(line)
            if "ended" not in said:
                self._answers.pop(said["id"]).set_result(said["pid"])
            elif said["ended"] in self._endings:
                self._endings.pop(said["ended"]).set_result(said["code"])
            else:
                self._early[said["ended"]] = said["code"]


class Program:
    """One of our programs. The keeper starts it whenever it is `wanted`, is not running and is not down on purpose."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a program is started with
        self,
        name: str,
        nursery: Nursery,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
    ) -> None:
        self.name = name
        self.wanted = False
        self.down_until_s = 0.0
        self.arguments = list(arguments)
        self.environment = dict(environment)  # a change takes effect at the next start
        self.shift_s = 0  # so does this: how far its clock is off
        self.starts = 0
        self.kills = 0
        self.log = folder / f"{name}.log"
        self.is_frozen = False
        self._nursery = nursery
        self._module = module
        self.pid = 0
        self._ending: asyncio.Future[int] | None = None
        self._is_ended_by_us = False
        self._changing = asyncio.Lock()

    @property
    def is_running(self) -> bool:
        return self._ending is not None and not self._ending.done()

    async def keep(self, on_own_end: "OnOwnEnd") -> None:
        """Start it as often as needed, for ever; `on_own_end` hears when it ended by itself, with its exit code."""
        while True:
            async with self._changing:
                ending, self._ending = (self._ending, None) if not self.is_running else (None, self._ending)
                if ending is not None and not self._is_ended_by_us:
                    on_own_end(self, ending.result())
                    self.down_until_s = time.monotonic() + REST_AFTER_OWN_END_S
                if self.wanted and not self.is_running and time.monotonic() >= self.down_until_s:
                    await self._start()
            await asyncio.sleep(KEEP_S)

    async def kill(self, *, down_s: float = 0.0) -> bool:
        """SIGKILL, and nothing for so long; whether there was anything to kill."""
        async with self._changing:
            if not self.is_running:
                return False
            self.down_until_s = time.monotonic() + down_s
            self.kills += 1
            await self._end(signal.SIGKILL)
            return True

    async def put_down(self) -> None:
        """Kill it and keep it down until it is `wanted` again."""
        self.wanted = False
        await self.kill()

    async def stop(self) -> None:
        """End it in order (SIGTERM), and keep it down."""
        self.wanted = False
        async with self._changing:
            if self.is_running:
                self.resume()
                await self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """SIGSTOP."""
        self.is_frozen = self.is_running
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.is_frozen = False
        self._signal(signal.SIGCONT)

    def last_words(self) -> str:
        """The end of its log."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _LOG_BYTES_SHOWN))
            return log.read().decode(errors="replace")

    async def _start(self) -> None:
        self.starts += 1
        self._is_ended_by_us = self.is_frozen = False
        self.pid, self._ending = await self._nursery.bear(
            {
                "module": self._module,
                "arguments": self.arguments,
                "environment": {**inherited(), **self.environment},
                "log": str(self.log),
                "shift_s": self.shift_s,
            }
        )

    async def _end(self, how: signal.Signals) -> None:
        assert self._ending is not None
        self._is_ended_by_us = True
        self._signal(how)
        done, _ = await asyncio.wait([self._ending], timeout=END_TIMEOUT_S)
        if not done:
            self._signal(signal.SIGKILL)
            await self._ending

    def _signal(self, number: signal.Signals) -> None:
        if self.is_running:
            os.kill(self.pid, number)


class OnOwnEnd:
    """Keeps what programs said that ended by themselves."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __call__(self, program: Program, code: int) -> None:
        self.found.append(f"{program.name} ended by itself with exit code {code}: …{program.last_words()[-1500:]}")
