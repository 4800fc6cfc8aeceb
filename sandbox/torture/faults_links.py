"""Links that fail between two parts, and a Horizon that answers badly."""

import asyncio

from sandbox.torture.arena import CONSUMERS, USUAL, Arena, speaks_to
from sandbox.torture.plan import Step
from sandbox.torture.proxy import Mode
from sandbox.torture.registry import fault

LINKS = tuple(f"{program}:{other}" for program in USUAL for other in speaks_to(program))
COMMITTING = tuple(f"{consumer}:database" for consumer in CONSUMERS[:2])  # the stream's writes are single statements
_CUTS_A_SECOND = 2.0
_COMMIT_POLL_S = 0.02
_COMMIT_PATIENCE_S = 15.0


@fault("link-cut", seconds=(1, 6), targets=LINKS)
async def link_cut(arena: Arena, step: Step) -> None:
    """Every connection between two parts is reset, again and again; new ones are taken."""
    link = arena.links[step.target]
    for _ in range(max(1, round(step.seconds * _CUTS_A_SECOND))):
        link.cut()
        await asyncio.sleep(1 / _CUTS_A_SECOND)


@fault("link-stalled", seconds=(2, 20), targets=LINKS)
async def link_stalled(arena: Arena, step: Step) -> None:
    """Nothing passes between two parts for a while, then everything that waited does."""
    await _in_mode(arena, step, Mode.STALLED)


@fault("link-slowed", seconds=(2, 15), targets=LINKS)
async def link_slowed(arena: Arena, step: Step) -> None:
    """Between two parts everything comes late and little by little."""
    await _in_mode(arena, step, Mode.SLOWED)


@fault("link-half-open", seconds=(2, 25), targets=LINKS)
async def link_half_open(arena: Arena, step: Step) -> None:
    """Two parts keep their connection, and one direction of it leads nowhere; in the end it is reset."""
    await _in_mode(arena, step, Mode.DEAF if step.chance < 0.5 else Mode.MUTE)  # noqa: PLR2004 - either


@fault("link-refused", seconds=(1, 10), targets=LINKS)
async def link_refused(arena: Arena, step: Step) -> None:
    """Connections are reset, and new ones refused."""
    await _in_mode(arena, step, Mode.REFUSED)


async def _in_mode(arena: Arena, step: Step, mode: Mode) -> None:
    link = arena.links[step.target]
    await link.set_mode(mode)
    try:
        await asyncio.sleep(step.seconds)
    finally:
        await link.set_mode(Mode.OPEN)


@fault("commit-lost", seconds=(1, 4), targets=COMMITTING)
async def commit_lost(arena: Arena, step: Step) -> int:
    """PostgreSQL does a COMMIT, and its answer is lost with the connection: nobody knows whether it was done."""
    link = arena.links[step.target]
    began, lost_before = asyncio.get_running_loop().time(), link.commits_lost
    try:
        while (
            lost := link.commits_lost - lost_before
        ) == 0 or asyncio.get_running_loop().time() < began + step.seconds:
            if asyncio.get_running_loop().time() > began + step.seconds + _COMMIT_PATIENCE_S:
                break
            link.lose_next_commit()
            await asyncio.sleep(_COMMIT_POLL_S)
    finally:
        link.lose_no_commit()
    return lost


_UNANSWERED = {"body": "busy", "times": 1_000_000}


@fault("horizon-errors", seconds=(1, 10), targets=("500", "502", "503", "504"))
async def horizon_errors(arena: Arena, step: Step) -> None:
    """Horizon answers every request with an error of its own or of its balancer."""
    await _horizon(arena, step, {**_UNANSWERED, "status": int(step.target)})


@fault("horizon-429", seconds=(1, 8))
async def horizon_429(arena: Arena, step: Step) -> None:
    """Horizon says that there were too many requests, and to come back in a second."""
    await _horizon(arena, step, {**_UNANSWERED, "status": 429, "headers": {"Retry-After": "1"}})


@fault("horizon-cut", seconds=(1, 10))
async def horizon_cut(arena: Arena, step: Step) -> None:
    """Horizon's answers break off in the middle of their bodies."""
    await _horizon(arena, step, {"times": 1_000_000, "cut_after_bytes": 1 + int(step.chance * 600)})


@fault("horizon-lag", seconds=(2, 15))
async def horizon_lag(arena: Arena, step: Step) -> None:
    """Half of Horizon's answers come from a replica that is some ledgers behind."""
    lag = 1 + int(step.chance * 20)
    ends_at = asyncio.get_running_loop().time() + step.seconds
    while asyncio.get_running_loop().time() < ends_at:
        await arena.tell_chain("faults", [{"times": 3, "lag_ledgers": lag}])
        await asyncio.sleep(0.2)
    await arena.tell_chain("faults", None, method="DELETE")


@fault("horizon-submissions", seconds=(2, 10))
async def horizon_submissions(arena: Arena, step: Step) -> None:
    """Horizon takes the executor's transactions and answers 504: whether they got in is not known."""
    await _horizon(
        arena, step, {"method": "POST", "times": 1_000_000, "status": 504, "after_effect": True, "body": "timeout"}
    )


async def _horizon(arena: Arena, step: Step, trouble: dict[str, object]) -> None:
    await arena.tell_chain("faults", [trouble])
    try:
        await asyncio.sleep(step.seconds)
    finally:
        await arena.tell_chain("faults", None, method="DELETE")
