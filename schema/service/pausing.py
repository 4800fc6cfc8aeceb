"""Waiting for an event, for so long at most."""

import asyncio
from contextlib import suppress


async def wait(event: asyncio.Event, *, seconds: float) -> None:
    """Return when the event is set or the time is over. Not by wait_for: on 3.11 that can swallow a cancellation."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
