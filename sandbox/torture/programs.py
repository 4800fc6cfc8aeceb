"""Our programs under torture: borne by the zygote, killed, frozen, started again whenever they are wanted."""

import asyncio
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from sandbox.children import inherited
from sandbox.nursery import Life, Nursery

ZYGOTE: Final = "sandbox.torture.zygote"
KEEP_S: Final = 0.05  # how often the keeper looks
REST_AFTER_OWN_END_S: Final = 0.5  # as a service manager waits
END_TIMEOUT_S: Final = 30.0
_LOG_BYTES_SHOWN: Final = 6_000


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
        self._life: Life | None = None
        self._is_ended_by_us = False
        self._changing = asyncio.Lock()

    @property
    def is_running(self) -> bool:
        return self._life is not None and not self._life.ended.done()

    @property
    def pid(self) -> int:
        """Of its latest life; 0 before the first."""
        return self._life.pid if self._life is not None else 0

    async def keep(self, on_own_end: "OnOwnEnd") -> None:
        """Start it as often as needed, for ever; `on_own_end` hears when it ended by itself, with its exit code."""
        while True:
            async with self._changing:
                life, self._life = (self._life, None) if not self.is_running else (None, self._life)
                if life is not None and not self._is_ended_by_us:
                    on_own_end(self, life.ended.result())
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
        self._life = await self._nursery.bear(
            Life(),
            {
                "module": self._module,
                "arguments": self.arguments,
                "environment": {**inherited(), **self.environment},
                "log": str(self.log),
                "shift_s": self.shift_s,
            },
        )

    async def _end(self, how: signal.Signals) -> None:
        assert self._life is not None
        self._is_ended_by_us = True
        self._life.signal(how)
        done, _ = await asyncio.wait([self._life.ended], timeout=END_TIMEOUT_S)
        if not done:
            await self._life.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self._life is not None:
            self._life.signal(number)


class OnOwnEnd:
    """Keeps what programs said that ended by themselves."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __call__(self, program: Program, code: int) -> None:
        self.found.append(f"{program.name} ended by itself with exit code {code}: …{program.last_words()[-1500:]}")
