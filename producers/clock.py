"""The loop's clock."""

import asyncio


def now_s() -> float:
    """Seconds, to be compared with each other only."""
    return asyncio.get_running_loop().time()
