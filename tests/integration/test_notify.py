"""Producers hear of every wallet that comes, goes or changes its address, and of every request to read one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from tests.people import account_id, acting_as, add_person

Heard = Callable[[], Awaitable[list[str]]]
END = "that was all"  # notifications of one channel arrive in the order of the commits


@pytest.fixture
async def heard(database_url: str) -> AsyncIterator[Callable[[str], Awaitable[Heard]]]:
    """Listens on a channel from another connection; each call of what it returns gives what came since the last one."""
    listener = await asyncpg.connect(database_url)

    async def listen(channel: str) -> Heard:
        arrived: asyncio.Queue[str] = asyncio.Queue()

        def hear(_connection: Any, _pid: int, _channel: str, payload: object) -> None:
            arrived.put_nowait(str(payload))

        await listener.add_listener(channel, hear)

        async def since_last() -> list[str]:
            await listener.execute("select pg_notify($1, $2)", channel, END)
            payloads: list[str] = []
            while (payload := await asyncio.wait_for(arrived.get(), 60)) != END:
                payloads.append(payload)
            return payloads

        return since_last

    yield listen
    await listener.close()


async def test_a_new_wallet_is_heard_of(
    connection: asyncpg.Connection, heard: Callable[[str], Awaitable[Heard]]
) -> None:
    """One wallet inserted, by the owner or by the person: its id. Deleted: its address, for the row is gone."""
    since_last = await heard("stellar_wallets")
    ada = await add_person(connection)
    assert await since_last() == [str(ada.wallet_id)]
    user_id = await connection.fetchval("insert into auth.users (id) values (gen_random_uuid()) returning id")
    async with acting_as(connection, "authenticated", user_id):
        wallet_id = await connection.fetchval(
            "insert into public.stellar_wallets (user_id, public_key, network) values ($1, $2, 'testnet') returning id",
            user_id,
            account_id("new"),
        )
    assert await since_last() == [str(wallet_id)]
    await connection.execute("delete from auth.users where id = $1", ada.user_id)
    assert await since_last() == [f"gone:{ada.account_id}"]


async def test_an_address_that_changes_is_heard_of(
    connection: asyncpg.Connection, heard: Callable[[str], Awaitable[Heard]]
) -> None:
    """Another public_key or network: the address before, and the wallet's id. The pipeline's own say nothing."""
    ada = await add_person(connection)
    since_last = await heard("stellar_wallets")
    await connection.execute(
        "update public.stellar_wallets set previous_usdc_balance = 1, due_at = now(), turnkey_wallet_id = 't', "
        "public_key = public_key"
    )
    assert await since_last() == []
    await connection.execute("update public.stellar_wallets set public_key = $1", account_id("moved"))
    assert await since_last() == [f"gone:{ada.account_id}", str(ada.wallet_id)]
    await connection.execute("update public.stellar_wallets set network = 'mainnet'")
    assert await since_last() == [f"gone:{account_id('moved')}", str(ada.wallet_id)]


@pytest.mark.parametrize(("wallets", "payloads"), [(0, 0), (1, 1), (100, 100), (101, 1), (5000, 1)])
async def test_many_wallets_at_once(
    connection: asyncpg.Connection, heard: Callable[[str], Awaitable[Heard]], wallets: int, payloads: int
) -> None:
    """Up to 100 of one statement are named one by one; more are one empty payload: read them all again."""
    since_last = await heard("stellar_wallets")
    await connection.execute(
        "insert into auth.users (id) select gen_random_uuid() from generate_series(1, $1)", wallets
    )
    for statement in (
        "insert into public.stellar_wallets (user_id, public_key) select id, id::text from auth.users",
        "delete from public.stellar_wallets",
    ):
        await connection.execute(statement)
        said = await since_last()
        assert len(said) == payloads
        assert ("" in said) == (wallets > 100)


async def test_a_read_request_is_heard_of(
    connection: asyncpg.Connection, heard: Callable[[str], Awaitable[Heard]]
) -> None:
    """Each request's id, once it is committed; nothing when a request is done or refused as one too many."""
    ada = await add_person(connection)
    since_last = await heard("read_requests")
    request = "insert into public.read_requests (wallet_id, snapshot_type) values ($1, 'poll') on conflict do nothing"
    await connection.execute(request, ada.wallet_id)
    request_id = await connection.fetchval("select id from public.read_requests")
    assert await since_last() == [str(request_id)]
    await connection.execute(request, ada.wallet_id)
    await connection.execute("update public.read_requests set done_at = now()")
    assert await since_last() == []


async def test_a_request_that_is_done_is_heard_of(
    connection: asyncpg.Connection, heard: Callable[[str], Awaitable[Heard]]
) -> None:
    """Once, by its id, on a channel of its own: who asked waits for that."""
    ada = await add_person(connection)
    since_last = await heard("read_requests_done")
    await connection.execute(
        "insert into public.read_requests (wallet_id, snapshot_type) values ($1, 'manual')", ada.wallet_id
    )
    assert await since_last() == []
    await connection.execute("update public.read_requests set done_at = now()")
    assert await since_last() == [str(await connection.fetchval("select id from public.read_requests"))]
    await connection.execute("update public.read_requests set done_at = now()")
    assert await since_last() == []


async def test_what_is_longer_than_any_address_can_still_go(
    connection: asyncpg.Connection, heard: Callable[[str], Awaitable[Heard]]
) -> None:
    """Anybody who signs up may insert a row with any text for its address, longer than a notification may be: the row
    can be changed, and goes with its person, and others with it.
    """
    ada, bob = await add_person(connection), await add_person(connection)
    change = "update public.stellar_wallets set public_key = $2 where id = $1"
    since_last = await heard("stellar_wallets")
    await connection.execute(change, ada.wallet_id, 9_000 * "A")
    await connection.execute(change, ada.wallet_id, 9_000 * "B")
    await connection.execute("delete from auth.users where id = any($1::uuid[])", [ada.user_id, bob.user_id])
    said = await since_last()
    assert f"gone:{bob.account_id}" in said
    assert max(len(each) for each in said) < 100
