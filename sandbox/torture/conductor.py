"""Leads a torture: baselines, traffic under kills and faults, rest, verdict."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import asyncpg

from sandbox import ledger_book, ledger_evidence, rest
from sandbox.ledger_book import Sums
from sandbox.torture.arena import USUAL, Arena, Say
from sandbox.torture.faults_stores import start_database
from sandbox.torture.plan import Plan, Step, Volley
from sandbox.torture.registry import Fault
from schema.stellar import parse_stroops

POLL_S: Final = 0.1
COUNT_S: Final = 1.0
QUIET_UNITS: Final = (5, 100)  # some below the minimum
BASELINES_TIMEOUT_S: Final = 120.0
BACK_TIMEOUT_S: Final = 90.0  # after a fault is healed something must be recorded again: longer is a hang
REST_TIMEOUT_S: Final = 300.0
_AWAY: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of one kind of fault."""

    planned: int = 0
    done: int = 0
    seconds: float = 0.0
    hits: int | None = None  # where a fault may miss: how often it did what it is for
    back_s: list[float] = field(default_factory=list)  # from its end to the next recorded fact


@dataclass(slots=True, kw_only=True)
class Score:
    """The run so far."""

    phase: str = "starting"
    now: str = ""
    kills: int = 0
    kills_by_program: Counter[str] = field(default_factory=Counter)
    payments: int = 0
    commands: int = 0
    tallies: dict[str, Tally]
    findings: list[str] = field(default_factory=list)
    sums: Sums | None = None
    seconds: float = 0.0

    @property
    def faults_done(self) -> int:
        return sum(tally.done for tally in self.tallies.values())

    @property
    def exact(self) -> bool:
        return self.sums is not None and self.sums.exact and not self.findings


