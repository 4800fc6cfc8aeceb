"""What must go on around a process so that it comes by a point: its pace, its environment, and what is done to it."""

import asyncio
import importlib
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg
import orjson

from tests.crash_points.nursery import Life
from tests.crash_points.scene import SESSION_MS, World

# Every life looks, tries again and gives up sooner than in production, so that a kill takes a moment and not minutes.
PACE: Final[Mapping[str, float]] = {
    "producers.stream.CHECK_S": 0.3,
    "producers.stream.AGAIN_S": 0.05,
    "producers.stream.AGAIN_S_MAX": 0.3,
    "producers.wallet_feed.REQUESTS_POLL_S": 0.3,
    "producers.store.ALIVE_S": 0.3,
    "producers.store.AGAIN_S": 0.1,
    "producers.reader.LAGGING_WAIT_S": 0.05,
    "producers.reader.FAILED_WAIT_S_MAX": 0.5,
    "producers.horizon.RETRY_WAIT_S_MAX": 0.1,
    "producers.horizon.RETRY_JITTER_S": 0.05,
    "producers.horizon.PAUSE_S": 0.3,
    "producers.publisher.AGAIN_S_MAX": 0.2,
    "consumer.loop.RECONNECT_DELAY_S": 0.1,
    "consumer.loop.SILENT_AFTER_S": 0.3,
    "consumer.outbox.FAILED_RETRY_S": 0.1,
    "consumer.service.MIGRATED_CHECK_S": 0.1,
    "consumer.waits.DUE_EVERY_S": 0.2,
    "consumer.waits.EXPIRED_EVERY_S": 0.3,
    "schema.service.database.AGAIN_S_MAX": 0.2,
    "schema.service.kafka._ABANDON_STEP_S": 0.1,
}
HASTE_S: Final = 0.0005
APPLICATIONS: Final = {"stream": "producers", "consumer": "stellar-consumer"}

Urge = Callable[[World, Life, str], Coroutine[Any, Any, None]]  # is cancelled when the process has died


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`urge` is done to the process while it lives; `constants` and `environment` are its own."""

    urge: Urge
    constants: Mapping[str, float] = field(default_factory=dict)
    environment: Callable[[World], Mapping[str, str]] = lambda _world: {}
    prepare: Callable[[World], Awaitable[None]] | None = None  # before it starts
    within_s: float = 15.0  # not passed within this it is tried once more
    hits_max: int = 3  # which pass it dies at is drawn from so many; 1 where a life passes once
    has_faults: bool = False  # in Horizon: they end with the life, or they would pile up


async def _nothing(_world: World, _life: Life, _role: str) -> None:
    """Payments and errands go on: that is enough."""


async def _stop(world: World, life: Life, _role: str) -> None:
    """SIGTERM amid its work."""
    await asyncio.sleep(world.rng.uniform(0.1, 1.5))
    life.signal(signal.SIGTERM)


async def _stop_at_work(world: World, life: Life, _role: str) -> None:
    """SIGTERM when it has surely begun."""
    await asyncio.sleep(world.rng.uniform(1.5, 3.0))
    life.signal(signal.SIGTERM)


async def _lose_connections(world: World, _life: Life, role: str) -> None:
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


async def _read_only(world: World, _life: Life, role: str) -> None:
    """New connections can read alone, as on a standby; then all is well again."""
    name = await world.pool.fetchval("select current_database()")
    try:
        while True:
            await asyncio.sleep(world.rng.uniform(0.2, 1.0))
            await world.pool.execute(f'alter role postgres in database "{name}" set default_transaction_read_only = on')
            await _disconnect(world, role)
            await asyncio.sleep(0.5)
            await world.pool.execute(f'alter role postgres in database "{name}" reset default_transaction_read_only')
            await asyncio.sleep(0.5)
    finally:
        await asyncio.shield(_writable(world, name))


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


async def _source_troubles(world: World, _life: Life, _role: str) -> None:
    """Horizon fails, is busy, or says nonsense; each in turn."""
    troubles: tuple[dict[str, Any], ...] = (
        {"path_prefix": "/payments", "status": 503, "times": 6},
        {"path_prefix": "/payments", "status": 429, "headers": {"Retry-After": "1"}},
        {"path_prefix": "/payments", "stream_error": "internal error"},
        {"path_prefix": "/", "status": 200, "body": "nonsense", "times": 8},
        {"path_prefix": "/accounts/", "status": 503, "times": 8},
        {"path_prefix": "/accounts/", "lag_ledgers": 5, "times": 4},
    )
    while True:
        for trouble in world.rng.sample(troubles, len(troubles)):
            await world.add_fault(**trouble)
            await asyncio.sleep(0.4)
        await world.stage.http.delete(f"{world.stage.horizon_url}/sandbox/faults")


async def _silence_source(world: World) -> None:
    """Horizon answers nothing of use at all."""
    await world.add_fault(path_prefix="/", status=200, body="nonsense", times=60)


async def _break_push(world: World) -> None:
    """Pages are there; the stream of payments is refused, ends at once, or fails."""
    for _ in range(20):
        await world.add_fault(path_prefix="/payments", only="stream", status=503)
        await world.add_fault(path_prefix="/payments", only="stream", stream="close")
        await world.add_fault(path_prefix="/payments", only="stream", stream_error="internal error")


async def _puzzle(world: World, _life: Life, _role: str) -> None:
    """An account's page that makes no sense, until it is a dead letter of the stream; and again."""
    wallet_id, account_id = world.unlucky
    page = orjson.dumps({"account_id": account_id, "balances": "many"}).decode()
    ledger = (await world.stage.ask_chain(f"accounts/{account_id}/history"))["ledger"]
    headers = {"Latest-Ledger": str(ledger), "Content-Type": "application/json"}
    fault = {"path_prefix": f"/accounts/{account_id}", "status": 200, "body": page, "headers": headers, "times": 10**6}
    await world.add_fault(**fault)
    while True:
        await world.request_read(wallet_id)
        await asyncio.sleep(0.3)


