"""The consumer's transaction over rows in memory: the real `decide_batch`, the real columns of `consumer/rows.py`, and
what `consumer/queries.sql` selects and changes. Every value is frozen, so a database is a state that can be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import NamedTuple
from uuid import UUID

from consumer import rows
from consumer.batch import Wallets, Writes, decide_batch, decide_due
from consumer.outcome import Snapshot
from consumer.records import Arrived, Reader
from consumer.wallet import CommandRecord, CommandStatus, Policy, WalletState
from schema import balance_event, deposit_command, deposit_result
from schema.balance_event import BalanceEvent
from schema.deposit_command import DepositCommand
from schema.deposit_result import DepositResult
from schema.identity import command_id
from schema.stellar import Network, Stroops
from tests.unit.consumer.worlds import ACCOUNT, USDC, USER_ID, WALLET_ID

READER = Reader(network=Network.TESTNET, asset=USDC, results_topic=deposit_result.TOPIC)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of deposit_commands: its record, and the bytes stored with the decision."""

    record: CommandRecord
    payload: bytes

    @property
    def waits(self) -> bool:
        """For the relay."""
        return self.record.status is CommandStatus.PENDING


@dataclass(frozen=True, slots=True)
class Database:
    """The wallet's row, and its commands in the order in which they were decided."""

    wallet: WalletState = field(
        default_factory=lambda: WalletState(
            wallet_id=WALLET_ID, user_id=USER_ID, account_id=ACCOUNT, network=Network.TESTNET, asset=USDC
        )
    )
    commands: tuple[Row, ...] = ()

    def published(self) -> "Database":
        """The relay's mark, after the ack of every row that waited."""
        marked = tuple(
            Row(replace(row.record, status=CommandStatus.PUBLISHED), row.payload) if row.waits else row
            for row in self.commands
        )
        return replace(self, commands=marked)


class Committed(NamedTuple):
    """A transaction's end: the database afterwards, and what was written."""

    database: Database
    snapshots: tuple[Snapshot, ...]
    commands: tuple[DepositCommand, ...]
    refused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumedRecord:
    """A Kafka record, as far as we look at it."""

    topic: str
    key: bytes
    value: bytes
    partition: int = 0
    offset: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


def arrived(message: BalanceEvent | DepositResult) -> Arrived:
    """The message as it comes from the topic: encoded, and read again."""
    if isinstance(message, BalanceEvent):
        value, topic = balance_event.encode(message), balance_event.TOPIC
    else:
        value, topic = deposit_result.encode(message), deposit_result.TOPIC
    (read,) = READER.read([ConsumedRecord(topic=topic, key=ACCOUNT.encode(), value=value)])
    return read


def record(database: Database, batch: Sequence[Arrived], policy: Policy, now: datetime) -> Committed:
    """Store.record: once more with the causes looked up when a command is there already."""
    events = [each.message for each in batch if isinstance(each.message, BalanceEvent)]
    spoken_of = {each.message.command_id for each in batch if isinstance(each.message, DepositResult)}
    writes = decide_batch(batch, _wallets(database, spoken_of, policy, now), now)
    known = {row.record.command_id for row in database.commands}
    if known & {command.command_id for command in writes.commands}:
        spoken_of |= {command_id(WALLET_ID, str(event.event_id)) for event in events}
        writes = decide_batch(batch, _wallets(database, spoken_of, policy, now), now)
    return _commit(database, writes)


def wake(database: Database, policy: Policy, now: datetime) -> Committed:
    """Store.wake_due."""
    return _commit(database, decide_due(_wallets(database, set(), policy, now), now))


def _wallets(database: Database, spoken_of: set[UUID], policy: Policy, now: datetime) -> Wallets:
    wallet = database.wallet
    loaded = tuple(
        row.record
        for row in database.commands
        if row.record.is_open
        or (row.record.status is CommandStatus.SUCCEEDED and (row.record.settled_ledger or 0) > (wallet.ledger or 0))
        or row.record.command_id in spoken_of
    )
    state = replace(wallet, commands=loaded, issued=_issued(database, now) if policy.daily_cap_stroops else ())
    return Wallets(
        states={WALLET_ID: state},
        policies={WALLET_ID: policy},
        by_account={ACCOUNT: WALLET_ID},
        by_command={row.record.command_id: WALLET_ID for row in database.commands},
    )


def _issued(database: Database, now: datetime) -> tuple[tuple[date, Stroops], ...]:
    sums: dict[date, int] = {}
    for each in (row.record for row in database.commands):
        day = each.issued_at.astimezone(UTC).date()
        if day >= now.astimezone(UTC).date() and each.status not in (CommandStatus.FAILED, CommandStatus.EXPIRED):
            amount = each.deposited_stroops if each.status is CommandStatus.SUCCEEDED else each.amount_stroops
            sums[day] = sums.get(day, 0) + amount
    return tuple((day, Stroops(amount)) for day, amount in sums.items())


def _commit(database: Database, writes: Writes) -> Committed:
    wallet = database.wallet
    for state in writes.states.values():
        wallet = replace(state, commands=(), issued=())
    known = {row.record.command_id: row for row in database.commands}
    for columns in zip(*rows.command_columns(writes.commands, writes.attempts), strict=True):
        inserted = {
            "command_id": columns[0],
            "status": "pending",
            "amount_stroops": columns[6],
            "issued_at": columns[10],
            "expires_at": columns[11],
            "attempt": columns[13],
            "error_code": None,
            "deposited_stroops": None,
            "settled_ledger": None,
            "transaction_hash": None,
        }
        assert columns[0] not in known, "deposit_commands_pkey"
        known[columns[0]] = Row(rows.command_record(inserted), columns[7])
    for columns in zip(*rows.ending_columns(list(writes.endings.values())), strict=True):
        row = known[columns[0]]
        ended = {
            "command_id": columns[0],
            "status": columns[1],
            "amount_stroops": row.record.amount_stroops,
            "issued_at": row.record.issued_at,
            "expires_at": row.record.expires_at,
            "attempt": row.record.attempt,
            "error_code": columns[6],
            "deposited_stroops": columns[3],
            "settled_ledger": columns[4],
            "transaction_hash": columns[5],
        }
        known[columns[0]] = Row(rows.command_record(ended), row.payload)
    return Committed(
        database=Database(wallet, tuple(known.values())),
        snapshots=tuple(writes.snapshots),
        commands=tuple(writes.commands),
        refused=len(writes.dead_letters),
    )


def content(payload: bytes) -> DepositCommand:
    """What the executor reads."""
    return deposit_command.decode(payload)
