"""Wallets in bulk, in the database: lines are loaded into tables of the session, then checked and done in sets.

Nothing is held while the file is read: the one transaction begins when all of it is loaded. Whoever dies before its
commit has changed nothing.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg

from producers.bulk.lines import Fault, Wish
from schema.service import database
from schema.service.settings import Unusable
from schema.stellar import Network

STATEMENT_S: Final = 900  # a million lines take half a minute here
LOCK_S: Final = 60
PORTION_WALLETS: Final = 5_000
_CHECKS: Final = (
    *("check_addresses_twice", "check_users_twice", "check_users", "check_others", "note_leaving"),
    *("check_addresses_taken", "check_users_taken", "drop_faulty"),
)
MANY_LINES: Final = 10_000
STEPS: Final = len(_CHECKS) + 1 + 4  # of check and apply, for a progress bar
_OF_NETWORK: Final = {"check_others", "note_leaving", "check_addresses_taken"}
_QUERIES: Final = database.load_queries(Path(__file__).with_name("queries.sql"))
_NOT_MIGRATED: Final = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidSchemaNameError)


class NotDone(Exception):
    """Nothing was changed, or, where it says so, nobody knows; says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What good lines come to. What they do not change is as they want it already."""

    lines: int
    added: int
    removed: int
    paused: int
    unpaused: int

    @property
    def changes(self) -> int:
        return self.added + self.removed + self.paused + self.unpaused


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A wallet, as it is listed. `paused` is its own policy's word; None: the default's. No balance: no fact yet."""

    account_id: str
    network: str
    version: int | None
    balance_stroops: int | None
    paused: bool | None
    held: bool


class AdminStore:
    """One session with the database."""

    def __init__(self, connection: asyncpg.Connection, network: Network) -> None:
        self._connection = connection
        self._network = network

    async def load(self, wishes: Sequence[Wish], faults: Sequence[Fault]) -> None:
        """Some more lines."""
        lines = [
            (each.line, each.action, each.user_id or None, each.account_id, each.turnkey_wallet_id or None)
            for each in wishes
        ]
        wrong = [(each.line, each.column, each.value, each.expected) for each in faults]
        with _translated():
            for table, records in (("wallet_lines", lines), ("wallet_faults", wrong)):
                if records:
                    await self._connection.copy_records_to_table(table, records=records)

    async def check(self, on_step: Callable[[], None]) -> Plan:
        """Compare the lines with each other and with what there is; the faulty ones are left out of the plan."""
        with _translated():
            await self._connection.execute(_QUERIES["analyze"])
            if await self._connection.fetchval(_QUERIES["count_lines"]) > MANY_LINES:
                await self._connection.execute(_QUERIES["no_nested_loops"])
            sees_users = await self._connection.fetchval(_QUERIES["may_see_users"])
            for name in _CHECKS:
                if name != "check_users" or sees_users:  # else the foreign key says it, of nobody by name
                    await self._execute(name, *([self._network.value] if name in _OF_NETWORK else []))
                on_step()
            lines = await self._connection.fetchval(_QUERIES["count_lines"])
            await self._execute("drop_done")
            row = await self._connection.fetchrow(_QUERIES["plan"])
        on_step()
        return Plan(lines=lines, **dict(row))

    async def apply(self, on_step: Callable[[], None]) -> None:
        """Do what is planned."""
        with _translated():
            for name in ("remove", "add", "pause", "unpause"):
                await self._execute(name, *([self._network.value] if name == "add" else []))
                on_step()

    async def faulty_lines(self) -> int:
        """How many lines have a fault."""
        with _translated():
            count: int = await self._connection.fetchval("select count(distinct line) from wallet_faults")
        return count

    async def faults(self) -> AsyncIterator[Fault]:
        """Everything that is wrong, in the order of the lines. Inside the transaction."""
        with _translated():
            async for row in self._connection.cursor(_QUERIES["faults"], prefetch=1000):
                yield Fault(*row)

    @contextlib.asynccontextmanager
    async def transaction(self, *, keep: Callable[[], bool]) -> AsyncIterator[None]:
        """Everything inside or nothing; nothing, too, unless `keep` says so in the end."""
        transaction = self._connection.transaction()
        with _translated():
            await transaction.start()
        try:
            yield
        except BaseException:
            if not self._connection.is_closed():
                await transaction.rollback()
            raise
        with _translated():
            if not keep():
                await transaction.rollback()
                return
            try:
                await transaction.commit()
            except (*database.TRANSIENT, asyncio.CancelledError) as error:
                raise NotDone(
                    "it ended in the moment of the commit, nobody knows whether before or after: run it again, what is "
                    f"done already is not done twice ({type(error).__name__}: {error})"
                ) from error

    async def wallets(self) -> AsyncIterator[Row]:
        """Every wallet of the network, by its id."""
        following: UUID | None = UUID(int=0)
        while following is not None:
            with _translated():
                rows = await self._connection.fetch(
                    _QUERIES["wallets"], following, self._network.value, PORTION_WALLETS + 1
                )
            following = rows[PORTION_WALLETS]["id"] if len(rows) > PORTION_WALLETS else None
            for row in rows[:PORTION_WALLETS]:
                yield Row(
                    account_id=row["public_key"],
                    network=row["network"],
                    version=row["balance_ledger"],
                    balance_stroops=row["stroops"],
                    paused=row["paused"],
                    held=row["held"],
                )

    async def _execute(self, name: str, *arguments: Any) -> None:
        await self._connection.execute(_QUERIES[name], *arguments)


@contextlib.asynccontextmanager
async def opened(url: str, network: Network) -> AsyncIterator[AdminStore]:
    """A session with the tables for the lines. NotDone for whatever the database refuses, here and in every method."""
    settings: Mapping[str, str] = {
        "application_name": "wallets",
        "statement_timeout": f"{STATEMENT_S}s",
        "lock_timeout": f"{LOCK_S}s",
        "client_min_messages": "warning",
    }
    with _translated():
        try:
            with database.refusals():
                connection = await asyncpg.connect(
                    url, timeout=database.CONNECT_TIMEOUT_S, command_timeout=STATEMENT_S, server_settings=settings
                )
        except Unusable as error:
            raise NotDone(str(error)) from error
    try:
        with _translated():
            await connection.execute(_QUERIES["make_tables"])
        yield AdminStore(connection, network)
    finally:
        connection.terminate()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except database.TRANSIENT as error:
        raise NotDone(f"the database does not answer, run it again ({type(error).__name__}: {error})") from error
    except _NOT_MIGRATED as error:
        raise NotDone(f"the database is not migrated ({error}): run `python -m schema migrate`") from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise NotDone(f"this login may not do it ({error}): take the owner of the tables, or service_role") from error
    except asyncpg.ForeignKeyViolationError as error:
        raise NotDone(
            "nothing was changed: a user_id is not in auth.users. Where this login may not see who is, take the owner "
            f"of the tables: it names each line ({error})"
        ) from error
    except asyncpg.IntegrityConstraintViolationError as error:
        raise NotDone(
            f"the database refused it, maybe because somebody changed a wallet at the same time: run it again ({error})"
        ) from error
