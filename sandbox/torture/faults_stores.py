"""PostgreSQL and Kafka killed, frozen, read-only, out of disk."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import asyncpg

from sandbox.apache_kafka import ApacheKafka
from sandbox.database import DatabaseUnavailable, PostgresServer
from sandbox.torture.arena import Arena
from sandbox.torture.plan import Step
from sandbox.torture.registry import fault

_AGAIN_S = 0.2
_TRIES = 50


@fault("database-kill", seconds=(0, 6), costs_s=1)
async def database_kill(arena: Arena, step: Step) -> None:
    """PostgreSQL is killed (kill -9), stays away for a while, and recovers."""
    await asyncio.to_thread(arena.postgres.kill)
    await asyncio.sleep(step.seconds)
    await start_database(arena.postgres)


@fault("database-freeze", seconds=(2, 25))
async def database_freeze(arena: Arena, step: Step) -> None:
    """PostgreSQL and all its backends are stopped (SIGSTOP): connections stay, nothing is answered."""
    pids = _family(arena.postgres.pid)
    for pid in pids:
        _signal(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(step.seconds)
    finally:
        for pid in pids:
            _signal(pid, signal.SIGCONT)


def _family(pid: int | None) -> list[int]:
    """A process, and its children."""
    if pid is None:
        return []
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [pid, *(int(child) for child in children.split())]


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # a backend that ended meanwhile
        os.kill(pid, number)


@fault("database-read-only", seconds=(1, 12))
async def database_read_only(arena: Arena, step: Step) -> None:
    """Every transaction is read-only, as after a failover to a standby that is not promoted yet."""
    await _let_write(arena, says="on")
    try:
        await asyncio.sleep(step.seconds)
    finally:
        await _let_write(arena, says="off")


async def _let_write(arena: Arena, *, says: str) -> None:
    connection = await asyncpg.connect(arena.postgres.url())
    try:
        await connection.execute("set default_transaction_read_only = off")
        await connection.execute(f"alter system set default_transaction_read_only = {says}")
        await connection.execute("select pg_reload_conf()")
    finally:
        await connection.close()


@fault("database-full", seconds=(2, 10), costs_s=1, disk="database")
async def database_full(arena: Arena, step: Step) -> None:
    """The disk under PostgreSQL is full, then has room again; where that ended the server it is started again."""
    disk = arena.disks["database"]
    disk.fill()
    try:
        await asyncio.sleep(step.seconds)
    finally:
        disk.free()
    await start_database(arena.postgres)


async def start_database(postgres: PostgresServer) -> None:
    """Have it running and answering, whatever happened before."""
    for _ in range(_TRIES):
        try:
            if postgres.pid is None:
                await asyncio.to_thread(postgres.start)
            connection = await asyncpg.connect(postgres.url(), timeout=10)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            await asyncio.sleep(_AGAIN_S)
        else:
            await connection.close()
            return
    raise DatabaseUnavailable("PostgreSQL did not come back after its torture")


@fault("broker-kill", seconds=(0, 6), costs_s=6)
async def broker_kill(arena: Arena, step: Step) -> None:
    """Kafka is killed (kill -9), stays away for a while, and recovers."""
    await asyncio.to_thread(arena.kafka.kill)
    await asyncio.sleep(step.seconds)
    await asyncio.to_thread(arena.kafka.start)


@fault("broker-freeze", seconds=(2, 20))
async def broker_freeze(arena: Arena, step: Step) -> None:
    """Kafka is stopped (SIGSTOP): connections stay, nothing is answered."""
    arena.kafka.pause()
    try:
        await asyncio.sleep(step.seconds)
    finally:
        arena.kafka.resume()


@fault("broker-full", seconds=(2, 10), costs_s=6, disk="kafka")
async def broker_full(arena: Arena, step: Step) -> None:
    """The disk under Kafka is full, then has room again. The node is started again: it gives a failed disk up."""
    disk = arena.disks["kafka"]
    disk.fill()
    try:
        await asyncio.sleep(step.seconds)
    finally:
        disk.free()
    await restart_broker(arena.kafka)


async def restart_broker(kafka: ApacheKafka) -> None:
    """Whatever state it is in."""
    await asyncio.to_thread(kafka.kill)
    await asyncio.to_thread(kafka.start)
