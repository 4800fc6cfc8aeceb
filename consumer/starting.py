"""What both programs of the consumer do at their start: wait for the tables, and heed signals."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Final

from consumer.store import NOT_MIGRATED
from schema.service.database import retrying
from schema.service.pausing import wait
from schema.service.readiness import Readiness

MIGRATED_CHECK_S: Final = 1.0
STOP_TIMEOUT_S: Final = 15.0


async def until_migrated(
    check_tables: Callable[[], Awaitable[None]], readiness: Readiness, stopping: asyncio.Event
) -> None:
    """Wait for tables that are not there yet, and say what makes them."""
    while not stopping.is_set():
        try:
            async for attempt in retrying("look at the tables", readiness):
                with attempt:
                    await check_tables()
        except NOT_MIGRATED as error:
            readiness.down("database", f"not migrated ({error}): run `python -m schema migrate`")
            await wait(stopping, seconds=MIGRATED_CHECK_S)
        else:
            readiness.up("database")
            return


def stop_on_signals(stopping: asyncio.Event) -> None:
    """A signal asks for the end; when a part still waits for a broker or database that is away, it is cut short."""
    events, this = asyncio.get_running_loop(), asyncio.current_task()

    def stop() -> None:
        stopping.set()
        if this is not None:
            events.call_later(STOP_TIMEOUT_S, this.cancel)

    for signal_number in (signal.SIGTERM, signal.SIGINT):
        events.add_signal_handler(signal_number, stop)
