"""The loop's clock, and waits by it."""

import asyncio
import random


def now_s() -> float:
    """Seconds, to be compared with each other only."""
    return asyncio.get_running_loop().time()


async def wait_about(seconds: float) -> None:
    """Wait so long, jittered: not all who wait for the same thing come again at once."""
    await asyncio.sleep(seconds * random.uniform(0.7, 1.3))  # noqa: S311 - jitter
