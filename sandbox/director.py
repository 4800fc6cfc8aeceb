"""A run from its first ledger to its proven end: traffic, kills at random, rest, sums."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from sandbox import latency, ledger_book, rest
from sandbox.children import ChildFailed
from sandbox.latency import Latency
from sandbox.ledger_book import Sums
from sandbox.stage import Stage
from schema.stellar import parse_stroops

POLL_S: Final = 0.25
BASELINES_TIMEOUT_S: Final = 120.0
REST_TIMEOUT_S: Final = 300.0
KILLED_FOR_S_MAX: Final = 2.0
RESTART_DELAY_S: Final = 0.5
CRASHES_MAX: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What a run came to."""

    sums: Sums | None  # None where the chain is not ours: nobody can prove it
    latency: Latency | None
    payments: int
    kills: int
    seconds: float
    rested: bool


Step = Callable[[str], None]


class Director:
    """Leads one run. `stop` ends the traffic early; the world still comes to rest and is summed up."""

    def __init__(self, stage: Stage, say: Step) -> None:
        self._stage = stage
        self._say = say
        self._stop = asyncio.Event()
        self._random = random.Random(stage.options.seed)
        self.payments = 0
        self._replayed = 0
        self.kills = 0
        self.crashes = 0
        self.phase = "starting"

    def stop(self) -> None:
        """No more traffic."""
        self._stop.set()

    async def lead(self) -> Ending:
        """The whole run. ChildFailed when one of our programs keeps dying by itself."""
        began = time.monotonic()
        watch = asyncio.create_task(self._watch())
        try:
            act = asyncio.create_task(self._act())
            done, _ = await asyncio.wait([watch, act], return_when=asyncio.FIRST_COMPLETED)
            if watch in done:
                act.cancel()
                await watch
            rested = await act
        finally:
            watch.cancel()
        self.phase = "summing up"
        options = self._stage.options
        sums = latencies = None
        if options.simulates_chain:
            sums = await ledger_book.check(
                self._stage,
                minimum_stroops=parse_stroops(options.min_deposit),
                excluded=self._stage.excluded_payers,
            )
            if options.stream:  # whoever polls was not woken by a payment
                latencies = await latency.measure(self._stage)
            if not rested:
                sums.discrepancies.append(f"the world did not come to rest within {REST_TIMEOUT_S:.0f} s")
        return Ending(
            sums=sums,
            latency=latencies,
            payments=self.payments,
            kills=self.kills,
            seconds=time.monotonic() - began,
            rested=rested,
        )

    async def _act(self) -> bool:
        self.phase = "reading the baselines"
        if not await self._until(lambda: rest.has_baselines(self._stage), BASELINES_TIMEOUT_S):
            name = next(iter(self._stage.children))
            raise ChildFailed(f"no baselines yet; the last words of {name}:\n{self._last_words(name)}")
        self.phase = "running"
        await self._replay()
        await self._traffic()
        self.phase = "coming to rest"
        quiet_looks = 0

        async def at_rest() -> bool:
            nonlocal quiet_looks
            quiet_looks = quiet_looks + 1 if await rest.nothing_moves(self._stage) else 0
            return quiet_looks >= rest.QUIET_LOOKS

        if not self._stage.options.simulates_chain:
            return True
        return await self._until(at_rest, REST_TIMEOUT_S)

    async def _traffic(self) -> None:
        options = self._stage.options
        if options.simulates_chain:
            await self._stage.tell_chain("traffic", {"payments_per_s": options.payments_per_s})
        killer = asyncio.create_task(self._kill_at_random())
        deadline = None if options.seconds is None else time.monotonic() + options.seconds
        while not self._stop.is_set() and (deadline is None or time.monotonic() < deadline):
            if options.simulates_chain:
                answer = await self._stage.tell_chain("traffic", {"payments_per_s": options.payments_per_s})
                self.payments = self._replayed + answer["told"]
            if options.payments is not None and self.payments >= options.payments:
                break
            await asyncio.sleep(POLL_S)
        if options.simulates_chain:
            self.payments = self._replayed + (await self._stage.tell_chain("traffic", {"payments_per_s": 0}))["told"]
        if options.kills:
            await killer
        killer.cancel()

    async def _replay(self) -> None:
        recorded = self._stage.recorded
        if recorded is not None and recorded.payments:
            await self._stage.tell_chain("replay", {"payments": list(recorded.payments)})
            self._replayed = self.payments = len(recorded.payments)

    async def _kill_at_random(self) -> None:
        """SIGKILL to one of ours, a pause, a start; so often, spread over the run."""
        options = self._stage.options
        pause_s = (options.seconds or 60.0) / (options.kills + 1)
        while self.kills < options.kills:
            await asyncio.sleep(self._random.uniform(0.2, 1.8) * pause_s)
            child = self._stage.children[self._random.choice(sorted(self._stage.children))]
            self.kills += 1
            await child.kill()
            self._say(f"killed {child.name} ({self.kills} of {options.kills})")
            await asyncio.sleep(self._random.uniform(0, KILLED_FOR_S_MAX))
            if not child.is_running:
                await child.start()

    async def _watch(self) -> None:
        """Start again what ended by itself, as a service manager would; give up when it keeps ending."""
        down: dict[str, int] = {}  # by name, which of its starts was over
        while True:
            await asyncio.sleep(KILLED_FOR_S_MAX + RESTART_DELAY_S)
            for child in self._stage.children.values():
                if child.is_running:
                    down.pop(child.name, None)
                elif down.get(child.name) != child.starts:
                    down[child.name] = child.starts  # perhaps killed, and about to be started: look once more
                else:
                    self.crashes += 1
                    if self.crashes > CRASHES_MAX:
                        raise ChildFailed(f"{child.name} keeps ending by itself:\n{child.last_words()}")
                    self._say(f"{child.name} ended by itself, starting it again")
                    await child.start()

    async def _until(self, condition: Callable[[], Awaitable[bool]], timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if await condition():
                return True
            await asyncio.sleep(POLL_S)
        return False

    def _last_words(self, name: str) -> str:
        return self._stage.children[name].last_words()
