"""No hang: whatever falls silent or goes away, work goes on by itself, soon, and the readiness pages tell the truth."""

import asyncio
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from decimal import Decimal
from functools import partial
from pathlib import Path

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from sandbox import rest
from sandbox.apache_kafka import JARS
from sandbox.options import Options
from sandbox.torture import arena
from sandbox.torture.arena import Arena
from sandbox.torture.faults_stores import broker_freeze, database_freeze, start_database
from sandbox.torture.plan import Step
from sandbox.torture.proxy import Mode
from tests.fixtures_brokers import need_apache_kafka
from tests.waiting import until

pytestmark = [pytest.mark.alone, pytest.mark.kafka, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

HALF_OPEN_S = 15.0
KAFKA_BACK_S = 10.0
DATABASE_BACK_S = 5.0
PATIENCE_S = 60.0
STREAM, CONSUMER, EXECUTOR = "stream-a", "consumer-1", "executor"
PROGRAMS = (STREAM, CONSUMER, EXECUTOR)
OURS = (STREAM, CONSUMER)  # the executor's pages are for whoever writes one
OTHERS = ("horizon", "database", "kafka")
UNITS = 20


class World:
    """One stream, one consumer, one executor; a link between any two parts."""

    def __init__(self, arena: Arena, http: aiohttp.ClientSession) -> None:
        self.arena = arena
        self.wallet_id, self.account_id = next(iter(arena.wallets.items()))
        self.paid = 0
        self._http = http

    async def pay(self) -> None:
        """A payment above the minimum."""
        self.paid += UNITS
        await self.arena.tell_chain("pay", {"to": self.account_id, "amount": f"{UNITS}.0000000"})

    async def all_deposited(self) -> bool:
        """Whether all that was paid has ended in commands that were carried out, their results known."""
        query = "select sum(deposited_amount) from deposit_commands where wallet_id = $1 and status = 'succeeded'"
        try:
            return bool(await self.arena.pool.fetchval(query, self.wallet_id) == Decimal(self.paid))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):  # the server that was killed
            return False

    async def back_within(self, seconds: float, what: str) -> None:
        """A payment made now is deposited within so many seconds, with all before it. The time is printed."""
        began = time.monotonic()
        await self.pay()
        await until(self.all_deposited, f"a payment after: {what}", deadline_s=PATIENCE_S)
        took_s = time.monotonic() - began
        print(f"{what}: {took_s:.1f} s")  # noqa: T201 - the figure for the report
        assert took_s <= seconds

    async def unready(self, program: str) -> str:
        """What the program's readiness page complains of; empty when it is ready."""
        address = _address(self.arena.programs[program].log.read_bytes())
        async with self._http.get(f"{address}/readyz") as answer:
            said: str = "" if answer.status == 200 else await answer.text()
        return said

    async def all_ready(self) -> bool:
        return not any([await self.unready(program) for program in PROGRAMS])


def _links(programs: Iterable[str], other: str) -> list[str]:
    return [f"{program}:{other}" for program in programs if other in arena.speaks_to(program)]


def _address(log: bytes) -> str:
    """Where the program's last start serves its pages."""
    addresses: list[bytes] = re.findall(rb'"address": ?"([^"]+)"', log)
    return addresses[-1].decode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[World]:
    """Everything up, baselines read."""
    folder = Path(tempfile.mkdtemp(prefix="no-hang-"))  # PostgreSQL's own user must get in
    if not JARS.is_dir():
        need_apache_kafka()
    options = Options(
        wallets=1,
        payments_per_s=0,
        ledger_s=0.5,
        seed=1,
        min_deposit="10",
        failure_rate=0,
        folder=folder,
    )
    async with (
        arena.set_up(options, lambda _: None, with_disks=False, quiet_wallets=0) as up,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http,
    ):
        for program in PROGRAMS:
            up.programs[program].wanted = True
        await until(lambda: rest.has_baselines(up), "the baselines", deadline_s=PATIENCE_S)
        yield World(up, http)
        assert up.ended.found == []
    shutil.rmtree(folder)


@pytest_asyncio.fixture(loop_scope="module")
async def world(running: World) -> World:
    """At rest, and everybody ready."""
    await until(running.all_ready, "everybody is ready", deadline_s=PATIENCE_S)
    await running.back_within(PATIENCE_S, "nothing")
    return running


@pytest.mark.parametrize("link", [f"{program}:{other}" for program in PROGRAMS for other in arena.speaks_to(program)])
async def test_a_half_open_link_is_left_for_another_within_15_s(world: World, link: str) -> None:
    """Its connections stay, and nothing passes them any more, ever: new ones take their place."""
    world.arena.links[link].silence()
    await world.back_within(HALF_OPEN_S, f"{link} half-open")
    await until(world.all_ready, "everybody is ready again", deadline_s=HALF_OPEN_S)


@pytest.mark.parametrize("other", OTHERS)
async def test_links_that_lead_nowhere_are_said_within_15_s_and_found_again(world: World, other: str) -> None:
    """New connections are taken and never answered either: the pages say so; when they are, work goes on."""
    began = time.monotonic()
    for link in _links(PROGRAMS, other):
        await world.arena.links[link].set_mode(Mode.MUTE)
    await world.pay()
    try:
        for link in _links(OURS, other):
            program = link.partition(":")[0]
            await until(partial(world.unready, program), f"{program} says that it is not ready", deadline_s=PATIENCE_S)
        assert time.monotonic() - began <= HALF_OPEN_S
    finally:
        for link in _links(PROGRAMS, other):
            await world.arena.links[link].set_mode(Mode.OPEN)
    await world.back_within(DATABASE_BACK_S if other == "database" else KAFKA_BACK_S, f"{other} answers again")
    await until(world.all_ready, "everybody is ready again", deadline_s=HALF_OPEN_S)


async def test_the_broker_back_it_works_again_within_10_s(world: World) -> None:
    """Apache Kafka is killed, all say that they are not ready, and it starts again."""
    await asyncio.to_thread(world.arena.kafka.kill)
    for program in OURS:
        await until(partial(world.unready, program), f"{program} says so", deadline_s=HALF_OPEN_S)
    await asyncio.to_thread(world.arena.kafka.start)
    await world.back_within(KAFKA_BACK_S, "the broker is back")


async def test_the_database_back_it_works_again_within_5_s(world: World) -> None:
    """PostgreSQL is killed, those that need it say that they are not ready, and it starts again."""
    await asyncio.to_thread(world.arena.postgres.kill)
    for program in OURS:
        await until(partial(world.unready, program), f"{program} says so", deadline_s=HALF_OPEN_S)
    await start_database(world.arena.postgres)
    await world.back_within(DATABASE_BACK_S, "the database is back")


@pytest.mark.parametrize(("freeze", "back_s"), [(broker_freeze, KAFKA_BACK_S), (database_freeze, DATABASE_BACK_S)])
async def test_a_store_that_was_frozen_goes_on(
    world: World, freeze: Callable[[Arena, Step], Awaitable[None]], back_s: float
) -> None:
    """Stopped for 12 s with all its connections open, then thawed: work goes on by itself."""
    await freeze(world.arena, Step(number=1, name="freeze", target="", seconds=12, gap_s=0, chance=0))
    await world.back_within(back_s, "a frozen store is thawed")
