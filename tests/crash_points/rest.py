"""When a world has come to rest: nothing is open, every wallet is stored as the chain has it, and it stays so."""

import asyncio
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from schema import balance_event, deposit_result
from schema.service import kafka
from schema.service.settings import KafkaSettings
from tests.crash_points.scene import GROUP, PARTITIONS, World

REST_WITHIN_S: Final = 60.0  # without anything having changed
REST_LOOKS: Final = 3
LOOK_S: Final = 0.2

_OPEN: Final = """
select (select count(*) from deposit_commands where status = 'pending' and wallet_id = any($1::uuid[])) as pending,
       (select count(*) from deposit_commands where status = 'published' and wallet_id = any($1::uuid[])) as published,
       (select count(*) from stellar_wallets where due_at is not null and id = any($1::uuid[])) as due,
       (select count(*) from read_requests where done_at is null and wallet_id = any($1::uuid[])) as requests
"""
_DONE: Final = """
select (select count(*) from balance_snapshots), (select count(*) from dead_letters),
       (select count(*) from deposit_commands), (select count(*) from deposit_commands where completed_at is not null)
"""
_READ: Final = [
    TopicPartition(topic, partition)
    for topic in (balance_event.TOPIC, deposit_result.TOPIC)
    for partition in range(PARTITIONS)
]


async def come_to_rest(world: World) -> str:
    """With both processes up and no more payments: what still moves when the time is over; nothing, hopefully. Nobody
    is read again for it: a payment or a change that was passed over must show.
    """
    await world.traffic(0)
    await world.clear_faults()
    await world.ledgers_close()
    admin = AIOKafkaAdminClient(**kafka.connection(KafkaSettings(kafka_bootstrap_servers=world.node.bootstrap_servers)))
    await admin.start()
    try:
        return await _watch(world, admin)
    finally:
        await admin.close()


async def _watch(world: World, admin: AIOKafkaAdminClient) -> str:
    now_s = asyncio.get_running_loop().time
    ends_at, looks, moves, seen = now_s() + REST_WITHIN_S, 0, "", None
    while looks < REST_LOOKS and now_s() < ends_at:
        moves = await _what_moves(world)
        looks = 0 if moves else looks + 1
        if seen != (seen := await _progress(world, admin)):
            ends_at = now_s() + REST_WITHIN_S
        await asyncio.sleep(LOOK_S)
    return moves


async def _what_moves(world: World) -> str:
    wallets = list(world.stage.wallets)
    open_rows = await world.pool.fetchrow(_OPEN, wallets)
    if any(open_rows):
        return f"open: {dict(open_rows)}"
    rows = await world.pool.fetch(
        "select public_key, balance_ledger from stellar_wallets where id = any($1::uuid[])", wallets
    )
    for row in rows:
        path = f"accounts/{row['public_key']}/history?asset={world.stage.asset}"
        history = await world.stage.ask_chain(path)
        if (history["last_modified_ledger"] or 0) > (row["balance_ledger"] or 0):
            return f"{row['public_key']} is stored as of ledger {row['balance_ledger']}"
    return ""


async def _progress(world: World, admin: AIOKafkaAdminClient) -> tuple[Any, ...]:
    """What changes while there is work: rows, and the consumer's places, for a duplicate leaves no row."""
    places = await admin.list_consumer_group_offsets(GROUP, partitions=_READ)
    return (*await world.pool.fetchrow(_DONE), *sorted((*at, place.offset) for at, place in places.items()))
