"""Waiting for what must become true."""

import asyncio
from collections.abc import Callable

_STEP_S = 0.02


async def until(condition: Callable[[], bool], *, what: str, deadline_s: float = 60.0) -> None:
    """Return as soon as the condition holds; AssertionError with `what` when it does not in time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + deadline_s
    while not condition():
        assert loop.time() < deadline, f"not within {deadline_s} s: {what}"
        await asyncio.sleep(_STEP_S)
