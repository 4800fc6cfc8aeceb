"""A thousand connections that only waste time, beside a sender that is good."""

import contextlib
import os
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sandbox.children import Child
from tests.acceptance.test_webhooks import House, house
from tests.integration.producers.conftest import scene as scene  # noqa: PLC0414 - the same world
from tests.integration.producers.scene import Scene, until_true
from tests.integration.producers.webhook_scene import told
from tests.webhook_senders import naming

SLOW = int(os.environ.get("WEBHOOK_SLOW", "1000"))
ROUNDS = int(os.environ.get("WEBHOOK_SLOW_ROUNDS", "3"))
HINTS = 40  # of each half of a round
TIMES = 2.0


@pytest.mark.alone
async def test_a_thousand_slow_connections_do_not_slow_a_good_one_beyond_twice(scene: Scene, tmp_path: Path) -> None:
    """Dripping headers, dripping bodies and silence, from the good sender's own address and from others, each coming
    back when it is cut: every hint is answered with 200, and the median time at most doubles.
    """
    await told(scene, 0)
    limits = {"WEBHOOK_REQUESTS_PER_ADDRESS_PER_S": "100000", "WEBHOOK_REQUESTS_PER_S": "100000"}
    async with house(scene, tmp_path, **limits) as running:  # room is made by cutting alone
        alone: list[float] = []
        crowded: list[float] = []
        await measure(running, scene, HINTS)
        for _ in range(ROUNDS):  # in turns, so that whatever else the machine does strikes both
            alone += await measure(running, scene, HINTS)
            async with slow_ones(running, tmp_path) as crowd:
                await until_true(lambda: held(crowd) >= min(SLOW, 1_000), what="all of them came")
                crowded += await measure(running, scene, HINTS)
    ratio = statistics.median(crowded) / statistics.median(alone)
    worst = statistics.quantiles(crowded, n=20)[-1] / statistics.quantiles(alone, n=20)[-1]
    print(f"alone {ms(alone)}, beside {SLOW} slow ones {ms(crowded)}: {ratio:.2f} times; 95 %: {worst:.2f} times")  # noqa: T201
    assert ratio <= TIMES


async def measure(running: House, scene: Scene, hints: int) -> list[float]:
    """The seconds of each of so many hints, each on a connection of its own, as senders do."""
    found = []
    for _ in range(hints):
        sender = running.sender()
        began_s = time.perf_counter()
        reply = await sender.hint(naming(scene.account(0)))
        found.append(time.perf_counter() - began_s)
        assert reply.status == 200
        sender.close()
    return found


@asynccontextmanager
async def slow_ones(running: House, folder: Path) -> AsyncIterator[Child]:
    """A process with the slow connections, for the length of the block."""
    crowd = Child("slow", ["tests.webhook_slow_senders", str(running.port), str(SLOW)], {}, folder)
    crowd.log.unlink(missing_ok=True)
    await crowd.start()
    try:
        await crowd.first_line()
        yield crowd
    finally:
        await crowd.kill()


def held(crowd: Child) -> int:
    """How many connections it has made so far."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(crowd.log.read_text().split()[-1])
    return 0


def ms(times_s: list[float]) -> str:
    return f"{statistics.median(times_s) * 1000:.1f} ms (of {len(times_s)})"
