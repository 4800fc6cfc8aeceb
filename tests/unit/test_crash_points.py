"""The list of crash points and the rewriting behind it."""

import ast
import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash_points import hook, listing, points, scenarios

SOURCE = b"""
import asyncio
import contextlib


@contextlib.asynccontextmanager
async def room(name):
    yield name


class Counter:
    async def count(self, numbers):
        total = 0
        async with room("one") as one, room(one) as two:
            async for number in numbers():
                total += number
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return two, total, [each async for each in numbers()]
"""
NAMES = [
    "module.Counter.count: enter room('one')",
    "module.Counter.count: exit room('one')",
    "module.Counter.count: enter room(one)",
    "module.Counter.count: exit room(one)",
    "module.Counter.count: next of numbers()",
    "module.Counter.count: asyncio.sleep(0)",
    "module.Counter.count: asyncio.sleep(0) #2",
    "module.Counter.count: next of numbers() #2",
]


def test_every_await_of_the_code_has_its_crash_test() -> None:
    """The committed list and the code agree; else `make check` fails, too, and says what to do."""
    assert listing.check() == [], listing.REMEDY


def test_every_scenario_named_is_there_and_so_is_every_constant() -> None:
    """A section names a scenario that exists, and each wait it shortens is one of the code's."""
    assert {target.scenario for target in listing.read().targets} <= scenarios.SCENARIOS.keys()
    assert scenarios.missing_constants() == []


def test_points_are_named_by_function_and_words() -> None:
    """Awaits, both ends of a block, each step of a loop; the same words twice are told apart."""
    assert points.rewrite("module", SOURCE)[1] == NAMES


def test_no_await_is_passed_over() -> None:
    """In the whole of the code there are as many points as a plain count of its syntax finds."""
    for module, path in points.modules():
        source = path.read_bytes()
        expected = 0
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.AsyncWith):
                expected += 2 * len(node.items)
            expected += isinstance(node, ast.Await | ast.AsyncFor)
            expected += isinstance(node, ast.comprehension) and bool(node.is_async)
        assert len(points.rewrite(module, source)[1]) == expected, module


async def test_a_rewritten_module_does_the_same_and_comes_by_each_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its results are what they were, and before and after each point it says so, in order."""
    passed: list[tuple[str, str]] = []
    monkeypatch.setattr(hook, "mark", lambda name, side: passed.append((name, side)))
    tree, names = points.rewrite("module", SOURCE)
    scope: dict[str, Any] = {points.POINT: hook.point, points.AROUND: hook.Around, points.STEPS: hook.Steps}
    exec(compile(tree, "module", "exec"), scope)  # noqa: S102 - our own source

    async def numbers() -> AsyncIterator[int]:
        for number in (1, 2, 3):
            yield number

    assert await scope["Counter"]().count(numbers) == ("one", 6, [1, 2, 3])
    assert {name for name, _ in passed} == set(names)
    assert passed[0] == (NAMES[0], "before")
    assert [side for _, side in passed] == ["before", "after"] * (len(passed) // 2)


async def test_what_is_awaited_may_fail_or_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other side is passed then, too, and the error comes through as it was."""
    passed: list[str] = []
    monkeypatch.setattr(hook, "mark", lambda _name, side: passed.append(side))

    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await hook.point("a", fail())
    waiting = asyncio.create_task(hook.point("b", asyncio.Event().wait()))
    await asyncio.sleep(0)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    assert passed == ["before", "after", "before", "after"]


def test_a_new_await_and_one_that_is_gone_are_both_said(tmp_path: Path) -> None:
    """A side that nobody dies at is missing, a point that is no longer there is gone, an exemption has its prefix."""
    path = tmp_path / "points.txt"
    path.write_text("[exempt] a command\nm.x.*\n\n[stream payments]\nm.a: one() (before)\nm.a: old()\n")
    found = listing.differences(listing.read(path), ["m.a: one()", "m.b: two()", "m.x.y: three()"])
    assert found == [
        "no crash test: after m.a: one()",
        "no crash test: before m.b: two()",
        "no crash test: after m.b: two()",
        "no longer in the code: m.a: old()",
    ]


@pytest.mark.parametrize("text", ["m.a: one()\n", "[exempt]\nm.a: one()\n", "[somebody payments]\nm.a: one()\n"])
def test_a_list_that_says_nothing_sensible_is_refused(tmp_path: Path, text: str) -> None:
    """No section, no reason for an exemption, no such process."""
    path = tmp_path / "points.txt"
    path.write_text(text)
    with pytest.raises(listing.BadList):
        listing.read(path)
