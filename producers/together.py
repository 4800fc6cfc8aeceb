"""Tasks that live and end together. What a person must decide comes out as itself, though a task group wraps it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from producers.source import Fatal
from schema.service.settings import Unusable

Decided = Fatal | Unusable


@asynccontextmanager
async def together() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group: the first error ends all of them. Raises the first Fatal or Unusable; any other error stays in
    its group.
    """
    fatal: Decided | None = None
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except* (Fatal, Unusable) as group:
        fatal = _first(group)
    if fatal is not None:  # raised in there it would be a group again
        raise fatal


def _first(group: BaseExceptionGroup[Decided]) -> Decided:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
