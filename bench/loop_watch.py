"""How an event loop does while something is measured in it."""

import asyncio
import time
from typing import Final

TICK_S: Final = 0.005


class Loop:
    """How this process's loop does: the longest time it stood still, how much of it was our own work, and
    not a machine that had no time for us; and how long it worked, since `reset`.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.longest_s = self.longest_worked_s = 0.0
        self._began, self._worked = time.perf_counter(), time.process_time()

    async def watch(self) -> None:
        while True:
            before, worked_before = time.perf_counter(), time.process_time()
            await asyncio.sleep(TICK_S)
            self.longest_worked_s = max(self.longest_worked_s, time.process_time() - worked_before)
            self.longest_s = max(self.longest_s, time.perf_counter() - before - TICK_S)

    def said(self) -> str:
        """In words."""
        took_s, worked_s = time.perf_counter() - self._began, time.process_time() - self._worked
        share = worked_s / took_s
        stall = f"longest stall {1000 * self.longest_s:.0f} ms, of our own work {1000 * self.longest_worked_s:.0f} ms"
        return f"{stall}, {worked_s:.2f} s of CPU in {took_s:.1f} s ({share:.0%})"
