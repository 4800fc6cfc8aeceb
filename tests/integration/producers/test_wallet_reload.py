"""All rows read again in portions, on a real PostgreSQL, while rows come and go between the portions."""

import itertools
from collections.abc import AsyncIterator, Iterable
from uuid import UUID, uuid4

import asyncpg
import pytest

from producers import wallet_reload
from producers.store import WALLETS_AT_ONCE, Store
from producers.wallet_reload import WalletReload
from producers.wallets import Wallets
from schema.stellar import AccountId, Ledger, Network
from tests.people import account_id
from tests.waiting import until

COUNT = 2 * WALLETS_AT_ONCE + 1  # three portions


def wallet_id(number: int) -> UUID:
    """Ids in the order of the numbers."""
    return UUID(int=number << 64)


def key(number: int) -> AccountId:
    return account_id(f"wallet {number}")


async def insert(connection: asyncpg.Connection, numbers: Iterable[int]) -> None:
    """Wallets whose facts are stored."""
    rows = [(wallet_id(number), uuid4(), key(number)) for number in numbers]
    await connection.copy_records_to_table(
        "users", schema_name="auth", columns=["id"], records=[row[1:2] for row in rows]
    )
    await connection.copy_records_to_table(
        "stellar_wallets",
        columns=[
            *("id", "user_id", "public_key", "network", "balance_ledger", "previous_usdc_balance"),
            "balance_authorized",
        ],
        records=[(*row, "testnet", 7, 1, True) for row in rows],
    )


async def delete(connection: asyncpg.Connection, number: int) -> None:
    await connection.execute("delete from stellar_wallets where id = $1", wallet_id(number))


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    found = await Store.open(database_url)
    yield found
    await found.close()


async def loaded(store: Store, *, refresh_s: float = 3600.0) -> tuple[Wallets, WalletReload]:
    """Every wallet, read once; from then on a portion a look. Nobody listens to notifications here."""
    wallets = Wallets()
    wallets.begin(Ledger(7))
    reload = WalletReload(store, wallets, network=Network.TESTNET, refresh_s=refresh_s, look_s=0.0)
    await reload.look()
    return wallets, reload


async def due(reload: WalletReload) -> None:
    async def is_due() -> bool:
        return reload.next_look_s() == 0

    await until(is_due, "all rows may be read again")


async def test_rows_that_come_and_go_between_portions(store: Store, connection: asyncpg.Connection) -> None:
    """No wallet whose row is there all the while is ever forgotten; one that goes before its portion is, one that comes
    there is followed; what happens behind the reading is found by the next one, if no notification tells of it.
    """
    await insert(connection, range(0, 2 * COUNT, 2))
    wallets, reload = await loaded(store)
    assert len(wallets) == COUNT
    reload.ask()
    await due(reload)
    await reload.look()
    assert reload.next_look_s() == 0, "there is more to read"
    last = 2 * COUNT - 2
    await delete(connection, 0)  # behind the reading
    await delete(connection, last)  # before it
    await insert(connection, [1, last - 1])
    while reload.next_look_s() == 0:
        assert all(key(number) in wallets for number in range(2, last, 2))
        await reload.look()
    assert key(0) in wallets
    assert key(1) not in wallets
    assert key(last) not in wallets
    assert key(last - 1) in wallets
    reload.ask()
    await due(reload)
    await reload.look()
    while reload.next_look_s() == 0:
        await reload.look()
    there = await connection.fetch("select public_key from stellar_wallets")
    assert len(wallets) == len(there)
    assert all(row["public_key"] in wallets for row in there)


async def test_all_rows_are_read_no_oftener_than_it_costs(
    store: Store, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself after fifty times of what it took, however short WALLETS_REFRESH_S is; asked for, after three times."""
    seconds = itertools.count()
    monkeypatch.setattr(wallet_reload, "now_s", lambda: float(next(seconds)))  # the reading takes one
    await insert(connection, range(COUNT))
    _, reload = await loaded(store, refresh_s=0.001)
    assert 45 <= reload.next_look_s() <= 50
    reload.ask()
    assert 0 < reload.next_look_s() <= 3
