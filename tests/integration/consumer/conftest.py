"""A consumer's store over a fresh database, and short ways to feed it."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from consumer.batch import Writes
from consumer.records import Arrived, Reader
from consumer.store import Store
from consumer.wallet import Policy
from schema import balance_event, deposit_command, deposit_result
from schema.balance_event import BalanceEvent
from schema.deposit_command import DepositCommand
from schema.deposit_result import DepositResult, ResultError, ResultStatus
from schema.service.database import open_pool
from schema.stellar import Ledger, Network, Stroops
from tests.integration.consumer.api_house import ApiHouse, api_house
from tests.people import Person, add_person
from tests.unit.consumer.worlds import FIRST_LEDGER, POLICY, USDC, close_time
from tests.unit.consumer.worlds import balance_event as event_of

RESULTS_TOPIC = deposit_result.TOPIC


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeRecord:
    """A Kafka record, as far as we look at it."""

    topic: str
    offset: int
    key: bytes | None
    value: bytes | None
    partition: int = 0
    headers: Sequence[tuple[str, bytes | None]] = field(default_factory=list)


class Feed:
    """Feeds one store with messages in the order of a topic."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.reader = Reader(network=Network.TESTNET, asset=USDC, results_topic=RESULTS_TOPIC)
        self.offset = 0

    def event(self, person: Person, ledger: int, balance: float, **said: Any) -> Arrived:
        """The fact that this person's wallet held `balance` units as of the nth ledger."""
        return self.said(event_of(ledger, balance, account_id=person.account_id, **said))

    def said(self, event: BalanceEvent) -> Arrived:
        return self.record(balance_event.TOPIC, balance_event.key(event), balance_event.encode(event))

    def succeeded(self, command: DepositCommand, ledger: int, amount: Stroops | None = None) -> Arrived:
        result = DepositResult(
            command_id=command.command_id,
            status=ResultStatus.SUCCEEDED,
            amount_stroops=command.amount_stroops if amount is None else amount,
            transaction_hash=f"{ledger:064x}",
            ledger=Ledger(FIRST_LEDGER + ledger),
            error=None,
            completed_at=close_time(ledger),
        )
        return self.result(command, result)

    def failed(self, command: DepositCommand, ledger: int, message: str = "op_underfunded") -> Arrived:
        result = DepositResult(
            command_id=command.command_id,
            status=ResultStatus.FAILED,
            amount_stroops=Stroops(0),
            transaction_hash=None,
            ledger=None,
            error=ResultError(code="tx_failed", message=message),
            completed_at=close_time(ledger),
        )
        return self.result(command, result)

    def result(self, command: DepositCommand, result: DepositResult) -> Arrived:
        return self.record(RESULTS_TOPIC, deposit_command.key(command), deposit_result.encode(result))

    def record(self, topic: str, key: bytes | None, value: bytes | None) -> Arrived:
        self.offset += 1
        return self.reader.read([FakeRecord(topic=topic, offset=self.offset, key=key, value=value)])[0]

    async def take(self, *arrived: Arrived) -> Writes:
        return await self.store.record(arrived)


def store_of(pool: asyncpg.Pool, policy: Policy = POLICY, **changed: Any) -> Store:
    """A store with this policy for every wallet that has none of its own."""
    default = replace(policy, **changed)
    return Store(pool=pool, network=Network.TESTNET, asset=USDC, default_policy=default)


@pytest.fixture
async def consumer_pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    """The pool as the consumer opens it."""
    pool = await open_pool(database_url, connections_max=5, application_name="tests")
    yield pool
    await pool.close()


@pytest.fixture
def feed(consumer_pool: asyncpg.Pool) -> Feed:
    return Feed(store_of(consumer_pool))


@pytest.fixture
async def person(connection: asyncpg.Connection) -> Person:
    return await add_person(connection)


@pytest.fixture
async def house(database_url: str, connection: asyncpg.Connection) -> AsyncIterator[ApiHouse]:
    """The API over the test's database."""
    async with api_house(database_url, connection) as house:
        yield house


async def snapshots(connection: asyncpg.Connection, person: Person) -> list[tuple[str, ...]]:
    """A wallet's snapshots in the order of their versions: type, balance, previous, change, deposit."""
    rows = await connection.fetch(
        "select * from balance_snapshots where wallet_id = $1"
        " order by ledger, snapshot_type = 'auto_deposit_trigger', id",
        person.wallet_id,
    )
    names = ("snapshot_type", "usdc_balance", "previous_balance", "balance_change", "deposit_amount")
    return [tuple(_text(row[name]) for name in names) for row in rows]


def _text(value: Decimal | str | None) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
