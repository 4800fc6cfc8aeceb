"""The fork server from outside: births, ends with their codes and words, and what is said when it is gone."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sandbox.children import ChildFailed, inherited
from sandbox.nursery import Life, Nursery
from sandbox.torture.programs import ZYGOTE
from tests.waiting import until


@pytest.fixture
async def nursery(tmp_path: Path) -> AsyncIterator[Nursery]:
    started = Nursery(ZYGOTE, tmp_path / "nursery.log")
    await started.start()
    yield started
    await started.stop()


def wish(folder: Path, code: str) -> dict[str, Any]:
    """To run this code."""
    return {
        "module": "tests.integration.one_life",
        "arguments": [code],
        "environment": {**inherited(), "WORD": "kept"},
        "log": str(folder / "log"),
        "shift_s": 0,
    }


ENDINGS = {  # code, exit code, words
    "end": ("print('said')", 0, "said\n"),
    "code": ("sys.exit(7)", 7, ""),
    "words": ("raise SystemExit('no such wallet')", 1, "no such wallet\n"),
    "crash": ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
    "kill": ("import os; os.kill(os.getpid(), 9)", -9, ""),
    "surroundings": ("import os; print(len(sys.argv), os.environ['WORD'], sys.stdin.read())", 0, "2 kept \n"),
}


async def test_a_life_ends_as_its_program_does(nursery: Nursery, tmp_path: Path) -> None:
    """Its exit code is what `python -m` would give, its words are in its log, its surroundings those it was given."""
    for name, (code, ending, words) in ENDINGS.items():
        folder = tmp_path / name
        folder.mkdir()
        life = await nursery.bear(Life(), wish(folder, code))
        assert await life.ended == ending, name
        said = (folder / "log").read_text()
        assert said.endswith(words), name
        assert bool(said) == bool(words), name


async def test_each_is_a_life_of_its_own(nursery: Nursery, tmp_path: Path) -> None:
    """Many at once are told apart; a signal for one that has ended reaches nobody."""
    lives = [await nursery.bear(Life(), wish(tmp_path, "import time; time.sleep(600)")) for _ in range(5)]
    assert len({life.pid for life in lives}) == 5
    await lives[2].kill()
    await lives[2].kill()
    assert [life.ended.done() for life in lives] == [False, False, True, False, False]


async def test_a_server_that_is_gone_says_so(nursery: Nursery, tmp_path: Path) -> None:
    """Nobody waits for a birth that cannot come."""
    life = await nursery.bear(Life(), wish(tmp_path, "import time; time.sleep(600)"))
    child = psutil.Process(life.pid)
    psutil.Process(child.ppid()).kill()
    with pytest.raises(ChildFailed, match="has ended"):
        await nursery.bear(Life(), wish(tmp_path, "1"))

    async def is_gone() -> bool:
        return not child.is_running() or child.status() == psutil.STATUS_ZOMBIE

    await until(is_gone, "its children end with it")
