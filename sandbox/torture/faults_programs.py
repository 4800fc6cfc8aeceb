"""Programs that are frozen, that come and go, that stand side by side. Kills are the plan's own, beside all of this."""

import asyncio

from sandbox.torture.arena import COMERS, CONSUMERS, EXECUTOR, SESSION_TIMEOUT_MS, STREAMS, Arena
from sandbox.torture.plan import Step
from sandbox.torture.registry import fault

_ZOMBIE_S = 2 * SESSION_TIMEOUT_MS / 1000  # longer than a member may be silent
_STORM_STEP_S = 1.0


@fault("freeze-consumer", seconds=(_ZOMBIE_S, 12), targets=CONSUMERS[:2])
async def freeze_consumer(arena: Arena, step: Step) -> None:
    """A consumer is stopped for longer than its session (SIGSTOP), then goes on as a zombie (SIGCONT)."""
    await _freeze(arena, step)


@fault("freeze-stream", seconds=(_ZOMBIE_S, 12), targets=STREAMS[:1])
async def freeze_stream(arena: Arena, step: Step) -> None:
    """The stream is stopped (SIGSTOP) and goes on later (SIGCONT)."""
    await _freeze(arena, step)


@fault("freeze-executor", seconds=(_ZOMBIE_S, 12), targets=(EXECUTOR,))
async def freeze_executor(arena: Arena, step: Step) -> None:
    """The executor is stopped for longer than its session (SIGSTOP), then goes on (SIGCONT)."""
    await _freeze(arena, step)


async def _freeze(arena: Arena, step: Step) -> None:
    program = arena.programs[step.target]
    program.freeze()
    try:
        await asyncio.sleep(step.seconds)
    finally:
        program.resume()


@fault("storm", seconds=(4, 20))
async def storm(arena: Arena, step: Step) -> None:
    """Consumers come and go every second, in order or killed: the group is rebalanced again and again."""
    comers = [arena.programs[name] for name in COMERS]
    ends_at = asyncio.get_running_loop().time() + step.seconds
    turn = 0
    try:
        while asyncio.get_running_loop().time() < ends_at:
            comer = comers[turn % len(comers)]
            if not comer.wanted:
                comer.wanted = True
            elif turn % 3:
                await comer.put_down()
            else:
                await comer.stop()
            turn += 1
            await asyncio.sleep(_STORM_STEP_S)
    finally:
        for comer in comers:
            await comer.put_down()


@fault("two-streams", seconds=(4, 30))
async def two_streams(arena: Arena, step: Step) -> None:
    """A second stream with a name of its own tells the same facts beside the first."""
    await _beside(arena, STREAMS[1], step)


@fault("three-consumers", seconds=(3, 20))
async def three_consumers(arena: Arena, step: Step) -> None:
    """A third consumer takes its share of the partitions, and leaves in order."""
    await _beside(arena, CONSUMERS[2], step)


async def _beside(arena: Arena, name: str, step: Step) -> None:
    program = arena.programs[name]
    program.wanted = True
    try:
        await asyncio.sleep(step.seconds)
    finally:
        await program.stop()
