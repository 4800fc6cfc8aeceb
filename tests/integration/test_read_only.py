"""A database that can be read and not written: a standby before its failover is through, or a full disk's defence."""

import asyncpg
import pytest

from consumer.api.store import ApiStore
from producers.store import Away, Store
from schema.stellar import Network
from tests.unit.consumer.worlds import POLICY, USDC


async def make_read_only(database_url: str) -> None:
    """From the next transaction on, as a server does that is asked to."""
    connection = await asyncpg.connect(database_url)
    try:
        name = await connection.fetchval("select current_database()")
        await connection.execute(f'alter database "{name}" set default_transaction_read_only = on')
    finally:
        await connection.close()


async def test_the_api_is_not_ready_where_it_could_only_read(database_url: str) -> None:
    """Who asks for a read gets 503, and the readiness page has to say why."""
    await make_read_only(database_url)
    store = await ApiStore.open(database_url, network=Network.TESTNET, asset=USDC, default_policy=POLICY)
    try:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await store.is_there()
    finally:
        store.close()


async def test_webhooks_are_not_ready_where_none_can_be_noted_as_done(database_url: str) -> None:
    """Their senders get 503, and the readiness page has to say why."""
    async with Store.opened(database_url) as store:
        await store.check_writable()
    await make_read_only(database_url)
    async with Store.opened(database_url) as store:
        with pytest.raises(Away, match="written"):
            await store.check_writable()
