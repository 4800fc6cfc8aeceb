"""Kill after kill: each target is armed in a life of its own, in one of several worlds; now and then all is judged."""

import asyncio
import math
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg

from sandbox.database import PostgresServer
from tests.crash_points import opening, rest
from tests.crash_points.listing import ROLES, Target
from tests.crash_points.nursery import Life, Nursery
from tests.crash_points.scenarios import PACE, SCENARIOS
from tests.crash_points.scene import PAYMENTS_PER_S, World

KILLS_BETWEEN_RESTS: Final = 80
RESTS_A_WORLD: Final = 2  # the oracle reads all that was ever said, and the embedded broker gives it slowly
ATTEMPTS_MAX: Final = 6
AGAIN_S: Final = 1.5  # a point that was passed once is passed again within this, or not at all
LOOK_S: Final = 0.25
BASELINES_WITHIN_S: Final = 60.0
LOG_LINES_SHOWN: Final = 15
KILLED: Final = -9
# An urge's own link to the database: what is done to the other process may cut all there are.
LOST: Final = (asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError)


@dataclass(slots=True, kw_only=True)
class Report:
    """What a campaign came to."""

    seed: int
    worlds: int = 0
    judged: int = 0
    seconds: float = 0.0
    kills: Counter[Target] = field(default_factory=Counter)
    hits: Counter[int] = field(default_factory=Counter)
    discrepancies: list[str] = field(default_factory=list)
    never_reached: list[str] = field(default_factory=list)
    ended_by_themselves: list[str] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        return not self.discrepancies

    @property
    def passed(self) -> bool:
        return self.exact and not self.never_reached and not self.ended_by_themselves


