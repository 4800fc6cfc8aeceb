"""The consumer's only way to PostgreSQL: a batch in, one transaction; and the outbox's rows out."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog

from consumer import rows
from consumer.batch import Wallets, Writes, decide_batch, decide_due, without_deposits
from consumer.records import Arrived
from consumer.wallet import Policy
from schema.balance_event import BalanceEvent
from schema.deposit_result import DepositResult
from schema.identity import command_id
from schema.service.database import connected, load_queries, transaction
from schema.stellar import Asset, Ledger, Network

log = structlog.get_logger(__name__)

QUERIES: Final = load_queries(Path(__file__).with_name("queries.sql"))

# What the database will not take, however often it is tried: the record is to be kept apart, the rest goes on.
REFUSED: Final = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError)

# Where a wallet's past may stand in the way of its present, which goes first.
_KNOWN_BEFORE: Final = ("deposit_commands_pkey", "balance_snapshots_pkey", "balance_snapshots_one_per_version")

# What may come of asking for too much at once: on a slow link, or of a slow database.
TOO_SLOW: Final = (TimeoutError, asyncpg.QueryCanceledError)

# Nobody's fault while a deployment is under way: the migrations come before us, or soon after.
NOT_MIGRATED: Final = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidSchemaNameError)


class Unsent:
    """What the relay holds the lock for: rows not yet published, and the marks to set once they are."""

    def __init__(self, connection: asyncpg.Connection, rows_: list[rows.Row], *, key: str, mark: str) -> None:
        self.rows = rows_
        self._connection = connection
        self._key = key
        self._mark = mark

    async def mark_sent(self, at: datetime) -> None:
        """Only after the broker's ack of every one of them."""
        await self._connection.execute(QUERIES[self._mark], [row[self._key] for row in self.rows], at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """All SQL of the consumer. Every method is one transaction, or nothing happened."""

    pool: asyncpg.Pool
    network: Network
    asset: Asset
    default_policy: Policy

    async def check_tables(self) -> None:
        """Have the database look at every query: raises one of NOT_MIGRATED where a table or column is missing."""
        async with connected(self.pool) as connection:
            for query in QUERIES.values():
                await connection.prepare(query)

    async def record(self, arrived: Sequence[Arrived]) -> Writes:
        """Lock the wallets in id order, decide in arrival order, write, commit.

        Replaying a batch whose commit succeeded writes nothing: versions and endings are compared under the lock.
        Raises one of REFUSED when the database will not take it, one of TRANSIENT when it should be tried again.
        """
        try:
            return await self._record(arrived, known_before=False)
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name not in _KNOWN_BEFORE:
                raise
            # A state was put back by hand, and its facts had caused their commands before: decide again, knowing them.
            # Or the row was given another account, whose version is one that the former had, or was given back.
            return await self._record(arrived, known_before=True)

    async def _record(self, arrived: Sequence[Arrived], *, known_before: bool) -> Writes:
        events = [each.message for each in arrived if isinstance(each.message, BalanceEvent)]
        results = [each.message for each in arrived if isinstance(each.message, DepositResult)]
        async with transaction(self.pool) as connection:
            wallets = await self._lock(connection, events, results)
            now = await connection.fetchval("select clock_timestamp()")
            spoken_of = {result.command_id for result in results} - wallets.elsewhere
            if known_before:
                spoken_of |= _caused(wallets, events)
            wallets = await self._with_commands(connection, wallets, spoken_of, now)
            writes = decide_batch(arrived, wallets, now)
            await _write(connection, writes, known_before=known_before)
        return writes

    async def wake_due(self, *, wallets_max: int) -> Writes:
        """Give every wallet whose wait is over its input.

        Raises one of REFUSED when the database will not take what follows; one wallet alone is put off for an hour.
        """
        found: Sequence[rows.Row] = ()
        try:
            async with transaction(self.pool) as connection:
                found = await connection.fetch(QUERIES["lock_due_wallets"], self.network, wallets_max)
                if not found:
                    return Writes()
                now = await connection.fetchval("select clock_timestamp()")
                wallets = await self._with_commands(connection, await self._wallets(connection, found, []), set(), now)
                writes = decide_due(wallets, now)
                await _write(connection, writes)
        except REFUSED as error:
            if len(found) != 1:
                raise
            return await self._put_off(found[0], error)
        return writes

    async def _put_off(self, wallet: rows.Row, error: Exception) -> Writes:
        async with connected(self.pool) as connection:
            await connection.execute(QUERIES["put_off"], wallet["id"])
        log.error("refused by the database, put off for an hour", account_id=wallet["public_key"], error=str(error))
        return Writes(counts=Counter(["refused_by_database"]))

    async def request_reads_of_expired(self, *, wallets_max: int) -> int:
        """Ask the producers to read the wallets with commands past their time; how many were asked for."""
        async with connected(self.pool) as connection:
            done: str = await connection.execute(QUERIES["request_reads_of_expired"], wallets_max, self.network)
        return int(done.rpartition(" ")[2])

    async def held(self) -> int:
        """How many wallets are on hold."""
        async with connected(self.pool) as connection:
            return int(await connection.fetchval(QUERIES["count_holds"], self.network))

    @asynccontextmanager
    async def unsent_commands(self, *, rows_max: int) -> AsyncIterator[Unsent | None]:
        """The commands to be published, under the relay's lock; None when another relay holds it."""
        async with transaction(self.pool) as connection:
            if not await connection.fetchval(QUERIES["lock_outbox"], self.network):
                yield None
                return
            found = await connection.fetch(QUERIES["unsent_commands"], self.network, rows_max)
            yield Unsent(connection, found, key="command_id", mark="mark_commands_sent")

    @asynccontextmanager
    async def unsent_dead_letters(self, *, rows_max: int, bytes_max: int) -> AsyncIterator[Unsent | None]:
        """The same of dead letters: at least one, and none more once there are `bytes_max` bytes of them."""
        async with transaction(self.pool) as connection:
            if not await connection.fetchval(QUERIES["lock_outbox"], self.network):
                yield None
                return
            found = await connection.fetch(QUERIES["unsent_dead_letters"], rows_max, bytes_max)
            yield Unsent(connection, found, key="id", mark="mark_dead_letters_sent")

    async def _lock(
        self, connection: asyncpg.Connection, events: list[BalanceEvent], results: list[DepositResult]
    ) -> Wallets:
        owners: list[Any] = []
        if results:
            ids = list({result.command_id for result in results})
            owners = await connection.fetch(QUERIES["wallets_of_commands"], ids)
        accounts = list({event.account_id for event in events})
        found = []
        if accounts or owners:
            wallet_ids = [row["wallet_id"] for row in owners if row["network"] == self.network]
            found = await connection.fetch(QUERIES["lock_wallets"], self.network, accounts, wallet_ids)
        return await self._wallets(connection, found, owners)

    async def _wallets(self, connection: asyncpg.Connection, found: Sequence[rows.Row], owners: list[Any]) -> Wallets:
        """Their states and policies. A command whose wallet is gone, or is of another account now, stands alone."""
        states = {row["id"]: rows.wallet_state(row, network=self.network, asset=self.asset) for row in found}
        by_account = {state.account_id: wallet_id for wallet_id, state in states.items()}
        policies = dict.fromkeys(states, self.default_policy)
        if states:
            for row in await connection.fetch(QUERIES["policies"], list(states)):
                policies[row["wallet_id"]] = rows.policy(row, self.default_policy)
        by_command, deleted, elsewhere = {}, set(), set()
        for row in owners:
            if row["network"] != self.network:
                elsewhere.add(row["command_id"])
                continue
            key, owner = row["command_id"], states.get(row["wallet_id"])
            if owner is not None and owner.account_id == row["account_id"]:
                key = row["wallet_id"]
            else:
                states[key] = rows.deleted_wallet_state(row, network=self.network, asset=self.asset)
                policies[key] = without_deposits(self.default_policy)
                deleted.add(key)
            by_command[row["command_id"]] = key
        return Wallets(
            states=states,
            policies=policies,
            by_account=by_account,
            by_command=by_command,
            observed={row["id"]: Ledger(row["observed_ledger"] or 0) for row in found},
            deleted=frozenset(deleted),
            elsewhere=frozenset(elsewhere),
        )

    async def _with_commands(
        self, connection: asyncpg.Connection, wallets: Wallets, spoken_of: set[UUID], now: datetime
    ) -> Wallets:
        """The states with their commands. Read after the locks, so that nothing another consumer decided is missing.

        A command that stands alone is alone: what else its wallet had open is nobody's.
        """
        states = wallets.states
        if not states:
            return wallets
        locked = [state for key, state in states.items() if key not in wallets.deleted]
        commands = rows.commands_by_wallet(
            await connection.fetch(
                QUERIES["commands"],
                [state.wallet_id for state in locked],
                [state.ledger or 0 for state in locked],
                [state.account_id for state in locked],
                list(spoken_of),
            ),
            standing_alone=wallets.deleted,
        )
        capped = [wallet_id for wallet_id in wallets.states if wallets.policies[wallet_id].daily_cap_stroops]
        issued = {}
        if capped:
            first_day = datetime.combine(now.astimezone(UTC).date(), time(), tzinfo=UTC)
            issued = rows.issued_by_wallet(await connection.fetch(QUERIES["issued_by_day"], capped, first_day))
        for key in commands.keys() | issued.keys():
            states[key] = replace(states[key], commands=commands.get(key, ()), issued=issued.get(key, ()))
        return wallets


def _caused(wallets: Wallets, events: list[BalanceEvent]) -> set[UUID]:
    """The ids of the commands that these facts may have caused."""
    return {
        command_id(wallets.by_account[event.account_id], str(event.event_id))
        for event in events
        if event.account_id in wallets.by_account
    }


async def _write(connection: asyncpg.Connection, writes: Writes, *, known_before: bool = False) -> None:
    states = [writes.states[wallet_id] for wallet_id in sorted(writes.states)]
    for query, columns in (
        ("insert_snapshots_not_there" if known_before else "insert_snapshots", rows.snapshot_columns(writes.snapshots)),
        ("update_wallets", rows.wallet_columns(states, writes.observed)),
        ("insert_commands", rows.command_columns(writes.commands, writes.attempts)),
        ("end_commands", rows.ending_columns(list(writes.endings.values()))),  # after: one may begin and end in a batch
        ("insert_dead_letters", rows.dead_letter_columns(writes.dead_letters)),
    ):
        if columns[0]:
            await connection.execute(QUERIES[query], *columns)
