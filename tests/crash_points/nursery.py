"""Lives that end at a point: borne by the zygote, counted while they pass it."""

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sandbox import nursery
from sandbox.children import inherited

ZYGOTE: Final = "tests.crash_points.zygote"


class Life(nursery.Life):
    """One process, from its birth to its end, which may be at the point it is armed with."""

    def __init__(self, passes: Path) -> None:
        super().__init__()
        self.born_at = datetime.now(UTC)  # or a moment before: nothing of it is older
        self._passes = passes

    @property
    def passes(self) -> int:
        """How often the armed point was passed so far."""
        return self._passes.stat().st_size if self._passes.exists() else 0


class Nursery:
    """Starts processes by forking the zygote."""

    def __init__(self, zygote: nursery.Nursery) -> None:
        self._zygote = zygote
        self._numbers = itertools.count(1)

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
        passes = log.with_suffix(f".{next(self._numbers)}.passes")
        wish = {
            "arguments": list(arguments),
            "environment": {**inherited(), **environment},
            "constants": dict(constants),
            "log": str(log),
            "armed": None
            if armed is None
            else {"name": armed[0], "side": armed[1], "hit": armed[2], "passes": str(passes)},
        }
        return await self._zygote.bear(Life(passes), wish)


@asynccontextmanager
async def opened(log: Path) -> AsyncIterator[Nursery]:
    """A zygote of our own, its words in the log; every process of it ends with the block."""
    zygote = nursery.Nursery(ZYGOTE, log)
    try:
        await zygote.start()
        yield Nursery(zygote)
    finally:
        await zygote.stop()