class Campaign:
    """All targets, so many times each, in a seeded order, spread over worlds that run side by side."""

    def __init__(
        self,
        targets: Sequence[Target],
        *,
        rounds: int,
        minutes: float = 0.0,  # no more kills after so many; 0: all of them
        seed: int,
        nursery: Nursery,
        server: PostgresServer,
        template: str,
        folder: Path,
        on_kill: Callable[[Target], None] = lambda _target: None,
    ) -> None:
        self.report = Report(seed=seed)
        self._rng = random.Random(seed)  # noqa: S311 - a seeded simulation
        self._nursery = nursery
        self._server = server
        self._template = template
        self._folder = folder
        self._on_kill = on_kill
        self._hits_max: dict[Target, int] = {target: SCENARIOS[target.scenario].hits_max for target in targets}
        shuffled = [target for _ in range(rounds) for target in self._rng.sample(targets, len(targets))]
        self._queues = {role: deque(each for each in shuffled if each.role == role) for role in ROLES}
        self._worlds = 0
        self._ends_at = time.monotonic() + minutes * 60 if minutes else math.inf

    async def run(self, *, worlds: int) -> Report:
        """Until every target had its turns, or one was never reached."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(worlds):
                tasks.create_task(self._inhabit())
        self.report.seconds = time.monotonic() - began
        return self.report

    def _queues_are_empty(self) -> bool:
        return not any(self._queues.values()) or time.monotonic() >= self._ends_at

    async def _inhabit(self) -> None:
        while not self._queues_are_empty():
            self._worlds += 1
            number = self._worlds
            opened = opening.opened(
                number,
                seed=self.report.seed,
                server=self._server,
                template=self._template,
                nursery=self._nursery,
                folder=self._folder / f"world-{number}",
            )
            async with opened as world:
                self.report.worlds += 1
                await self._begin(world)
                await self._live_through(world, number)

    async def _live_through(self, world: World, number: int) -> None:
        for _ in range(RESTS_A_WORLD):
            if self._queues_are_empty():
                return
            errands = asyncio.create_task(world.run_errands())
            await world.traffic(PAYMENTS_PER_S)
            await self._kill_for_a_while(world)
            errands.cancel()
            await asyncio.wait([errands])
            if not errands.cancelled() and (error := errands.exception()) is not None:
                raise error
            await self._judge(world, number)

    async def _begin(self, world: World) -> None:
        lives = [await world.start(role, constants=PACE) for role in ROLES]
        ends_at = time.monotonic() + BASELINES_WITHIN_S
        while not await world.has_baselines():
            for role, life in zip(ROLES, lives, strict=True):
                assert not life.ended.done(), f"{role} ended at once:\n{_last_words(world, role)}"
            assert time.monotonic() < ends_at, "no baselines"
            await asyncio.sleep(LOOK_S)
        await asyncio.gather(*(life.kill() for life in lives))

    async def _kill_for_a_while(self, world: World) -> None:
        killed: Counter[World] = Counter()
        at_it = set(ROLES)

        def is_over() -> bool:
            return killed[world] >= KILLS_BETWEEN_RESTS or self._queues_are_empty()

        async def kill(role: str) -> None:
            while not is_over():
                if self._queues[role]:
                    await self._kill_once(world, self._queues[role].popleft())
                    killed[world] += 1
                else:
                    await self._live_on(world, role, is_over)
            at_it.discard(role)
            if at_it:  # the other one's last target may need this one
                await self._live_on(world, role, lambda: not at_it)

        await asyncio.gather(*(kill(role) for role in ROLES))

    async def _live_on(self, world: World, role: str, is_over: Callable[[], bool]) -> None:
        """Nothing is left to kill here, and the other process needs this one."""
        life = await world.start(role, constants=PACE)
        while not is_over() and not life.ended.done():
            await asyncio.wait([life.ended], timeout=LOOK_S)
        if life.ended.done():
            self._note_end(world, role, life, "with nothing armed")
        await life.kill()

    async def _kill_once(self, world: World, target: Target) -> None:
        scenario = SCENARIOS[target.scenario]
        for attempt in range(ATTEMPTS_MAX):
            if attempt and time.monotonic() >= self._ends_at:
                return
            hit = 1 if attempt else self._rng.randint(1, self._hits_max[target])
            began = time.monotonic()
            if scenario.prepare is not None:
                await scenario.prepare(world)
            life = await world.start(
                target.role,
                constants={**PACE, **scenario.constants},
                environment=scenario.environment(world),
                armed=(target.name, target.side, hit),
            )
            urging = asyncio.create_task(scenario.urge(world, life, target.role))
            await _wait(life, hit, within_s=scenario.within_s)
            self._note(world, target, life, hit, time.monotonic() - began)
            urging.cancel()
            await asyncio.wait([urging])
            error = None if urging.cancelled() else urging.exception()
            if error is not None and not isinstance(error, LOST):
                self.report.ended_by_themselves.append(f"{target.scenario}: {type(error).__name__}: {error}")
            if scenario.has_faults:
                await world.clear_faults()
            done = life.ended.done()
            if done and life.ended.result() == KILLED and life.passes == hit:
                self.report.kills[target] += 1
                self.report.hits[hit] += 1
                self._on_kill(target)
                return
            if done and life.ended.result() not in (0, KILLED):
                self._note_end(world, target.role, life, f"on its way to {target}")
            await life.kill()
            self._hits_max[target] = max(1, min(self._hits_max[target], life.passes))
        self.report.never_reached.append(f"{target} [{target.scenario}]")

    async def _judge(self, world: World, number: int) -> None:
        began = time.monotonic()
        lives = {role: await world.start(role, constants=PACE) for role in ROLES}
        moves = await rest.come_to_rest(world)
        for role, life in lives.items():
            if life.ended.done():
                self._note_end(world, role, life, "while all was to come to rest")
        await asyncio.gather(*(life.kill() for life in lives.values()))
        rested_s = time.monotonic() - began
        found = await world.judge()
        if moves:
            found.append(f"it does not come to rest, nothing changed for {rest.REST_WITHIN_S:.0f} s: {moves}")
        self.report.discrepancies += [f"world {number}: {each}" for each in found]
        self.report.judged += 1
        took = f"{time.monotonic() - began:6.2f} s world-{number} judged, at rest after {rested_s:.2f} s:"
        self._write(took, *(found or ["exact"]))

    def _note(self, world: World, target: Target, life: Life, hit: int, seconds: float) -> None:
        """A line in the campaign's journal: what one life came to."""
        ended = life.ended.result() if life.ended.done() else "alive"
        where = world.stage.options.folder.name
        took = f"{seconds:6.2f} s {where} {ended} hit {hit} passes {life.passes}"
        self._write(f"{took} {target} [{target.scenario}]")

    def _write(self, *lines: str) -> None:
        with (self._folder / "journal.txt").open("a") as journal:
            journal.writelines(f"{line}\n" for line in lines)

    def _note_end(self, world: World, role: str, life: Life, when: str) -> None:
        words = _last_words(world, role)
        self.report.ended_by_themselves.append(f"{role} ended with {life.ended.result()} {when}:\n{words}")


async def _wait(life: Life, hit: int, *, within_s: float) -> None:
    """Until it has died, or will not: it was never there in time, or it was and does not come again soon."""
    ends_at = time.monotonic() + within_s
    passes = 0
    while time.monotonic() < ends_at:
        if (await asyncio.wait([life.ended], timeout=LOOK_S))[0]:
            return
        if life.passes >= hit:  # it dies, and the news is on its way
            await asyncio.wait([life.ended], timeout=within_s)
            return
        if passes < life.passes < hit:
            passes = life.passes
            ends_at = min(ends_at, time.monotonic() + AGAIN_S)


def _last_words(world: World, role: str) -> str:
    log = world.stage.options.folder / f"{role}.log"
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])
