"""What is done around a process, or to it, so that it comes by a point; cancelled when it has died."""

import asyncio
import signal
from functools import partial
from typing import Any, Final

import asyncpg
import orjson

from tests.crash_points.nursery import Life
from tests.crash_points.scene import SESSION_MS, World
from tests.waiting import until

APPLICATIONS: Final = {"stream": "producers", "consumer": "stellar-consumer"}


async def nothing(_world: World, _life: Life, _role: str) -> None:
    """Payments and errands go on: that is enough."""


async def stop(world: World, life: Life, _role: str) -> None:
    """SIGTERM amid its work."""
    await asyncio.sleep(world.rng.uniform(0.1, 1.5))
    life.signal(signal.SIGTERM)


async def stop_at_work(world: World, life: Life, role: str) -> None:
    """SIGTERM when it has surely begun."""
    await _begun(world, life, role)
    await asyncio.sleep(world.rng.uniform(1.0, 2.5))
    life.signal(signal.SIGTERM)


async def _begun(world: World, life: Life, role: str) -> None:
    """It is connected to the database: what comes first is over."""
    is_there = partial(world.pool.fetchval, _CONNECTED_SINCE, APPLICATIONS[role], life.born_at)
    await until(is_there, f"the {role} is connected")


async def lose_connections(world: World, _life: Life, role: str) -> None:
    """The server ends its connections, again and again."""
    while True:
        await asyncio.sleep(world.rng.uniform(0.1, 0.8))
        await _disconnect(world, role)


async def _disconnect(world: World, role: str) -> None:
    query = (
        "select count(pg_terminate_backend(pid)) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
        " and (application_name = $1 or ($1 = 'producers' and application_name = '' and query like any($2::text[])))"
    )
    await world.pool.fetchval(query, APPLICATIONS[role], ["LISTEN%", "select 1"])


async def read_only(world: World, _life: Life, role: str) -> None:
    """New connections can read alone, as on a standby; then all is well again."""
    name = await world.pool.fetchval("select current_database()")
    default = f'alter role postgres in database "{name}" {{}} default_transaction_read_only'
    try:
        async with world.pool.acquire() as connection:  # from before: it may write all the while
            while True:
                await asyncio.sleep(world.rng.uniform(0.2, 1.0))
                await connection.execute(default.format("set") + " = on")
                cut_at = await connection.fetchval("select now()")
                await _disconnect(world, role)
                is_back = partial(connection.fetchval, _CONNECTED_SINCE, APPLICATIONS[role], cut_at)
                await until(is_back, f"the {role} is connected again")
                await asyncio.sleep(0.5)  # it tries to write
                await connection.execute(default.format("reset"))
    finally:
        await asyncio.shield(_writable(world, name))


_CONNECTED_SINCE: Final = """
select count(*) from pg_stat_activity
where datname = current_database() and application_name = $1 and backend_start > $2
"""


async def _writable(world: World, name: str) -> None:
    connection = await asyncpg.connect(world.stage.database_url)
    try:
        await connection.execute("set default_transaction_read_only = off")
        await connection.execute(f'alter role postgres in database "{name}" reset default_transaction_read_only')
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()


async def source_troubles(world: World, _life: Life, _role: str) -> None:
    """Horizon fails, is busy, or says nonsense; each in turn."""
    lagging = world.lagging(lag_ledgers=5, times=4)
    troubles: tuple[dict[str, Any], ...] = (
        {"path_prefix": "/payments", "status": 503, "times": 6},
        {"path_prefix": "/payments", "status": 429, "headers": {"Retry-After": "1"}},
        {"path_prefix": "/payments", "stream_error": "internal error"},
        {"path_prefix": "/effects", "status": 503, "times": 6},
        {"path_prefix": "/", "status": 200, "body": "nonsense", "times": 8},
        {"path_prefix": "/accounts/", "status": 503, "times": 8},
        lagging,
    )
    while True:
        for trouble in world.rng.sample(troubles, len(troubles)):
            await world.add_fault(**trouble)
            await asyncio.sleep(0.4)
        await world.stage.http.delete(f"{world.stage.horizon_url}/sandbox/faults")


async def silence_source(world: World) -> None:
    """Horizon answers nothing of use at all."""
    await world.add_fault(path_prefix="/", status=200, body="nonsense", times=60)


async def break_push(world: World) -> None:
    """Pages are there; the streams of payments and effects are refused, end at once, or fail."""
    for _ in range(20):
        for path in ("/payments", "/effects"):
            await world.add_fault(path_prefix=path, only="stream", status=503)
            await world.add_fault(path_prefix=path, only="stream", stream="close")
            await world.add_fault(path_prefix=path, only="stream", stream_error="internal error")