class Conductor:
    """Leads one run over an arena as its plan has it."""

    def __init__(self, arena: Arena, plan: Plan, faults: Mapping[str, Fault], *, say: Say) -> None:
        self._arena = arena
        self._plan = plan
        self._faults = faults
        self._say = say
        self._stop = asyncio.Event()
        self.score = Score(tallies={name: Tally() for name in faults})
        for step in plan.steps:
            self.score.tallies[step.name].planned += 1

    def stop(self) -> None:
        """No more faults; the world still comes to rest and is judged."""
        self._stop.set()

    async def lead(self) -> Score:
        """The whole run."""
        score, arena = self.score, self._arena
        began = time.monotonic()
        score.phase = "reading the baselines"
        await arena.heal()
        if not await _until(lambda: rest.has_baselines(arena), BASELINES_TIMEOUT_S):
            score.findings.append(f"no baselines within {BASELINES_TIMEOUT_S:.0f} s")
        counting = asyncio.create_task(self._count())
        score.phase = "torture"
        await arena.tell_chain("traffic", {"payments_per_s": arena.options.payments_per_s})
        try:
            async with asyncio.TaskGroup() as lanes:
                lanes.create_task(self._kills())
                lanes.create_task(self._steps())
                lanes.create_task(self._pay_the_quiet())
        finally:
            await arena.tell_chain("traffic", {"payments_per_s": 0})
        score.phase, score.now = "coming to rest", ""
        await arena.heal()
        await self._rest()
        score.phase = "judging"
        counting.cancel()
        await self._judge()
        score.seconds = time.monotonic() - began
        return score

    async def _pay_the_quiet(self) -> None:
        """Each of them once, spread over the run: what is lost of that payment stays lost, and is seen."""
        rng = random.Random(f"quiet {self._arena.options.seed}")
        for account_id in self._arena.quiet:
            if await self._is_stopped((self._arena.options.seconds or 0) / len(self._arena.quiet)):
                return
            units = rng.randint(*QUIET_UNITS)
            await self._arena.tell_chain("pay", {"to": account_id, "amount": f"{units}.0000000"})

    async def _kills(self) -> None:
        began = time.monotonic()
        for volley in self._plan.volleys:
            if await self._is_stopped(began + volley.at_s - time.monotonic()):
                return
            await self._fire(volley)

    async def _fire(self, volley: Volley) -> None:
        """Whoever is meant is killed; where it does not run now, whoever of the usual was killed least."""
        programs = self._arena.programs
        for name, down_s in volley.kills:
            others = sorted(USUAL, key=lambda each: programs[each].kills)
            await _until(partial(self._kill_one, [name, *others], down_s), BACK_TIMEOUT_S)
        self._say(f"killed {', '.join(name for name, _ in volley.kills)}, or others in their place")

    async def _kill_one(self, names: Sequence[str], down_s: float) -> bool:
        for name in names:
            if await self._arena.programs[name].kill(down_s=down_s):
                self.score.kills += 1
                self.score.kills_by_program[name] += 1
                return True
        return False

    async def _steps(self) -> None:
        for step in self._plan.steps:
            if await self._is_stopped(step.gap_s):
                return
            await self._take(step)

    async def _take(self, step: Step) -> None:
        score, tally = self.score, self.score.tallies[step.name]
        score.now = f"{step.name} {step.target}".strip() + f" for {step.seconds:g} s"
        self._say(f"{step.number} of {len(self._plan.steps)}: {score.now}")
        began = time.monotonic()
        hits = await self._faults[step.name].work(self._arena, step)
        healed = time.monotonic()
        tally.done += 1
        if hits is not None:
            tally.hits = (tally.hits or 0) + hits
        tally.seconds += healed - began
        score.now = f"back from {step.name}"
        if await _until(self._recorded_since(), BACK_TIMEOUT_S):
            tally.back_s.append(time.monotonic() - healed)
        else:
            score.findings.append(
                f"nothing was recorded within {BACK_TIMEOUT_S:.0f} s after step {step.number}: {step}"
            )

    def _recorded_since(self) -> Callable[[], Awaitable[bool]]:
        """Whether a fact was recorded after the first time that this is asked."""
        known: int | None = None

        async def asked() -> bool:
            nonlocal known
            count = int(
                await self._arena.pool.fetchval("select count(*) from balance_snapshots where event_id is not null")
            )
            known = count if known is None else known
            return count > known

        return asked

    async def _is_stopped(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._stop.wait()
        except TimeoutError:
            return False
        return True

    async def _count(self) -> None:
        while True:
            try:
                self.score.commands = await self._arena.pool.fetchval("select count(*) from deposit_commands")
                traffic = {"payments_per_s": self._arena.options.payments_per_s if self.score.phase == "torture" else 0}
                self.score.payments = (await self._arena.tell_chain("traffic", traffic))["told"]
            except _AWAY:
                pass  # for the moment
            await asyncio.sleep(COUNT_S)

    async def _rest(self) -> None:
        quiet_looks = 0

        async def at_rest() -> bool:
            nonlocal quiet_looks
            quiet_looks = quiet_looks + 1 if await rest.nothing_moves(self._arena) else 0
            return quiet_looks >= rest.QUIET_LOOKS

        if not await _until(at_rest, REST_TIMEOUT_S):
            self.score.findings.append(f"the world did not come to rest within {REST_TIMEOUT_S:.0f} s")

    async def _judge(self) -> None:
        score, arena = self.score, self._arena
        await start_database(arena.postgres)
        evidence = await ledger_evidence.collect(
            arena, minimum_stroops=parse_stroops(arena.options.min_deposit), lost_epochs=arena.lost_epochs
        )
        score.sums = ledger_book.judge(evidence)
        score.commands = score.sums.commands
        if score.sums.dead_letters:
            score.findings.append(f"{score.sums.dead_letters} dead letters")
        score.findings += arena.ended.found


async def _until(condition: Callable[[], Awaitable[bool]], timeout_s: float) -> bool:
    """Whether it became true in time; what is away for the moment is not an answer."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if await condition():
                return True
        except _AWAY:
            pass
        await asyncio.sleep(POLL_S)
    return False
