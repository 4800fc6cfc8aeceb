"""Waiting for what must become true, when asking takes a while itself."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

DEADLINE_S = 60.0
_STEP_S = 0.05
_T = TypeVar("_T")


async def until(ask: Callable[[], Awaitable[_T]], what: str, *, deadline_s: float = DEADLINE_S) -> _T:
    """Ask until the answer is true, and return it; AssertionError with `what` when it never is."""
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        answer = await ask()
        if answer:
            return answer
        await asyncio.sleep(_STEP_S)
    raise AssertionError(f"not within {deadline_s:.0f} s: {what}")
