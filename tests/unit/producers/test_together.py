"""Tasks that live and end together."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from producers.source import Fatal
from producers.together import together

Work = Callable[[], Coroutine[Any, Any, None]]


async def _forever() -> None:
    await asyncio.Event().wait()


async def _decide() -> None:
    raise Fatal("a person must decide")


async def _err() -> None:
    raise ValueError("a bug")


async def _run(*works: Work) -> None:
    async with together() as tasks:
        for work in works:
            tasks.create_task(work())


async def test_what_a_person_must_decide_comes_out_as_itself() -> None:
    """However deep, and with what it was raised for; the others are ended."""

    async def deeper() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_decide())
            tasks.create_task(_forever())

    with pytest.raises(Fatal, match="a person must decide"):
        await _run(_forever, deeper)


async def test_it_comes_out_of_the_body_too() -> None:
    """As when a door cannot be opened beside the tasks."""
    others: list[asyncio.Task[None]] = []

    async def begin() -> None:
        async with together() as tasks:
            others.append(tasks.create_task(_forever()))
            raise Fatal("taken")

    with pytest.raises(Fatal, match="taken"):
        await begin()
    assert others[0].cancelled()


async def test_a_bug_is_not_hidden_behind_a_decision() -> None:
    """Both at once: what escapes is the bug, in its group."""
    with pytest.raises(ExceptionGroup) as found:
        await _run(_decide, _err)
    assert found.group_contains(ValueError, match="a bug")
    assert not found.group_contains(Fatal)


async def test_being_cancelled_is_no_error() -> None:
    """A signal ends the tasks, and whoever waits for them sees a cancellation."""
    running = asyncio.create_task(_run(_forever))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
