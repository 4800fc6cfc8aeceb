"""Programs under torture: born of the nursery, kept, killed, frozen, with clocks that are off."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from sandbox.nursery import Nursery
from sandbox.torture.programs import ZYGOTE, OnOwnEnd, Program
from tests.waiting import until


@pytest.fixture
async def nursery(tmp_path: Path) -> AsyncIterator[Nursery]:
    started = Nursery(ZYGOTE, tmp_path / "nursery.log")
    await started.start()
    yield started
    await started.stop()


Keep = Callable[[Program], OnOwnEnd]


@pytest.fixture
async def keep() -> AsyncIterator[Keep]:
    """Has a program kept for as long as the test runs."""
    keepers: list[asyncio.Task[None]] = []

    def begin(program: Program) -> OnOwnEnd:
        ended = OnOwnEnd()
        keepers.append(asyncio.create_task(program.keep(ended)))
        return ended

    yield begin
    for keeper in keepers:
        keeper.cancel()
    await asyncio.gather(*keepers, return_exceptions=True)


def waiting_consumer(nursery: Nursery, folder: Path) -> Program:
    """A consumer that waits for a database that is not there: it runs until it is ended."""
    environment = {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "STELLAR_NETWORK": "testnet",
        "ASSET_ISSUER": "GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5",
    }
    return Program("consumer", nursery, "consumer", [], environment, folder)


def says(program: Program, words: str) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return words in program.last_words()

    return asked


async def test_a_killed_program_is_up_again_while_it_is_wanted(nursery: Nursery, keep: Keep, tmp_path: Path) -> None:
    """Killed it stays away for as long as was said, then runs again; put down it stays down; a kill is no finding."""
    program = waiting_consumer(nursery, tmp_path)
    ended = keep(program)
    program.wanted = True
    await until(says(program, "database is away"), "it works")
    began = asyncio.get_running_loop().time()
    assert await program.kill(down_s=0.5)
    assert not program.is_running

    async def is_running() -> bool:
        return program.is_running

    await until(is_running, "it is up again")
    assert asyncio.get_running_loop().time() - began >= 0.5
    assert program.starts == 2
    await program.put_down()
    assert not await program.kill()
    assert ended.found == []


async def test_a_program_that_ends_by_itself_is_a_finding_and_started_again(
    nursery: Nursery, keep: Keep, tmp_path: Path
) -> None:
    """Its exit code and last words are kept."""
    program = Program("consumer", nursery, "consumer", [], {}, tmp_path)
    ended = keep(program)
    program.wanted = True

    async def ended_twice() -> bool:
        return len(ended.found) >= 2

    await until(ended_twice, "it was started again")
    assert "exit code 2" in ended.found[0]
    assert "the environment is not complete" in ended.found[0]
    program.wanted = False


async def test_a_frozen_program_says_nothing_until_it_goes_on(nursery: Nursery, keep: Keep, tmp_path: Path) -> None:
    """SIGSTOP and SIGCONT reach it, and a frozen one can be killed."""
    program = waiting_consumer(nursery, tmp_path)
    keep(program)
    program.wanted = True
    await until(says(program, "database is away"), "it works")
    program.freeze()
    found = psutil.Process(program.pid)

    async def is_stopped() -> bool:
        return found.status() == psutil.STATUS_STOPPED

    await until(is_stopped, "it is stopped")
    program.resume()
    said = program.log.stat().st_size

    async def goes_on() -> bool:
        return program.log.stat().st_size > said

    await until(goes_on, "it goes on")
    program.freeze()
    await program.put_down()
    assert not program.is_running


@pytest.mark.parametrize("shift_s", [86_400, -86_400])
async def test_a_clock_that_is_off_is_off_in_all_that_the_program_says(
    nursery: Nursery, keep: Keep, tmp_path: Path, shift_s: int
) -> None:
    """The stamps of its log are a day away from ours, and it works as otherwise."""
    program = waiting_consumer(nursery, tmp_path)
    keep(program)
    program.shift_s = shift_s
    program.wanted = True
    before = datetime.now(UTC)
    await until(says(program, "database is away"), "it works")
    days = {(each + timedelta(seconds=shift_s)).date() for each in (before, datetime.now(UTC))}  # it may be midnight
    assert any(f'"timestamp": "{day.isoformat()}T' in program.last_words() for day in days)
    await program.put_down()
    assert not program.is_running


async def test_children_end_with_their_nursery(tmp_path: Path, keep: Keep) -> None:
    """Nothing of a torture stays behind."""
    nursery = Nursery(ZYGOTE, tmp_path / "nursery.log")
    await nursery.start()
    program = waiting_consumer(nursery, tmp_path)
    keep(program)
    program.wanted = True
    await until(says(program, "database is away"), "it works")
    child = psutil.Process(program.pid)
    await nursery.stop()

    async def is_gone() -> bool:
        return not child.is_running() or child.status() == psutil.STATUS_ZOMBIE

    await until(is_gone, "it is gone")
