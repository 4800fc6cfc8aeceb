"""What commands that end have in common: an exit code, and that they do not wait for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from producers.opening import opened
from producers.parts import Parts
from producers.settings import ProducerSettings
from producers.store import Away, PoolStore

OPEN_S_MIN: Final = 10.0  # a connection takes a moment, however little patience there is
S = TypeVar("S", bound=PoolStore)


@dataclass(slots=True)
class Ending:
    """With which exit code the command ends; not done unless it says so, also when it is interrupted."""

    code: int = 1


@asynccontextmanager
async def opened_within(
    settings: ProducerSettings, store: type[S], *, name: str, patience_s: float
) -> AsyncIterator[tuple[Parts, S]]:
    """The parts, and the command's own store; Away when the database is not there in time."""
    async with AsyncExitStack() as stack:
        within_s = max(patience_s, OPEN_S_MIN)
        try:
            async with asyncio.timeout(within_s):
                parts = await stack.enter_async_context(opened(settings, name=name))
                own = await stack.enter_async_context(store.opened(settings.database_url))
        except TimeoutError:
            reason = f"the database did not answer for {within_s:.0f} s: see that PostgreSQL does at DATABASE_URL"
            raise Away(reason) from None
        yield parts, own
