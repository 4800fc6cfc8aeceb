"""Links that died without a word, with the real timeouts: payments are told in seconds, or the page says why not."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from producers.budget import BURST_REQUESTS
from producers.parts import Pace
from sandbox.horizon_faults import Fault
from tests.integration.producers.scene import Scene, until_true
from tests.integration.producers.truth import Truth

pytestmark = pytest.mark.alone

WITHIN_S = 15.0


class Forgetful:
    """A router that forgets its connections: both ends stay open and hear nothing any more; new ones work."""

    def __init__(self, url: str) -> None:
        self._there = urlsplit(url)
        self._age = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    def forget(self) -> None:
        """Everything that is open now is dead."""
        self._age += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Forgetful"]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = "http://{}:{}".format(*server.sockets[0].getsockname())
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(self._there.hostname, self._there.port)
        for source, target in ((reader, there[1]), (there[0], writer)):
            task = asyncio.create_task(self._pump(source, target, age=self._age))
            self._tasks.add(task)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, age: int) -> None:
        with contextlib.suppress(OSError):
            try:
                while chunk := await source.read(65_536):
                    if age == self._age:
                        target.write(chunk)
                        await target.drain()
                if age != self._age:
                    await asyncio.Event().wait()  # dead, not closed
            finally:
                target.close()


async def test_forgotten_connections_cost_seconds(scene: Scene) -> None:
    """When every open connection dies without a word, the stream's one and the pooled ones, what is paid next is told
    within 15 s.
    """
    truth = Truth(scene=scene, wallets=3)
    for wallet in range(3):
        await scene.add_wallet(wallet)
    async with Forgetful(scene.horizon.url).running() as router:
        scene.url = router.url
        async with scene.stream(pace=Pace()) as running:
            await scene.until(truth.all_told, what="the baselines")
            for wallet in range(3):
                scene.pay(wallet, 5)
            router.forget()
            began = time.monotonic()
            truth.close()
            await scene.until(truth.all_told, what="told in spite of it")
            told_s = time.monotonic() - began
            await until_true(lambda: not running.parts.readiness.reasons(), what="ready", deadline_s=WITHIN_S)
    sys.stdout.write(f"told {told_s:.1f} s after every connection died\n")
    assert told_s < WITHIN_S
    truth.judge(await scene.read(), after="forgotten connections")


OUTAGES = {
    "goodbye at once": Fault(path_prefix="/payments", only="stream", stream="close", times=1_000_000),
    "500 to everything": Fault(status=500, times=1_000_000),
    "no account can be read": Fault(path_prefix="/accounts", status=504, times=1_000_000),
}


@pytest.mark.parametrize("name", OUTAGES)
async def test_back_off_stays_within_the_budget(scene: Scene, name: str) -> None:
    """A source in trouble is asked less and less: no outage costs what a burst allows, and a second of a long one costs
    few requests, whatever fails.
    """
    outage = replace(OUTAGES[name])
    for wallet in range(3):
        await scene.add_wallet(wallet)
    truth = Truth(scene=scene, wallets=3)
    async with scene.stream():
        await scene.until(truth.all_told, what="the baselines")
        scene.horizon.faults.add(outage)
        for wallet in range(3):
            scene.pay(wallet, 5)
            scene.pay(wallet, 6)
        truth.close()
        await asyncio.sleep(2)  # what is shown is how often it asks in a time
        sys.stdout.write(f"{name}: asked {outage.asked} times in 2 s\n")
        assert outage.asked <= BURST_REQUESTS / 4