async def _cross_offers(world: World, _life: Life, _role: str) -> None:
    """Changes that no payment shows: a read is beyond what was drained."""
    while True:
        await world.cross_offer()


async def _speak_of_wallets(world: World, _life: Life, _role: str) -> None:
    """Wallets are said to be new."""
    while True:
        await world.speak_of_wallet()
        await asyncio.sleep(0.2)


async def _lock_wallets(world: World, life: Life, _role: str) -> None:
    """Reading all wallets waits for a lock when it is told to stop."""
    await asyncio.sleep(world.rng.uniform(1.0, 2.0))
    async with world.pool.acquire() as connection, connection.transaction():
        await connection.execute("lock table stellar_wallets in access exclusive mode")
        await world.pool.execute("select pg_notify('stellar_wallets', '')")
        await asyncio.sleep(0.5)
        life.signal(signal.SIGTERM)
        await asyncio.sleep(1.0)


async def _freeze_broker(world: World, life: Life, _role: str) -> None:
    """It stops with a request on its way to a broker that answers nothing."""
    await asyncio.sleep(world.rng.uniform(1.5, 2.5))
    try:
        world.node.pause()
        await world.write_dead_letter()
        await world.pay_many()
        await asyncio.sleep(1.2)
        life.signal(signal.SIGTERM)
        await asyncio.sleep(2.0)
    finally:
        world.node.resume()


async def _hold_outbox(world: World, _life: Life, _role: str) -> None:
    """Another relay is at it."""
    while True:
        async with world.pool.acquire() as connection, connection.transaction():
            await connection.fetchval("select pg_advisory_xact_lock(1701011809, hashtext('testnet'))")
            await asyncio.sleep(0.3)
        await asyncio.sleep(0.1)


async def _stall_batch(world: World, life: Life, _role: str) -> None:
    """The group forgets it while a batch waits for a lock: it must hand over with the batch in hand."""
    while True:
        await asyncio.sleep(world.rng.uniform(1.5, 2.0))
        async with world.pool.acquire() as connection, connection.transaction():
            await connection.fetch("select id from stellar_wallets order by id for update")
            await asyncio.sleep(0.7)  # a batch has come to wait
            life.signal(signal.SIGSTOP)
            await asyncio.sleep(SESSION_MS / 1000 + 0.7)
            life.signal(signal.SIGCONT)
            await asyncio.sleep(1.0)


async def _put_back(world: World, _life: Life, _role: str) -> None:
    """A state put back by hand: its fact comes again, and had caused its command before."""
    wallet_id, account_id = world.meddled
    pay_at = 0.0
    while True:
        await asyncio.sleep(0.2)
        async with world.pool.acquire() as connection, connection.transaction():
            state = await connection.fetchrow(_MEDDLED, wallet_id)
            if state["ledger"] is not None and not state["open"]:
                await connection.execute(
                    "delete from balance_snapshots where wallet_id = $1 and ledger >= $2", wallet_id, state["ledger"]
                )
                await connection.execute(
                    "update stellar_wallets set previous_usdc_balance = 0, balance_ledger = $2 - 1, protected_usdc = 0,"
                    " failures_in_a_row = 0, retry_of = null, due_at = null, latest_snapshot_id = null where id = $1",
                    wallet_id,
                    state["ledger"],
                )
        if state["ledger"] is not None:
            await world.request_read(wallet_id)
        elif not state["open"] and asyncio.get_running_loop().time() >= pay_at:
            # Nothing to put back: the next fact will cause a command, and that will fail.
            await world.stage.tell_chain("pay", [{"to": account_id, "amount": "2.0000000"}])
            pay_at = asyncio.get_running_loop().time() + 5.0


