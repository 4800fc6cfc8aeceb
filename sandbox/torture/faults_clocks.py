"""Clocks that are off by a day."""

import asyncio

import asyncpg

from sandbox.torture.arena import CONSUMERS, EXECUTOR, OURS, STREAMS, Arena
from sandbox.torture.plan import Step
from sandbox.torture.registry import fault

DAY_S = 86_400
_EVEN = 0.5
_CLOCKS = ("now", "clock_timestamp", "transaction_timestamp", "statement_timestamp")


@fault("clock-stream", seconds=(3, 15), targets=STREAMS[:1], costs_s=1)
async def clock_stream(arena: Arena, step: Step) -> None:
    """The stream runs with a clock that is a day ahead or behind."""
    await _shifted(arena, step)


@fault("clock-consumer", seconds=(3, 15), targets=CONSUMERS[:2], costs_s=1)
async def clock_consumer(arena: Arena, step: Step) -> None:
    """A consumer runs with a clock that is a day ahead or behind."""
    await _shifted(arena, step)


@fault("clock-executor", seconds=(3, 15), targets=(EXECUTOR,), costs_s=1)
async def clock_executor(arena: Arena, step: Step) -> None:
    """The executor runs with a clock that is a day ahead or behind."""
    await _shifted(arena, step)


async def _shifted(arena: Arena, step: Step) -> None:
    program = arena.programs[step.target]
    program.shift_s = _shift_s(step)
    await program.kill()
    try:
        await asyncio.sleep(step.seconds)
    finally:
        program.shift_s = 0
        await program.kill()


def _shift_s(step: Step) -> int:
    return DAY_S if step.chance < _EVEN else -DAY_S


@fault("clock-database", seconds=(2, 10))
async def clock_database(arena: Arena, step: Step) -> None:
    """What our programs ask PostgreSQL for as the time is a day ahead or behind; their waits are then made right."""
    connection = await asyncpg.connect(arena.postgres.url(), server_settings={"application_name": OURS})
    try:
        await connection.execute("create schema if not exists shifted; grant usage on schema shifted to public")
        for name in _CLOCKS:
            await connection.execute(
                f"create or replace function shifted.{name}() returns timestamptz language sql as"
                f" $$select pg_catalog.{name}() + interval '{_shift_s(step)} seconds'$$"
            )
        await connection.execute("alter database postgres set search_path = shifted, pg_catalog, public")
        await connection.execute(_END_CONNECTIONS, OURS)
        try:
            await asyncio.sleep(step.seconds)
        finally:
            await connection.execute("alter database postgres reset search_path")
            await connection.execute(_END_CONNECTIONS, OURS)
        await connection.execute(_END_WAITS)
    finally:
        await connection.close()


# The setting counts for connections that are made from now on.
_END_CONNECTIONS = """
select pg_terminate_backend(pid) from pg_stat_activity
where backend_type = 'client backend' and application_name <> $1
"""
# As docs/operations.md says of a clock that was wrong: what waits for a day that is not near is tried now.
_END_WAITS = "update stellar_wallets set due_at = now() where due_at > now() + interval '1 hour'"
