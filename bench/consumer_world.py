"""What the consumer is measured on: people with wallets, their payments as encoded events, databases that hold them."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final
from uuid import UUID, uuid4

import asyncpg

from consumer.wallet import Policy, WalletState
from sandbox import keys
from sandbox.database import PostgresServer
from schema import balance_event, migrate
from schema.balance_event import BalanceEvent, Movement, SnapshotType, fact
from schema.stellar import NOTHING, STROOPS_PER_UNIT, AccountId, Address, Asset, Ledger, Network, Stroops

SEED: Final = 7
FIRST_LEDGER: Final = 52_426_477
FIRST_CLOSE: Final = datetime(2026, 1, 31, 12, tzinfo=UTC)
LEDGER_TIME: Final = timedelta(seconds=5)
WALLETS_PER_LEDGER: Final = 500
FIRST_BALANCE: Final = Stroops(1000 * STROOPS_PER_UNIT)
DEPOSITED: Final = Stroops(50 * STROOPS_PER_UNIT)
SPENT: Final = Stroops(-1 * STROOPS_PER_UNIT)
USDC: Final = Asset.parse("USDC:GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5")
SENDER: Final = Address(keys.derive(SEED, "sender").account_id)
POLICY: Final = Policy(
    enabled=True,
    paused=False,
    min_deposit_stroops=Stroops(10 * STROOPS_PER_UNIT),
    max_deposit_stroops=NOTHING,
    daily_cap_stroops=NOTHING,
    reserve_stroops=NOTHING,
    deposit_existing=False,
    excluded_sources=frozenset(),
    vault_address=keys.contract(SEED, "vault"),
    command_ttl=timedelta(seconds=300),
    retry_delay=timedelta(seconds=30),
    attempts_max=5,
)
_TEMPLATE: Final = "bench_template"


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedRecord:
    """A Kafka record, as far as the consumer looks at it."""

    offset: int
    key: bytes
    value: bytes
    topic: str = balance_event.TOPIC
    partition: int = 0
    headers: Sequence[tuple[str, bytes]] = ()


def accounts(count: int, on_each: Callable[[], None]) -> list[AccountId]:
    """The wallets' addresses."""
    made = []
    for number in range(count):
        made.append(keys.derive(SEED, "wallet", number).account_id)
        on_each()
    return made


def records(
    accounts: Sequence[AccountId], count: int, *, command_every: int, on_each: Callable[[], None]
) -> list[EncodedRecord]:
    """Every wallet's first sight, then round after round one payment for each, in another order each time."""
    random = Random(SEED)
    order = list(range(len(accounts)))
    balances = [FIRST_BALANCE] * len(accounts)
    versions = [Ledger(FIRST_LEDGER)] * len(accounts)
    made: list[EncodedRecord] = []
    while len(made) < count:
        turn, place = divmod(len(made), len(accounts))
        if place == 0:
            random.shuffle(order)
        number = order[place]
        amount = DEPOSITED if command_every and (turn + number) % command_every == 0 else SPENT
        balance = Stroops(balances[number] + amount)
        version = Ledger(FIRST_LEDGER + 1 + turn + len(made) // WALLETS_PER_LEDGER)
        event = _event(
            accounts[number], balance_stroops=balance, amount_stroops=amount, since=versions[number], version=version
        )
        balances[number], versions[number] = balance, version
        made.append(EncodedRecord(offset=len(made), key=balance_event.key(event), value=balance_event.encode(event)))
        on_each()
    return made


def _event(
    account: AccountId, *, balance_stroops: Stroops, amount_stroops: Stroops, since: Ledger, version: Ledger
) -> BalanceEvent:
    movement = Movement(
        operation_id=str((version << 32) + 4097),
        ledger=version,
        transaction_hash=f"{version * 2**200 + balance_stroops:064x}",
        type="payment",
        counterparty=SENDER,
        amount_stroops=amount_stroops,
    )
    return fact(
        snapshot_type=SnapshotType.WEBHOOK,
        network=Network.TESTNET,
        account_id=account,
        asset=USDC,
        balance_stroops=balance_stroops,
        authorized=True,
        ledger=version,
        observed_ledger=version,
        observed_at=FIRST_CLOSE + (version - FIRST_LEDGER) * LEDGER_TIME,
        movements_since=since,
        movements=(movement,),
    )


def unseen_wallet(account: AccountId) -> WalletState:
    """A wallet of which nothing is known yet."""
    return WalletState(
        wallet_id=uuid4(),
        user_id=uuid4(),
        account_id=account,
        network=Network.TESTNET,
        asset=USDC,
        balance_stroops=None,
        ledger=None,
        authorized=False,
        protected_stroops=NOTHING,
        snapshot_id=None,
        failures_in_a_row=0,
        retry_of=None,
        due_at=None,
        commands=(),
        issued=(),
    )


async def make_template(server: PostgresServer, accounts: Sequence[AccountId]) -> None:
    """A migrated database with these wallets, to be copied."""
    connection = await asyncpg.connect(server.url())
    assert await connection.fetchval("show fsync") == "on", "without waiting for the disk the figures mean nothing"
    await connection.execute(f"create database {_TEMPLATE}")
    await connection.close()
    await migrate.migrate(server.url(_TEMPLATE), dry_run=False, wait_s=0, say=lambda _: None)
    connection = await asyncpg.connect(server.url(_TEMPLATE))
    random = Random(SEED)
    users = [UUID(int=random.getrandbits(128), version=4) for _ in accounts]
    wallets = [UUID(int=random.getrandbits(128), version=4) for _ in accounts]
    await connection.execute("insert into auth.users (id) select * from unnest($1::uuid[])", users)
    await connection.execute(
        "insert into stellar_wallets (id, user_id, public_key, network)"
        " select *, 'testnet' from unnest($1::uuid[], $2::uuid[], $3::text[])",
        wallets,
        users,
        accounts,
    )
    await connection.execute("vacuum analyze auth.users, stellar_wallets")  # not the empty ones: nobody would
    await connection.close()


@asynccontextmanager
async def fresh_database(server: PostgresServer) -> AsyncIterator[str]:
    """A copy of the template, with everything before it on disk; its URL."""
    connection = await asyncpg.connect(server.url())
    await connection.execute(f"create database bench template {_TEMPLATE} strategy file_copy")
    await connection.execute("checkpoint")
    try:
        yield server.url("bench")
    finally:
        await connection.execute("drop database bench with (force)")
        await connection.close()
