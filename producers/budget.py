"""How many requests the source may be asked, and when it asked to be left alone."""

import asyncio
import contextlib
import math
from typing import Final

from aiolimiter import AsyncLimiter

BURST_REQUESTS: Final = 100  # what the public Horizon allows at once
PAUSE_S_MAX: Final = 3600.0


class Budget:
    """A bucket of requests that refills evenly over the hour, and a pause that holds everyone."""

    def __init__(self, requests_per_hour: int, *, burst_requests: int = BURST_REQUESTS) -> None:
        burst = min(burst_requests, requests_per_hour)
        self._bucket = AsyncLimiter(burst, 3600 * burst / requests_per_hour) if requests_per_hour else None
        self._burst = burst
        self._bulk = asyncio.Lock()
        self._paused_until = -math.inf

    async def admit(self, requests: int = 1, *, in_bulk: bool = False) -> None:
        """Return when this many more requests may be made. Of those in bulk one at a time waits for its place: whoever
        comes for himself has one of them before him, not all.
        """
        if self._bucket is not None:
            async with self._bulk if in_bulk else contextlib.nullcontext():
                for _ in range(min(requests, self._burst)):  # the bucket serves small amounts first, larger ones last
                    await self._bucket.acquire()
        loop = asyncio.get_running_loop()
        while (rest_s := self._paused_until - loop.time()) > 0:  # noqa: ASYNC110 - the pause may grow meanwhile
            await asyncio.sleep(rest_s)

    async def afford(self, wanted: int) -> int:
        """How many of so many requests may be made right now; they count as made."""
        if self._bucket is None:
            return wanted
        granted = 0
        while granted < wanted and self._bucket.has_capacity():
            await self._bucket.acquire()  # at once: there is capacity
            granted += 1
        return granted

    def pause(self, seconds: float) -> None:
        """Let nobody through for a while: what a Retry-After asks for."""
        until = asyncio.get_running_loop().time() + min(max(seconds, 0.0), PAUSE_S_MAX)
        self._paused_until = max(self._paused_until, until)