_MEDDLED: Final = """
select (select max(s.ledger) from deposit_commands c join balance_snapshots s on s.event_id::text = c.caused_by
         where c.wallet_id = $1 and c.status in ('failed', 'expired') and s.ledger = (
           select max(ledger) from balance_snapshots where wallet_id = $1)) as ledger,
       (select count(*) from deposit_commands where wallet_id = $1 and status in ('pending', 'published')) as open
"""


def _elsewhere(**changed: str) -> Callable[[World], Mapping[str, str]]:
    return lambda _world: changed


def _not_migrated(world: World) -> Mapping[str, str]:
    """The server's own database, which has no tables of ours."""
    name = world.stage.database_url.partition("@/")[2].partition("?")[0]
    return {"DATABASE_URL": world.stage.database_url.replace(f"@/{name}?", "@/postgres?")}


def _hasty(*names: str) -> dict[str, float]:
    return dict.fromkeys(names, HASTE_S)


_HASTY_STOP: Final = _hasty(
    "producers.publisher.STOP_WITHIN_S", "consumer.outbox.STOP_DEADLINE_S", "consumer.loop.STOP_DEADLINE_S"
)
SCENARIOS: Final[Mapping[str, Scenario]] = {
    "payments": Scenario(urge=_nothing),
    "portions": Scenario(urge=_nothing, constants={"producers.publisher.FACTS_AT_ONCE": 2}),
    "stop": Scenario(urge=_stop, hits_max=1),
    "stop_at_work": Scenario(urge=_stop_at_work, hits_max=1),
    "connections_lost": Scenario(urge=_lose_connections),
    "wallets_locked": Scenario(urge=_lock_wallets, hits_max=1),
    "wallets_spoken_of": Scenario(urge=_speak_of_wallets),
    "offers_crossed": Scenario(urge=_cross_offers),
    "account_puzzling": Scenario(urge=_puzzle, hits_max=1, has_faults=True),
    "read_only": Scenario(urge=_read_only),
    "source_troubles": Scenario(urge=_source_troubles, has_faults=True),
    "source_silent": Scenario(urge=_nothing, prepare=_silence_source, has_faults=True),
    "push_broken": Scenario(urge=_nothing, prepare=_break_push, has_faults=True),
    "source_behind": Scenario(
        urge=_nothing,
        constants={"producers.history.REPLICA_LAG_LEDGERS": -(10**9), "producers.history.LAGGING_WAIT_S": 0.05},
    ),
    "quiet": Scenario(
        urge=_nothing, constants={"consumer.loop.SILENT_AFTER_S": 0.05, "consumer.loop.POLL_TIMEOUT_MS": 50}
    ),
    "outbox_held": Scenario(urge=_hold_outbox),
    "batch_stalled": Scenario(urge=_stall_batch, hits_max=1),
    "put_back": Scenario(urge=_put_back, hits_max=1, within_s=40.0),
    "no_broker": Scenario(urge=_nothing, environment=_elsewhere(KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")),
    "not_migrated": Scenario(urge=_nothing, environment=_not_migrated),
    "hasty_start": Scenario(urge=_nothing, constants=_hasty("schema.service.kafka.START_WITHIN_S")),
    "hasty_send": Scenario(
        urge=_nothing, constants=_hasty("producers.publisher.ACKS_WITHIN_S", "consumer.outbox.SEND_DEADLINE_S")
    ),
    "hasty_stop": Scenario(urge=_stop_at_work, hits_max=1, constants=_HASTY_STOP),
    "broker_frozen": Scenario(
        urge=_freeze_broker, hits_max=1, constants={**_HASTY_STOP, "consumer.outbox.SEND_DEADLINE_S": 0.3}
    ),
}


def missing_constants() -> list[str]:
    """The constants above that the code does not have."""
    named = {name for scenario in SCENARIOS.values() for name in scenario.constants} | PACE.keys()
    return [name for name in sorted(named) if not _is_there(*name.rsplit(".", 1))]


def _is_there(module: str, name: str) -> bool:
    return hasattr(importlib.import_module(module), name)