async def puzzle(world: World, _life: Life, _role: str) -> None:
    """An account's page that makes no sense, until it is a dead letter of the stream; and again."""
    wallet_id, account_id = world.unlucky
    page = orjson.dumps({"account_id": account_id, "balances": "many"}).decode()
    headers = {"Latest-Ledger": str(await world.newest_ledger()), "Content-Type": "application/json"}
    fault = {"path_prefix": f"/accounts/{account_id}", "status": 200, "body": page, "headers": headers, "times": 10**6}
    await world.add_fault(**fault)
    while True:
        await world.request_read(wallet_id)
        await asyncio.sleep(0.3)


async def cross_offers(world: World, _life: Life, _role: str) -> None:
    """Changes that no payment shows: a read is beyond what was drained."""
    while True:
        await asyncio.gather(*(world.cross_offer() for _ in range(3)))


async def speak_of_wallets(world: World, _life: Life, _role: str) -> None:
    """Wallets are said to be new."""
    while True:
        await world.speak_of_wallet()
        await asyncio.sleep(0.2)


async def lock_wallets(world: World, life: Life, role: str) -> None:
    """Reading all wallets, the first thing it does, waits for a lock when it is told to stop."""
    async with world.pool.acquire() as connection, connection.transaction():
        await connection.execute("lock table stellar_wallets in access exclusive mode")
        while True:
            await asyncio.sleep(0.05)
            if await _is_waiting(connection, role):
                break
        life.signal(signal.SIGTERM)
        await asyncio.sleep(1.0)


async def _is_waiting(connection: asyncpg.Connection, role: str) -> bool:
    query = (
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and application_name = $1 and wait_event_type = 'Lock'"
    )
    return bool(await connection.fetchval(query, APPLICATIONS[role]))


async def freeze_broker(world: World, life: Life, role: str) -> None:
    """A request is on its way to a broker that answers nothing, longer than the process waits for it."""
    await _begun(world, life, role)
    while True:
        await asyncio.sleep(world.rng.uniform(0.5, 1.5))
        try:
            world.node.pause()
            await world.write_dead_letter()
            await world.pay_many()
            await asyncio.sleep(2.5)
        finally:
            world.node.resume()


async def hold_outbox(world: World, _life: Life, _role: str) -> None:
    """Another relay is at it."""
    while True:
        async with world.pool.acquire() as connection, connection.transaction():
            await connection.fetchval("select pg_advisory_xact_lock(1701011809, hashtext('testnet'))")
            await asyncio.sleep(0.3)
        await asyncio.sleep(0.1)


async def stall_batch(world: World, life: Life, role: str) -> None:
    """The group forgets it while a batch waits for a lock: it must hand over with the batch in hand."""
    while True:
        await asyncio.sleep(world.rng.uniform(0.2, 1.0))
        async with world.pool.acquire() as connection, connection.transaction():
            await connection.fetch("select id from stellar_wallets order by id for update")
            await until(partial(_is_waiting, connection, role), "a batch has come to wait")
            life.signal(signal.SIGSTOP)
            await asyncio.sleep(SESSION_MS / 1000 + 0.7)
            life.signal(signal.SIGCONT)
            await asyncio.sleep(2.0)


async def pay_capped(world: World, _life: Life, _role: str) -> None:
    """The wallet with a daily cap is paid, so that what was issued on the day is asked for."""
    while True:
        await world.pay([world.capped], "1.5")
        await asyncio.sleep(0.3)


async def put_back(world: World, _life: Life, _role: str) -> None:
    """A state put back by hand, again and again: its fact comes once more, and had caused its command before."""
    wallet_id, account_id = world.meddled
    fact = world.fact_by_hand(account_id, await world.newest_ledger(), "2")
    while True:
        async with world.pool.acquire() as connection, connection.transaction():
            await connection.execute("select id from stellar_wallets where id = $1 for update", wallet_id)
            is_open = await connection.fetchval(_IS_OPEN, wallet_id)
            if not is_open:
                await connection.execute("delete from balance_snapshots where wallet_id = $1", wallet_id)
                await connection.execute(_PUT_BACK, wallet_id)
        if not is_open:  # the first time nothing was caused yet: the executor fails the command, which ends it
            await world.send([fact])
        await asyncio.sleep(0.2)


_IS_OPEN: Final = "select exists (select from deposit_commands where wallet_id = $1 and completed_at is null)"
_PUT_BACK: Final = """
update stellar_wallets set previous_usdc_balance = 0, balance_ledger = 1, protected_usdc = 0, failures_in_a_row = 0,
  retry_of = null, due_at = null, held_at = null, latest_snapshot_id = null where id = $1
"""
