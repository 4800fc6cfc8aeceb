"""Everything the producers read from the database and write to it. The only asyncpg here.

What a restart or a failover of the database brings is Away: the caller asks again, nothing is lost. Everything else is
a bug.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Self
from uuid import UUID, uuid4

import asyncpg
import structlog

from producers.answers import Answer
from producers.dead_letters import DeadLetter
from producers.history import Position, SavedCursor
from producers.wallet import Stored
from schema.balance_event import SnapshotType
from schema.service import database
from schema.service.readiness import Readiness
from schema.stellar import AccountId, Cursor, Ledger, Network, Stroops

log = structlog.get_logger(__name__)

WALLETS_AT_ONCE: Final = 2_500  # some 10 ms in which the loop does nothing else, 20 when they are new
REQUESTS_AT_ONCE: Final = 1_000
ALIVE_S: Final = 5.0  # how often the listening connection proves that it lives
AGAIN_S: Final = 0.5
HEARD_WITHIN_S: Final = 5.0
CLOSE_WITHIN_S: Final = 5.0
_NOT_MIGRATED: Final = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError)

WalletRow = tuple[str, Ledger | None]  # public key, stored version


class Away(Exception):
    """The database does not answer now, or is not migrated yet. Transient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRequest:
    """Somebody wants this wallet read."""

    id: UUID
    account_id: AccountId
    snapshot_type: SnapshotType


class PoolStore:
    """A pool of connections, and what is asked over it. What a restart or a failover brings is Away: ask again."""

    queries: ClassVar[Mapping[str, str]]
    application_name: ClassVar[str]
    connections_max: ClassVar[int] = 2

    def __init__(self, pool: asyncpg.Pool, url: str) -> None:
        self._pool = pool
        self._url = url

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect, however long it takes until the database is there."""
        pool = await database.open_pool(url, connections_max=cls.connections_max, application_name=cls.application_name)
        return cls(pool, url)

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, url: str) -> AsyncIterator[Self]:
        """The store, closed again in the end."""
        store = await cls.open(url)
        try:
            yield store
        finally:
            await store.close()

    async def close(self) -> None:
        """Close the connections; at once when they do not close by themselves."""
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    async def _fetch(self, query: str, *arguments: Any) -> Sequence[asyncpg.Record]:
        async with translated(), database.connected(self._pool) as connection:
            rows: Sequence[asyncpg.Record] = await connection.fetch(self.queries[query], *arguments)
            return rows

    async def _fetch_portions(
        self, query: str, *arguments: Any, rows_max: int
    ) -> AsyncIterator[Sequence[asyncpg.Record]]:
        """All rows of one look, so many at a time."""
        async with translated(), database.transaction(self._pool) as connection:
            cursor = await connection.cursor(self.queries[query], *arguments)
            while rows := await cursor.fetch(rows_max):
                yield rows


class Store(PoolStore):
    """The producers' part of the database."""

    queries = database.load_queries(Path(__file__).with_name("queries.sql"))
    application_name = "producers"
    connections_max = 4

    async def wallets(self, network: Network) -> AsyncIterator[Sequence[WalletRow]]:
        """Every wallet of the network, in portions."""
        async for rows in self._fetch_portions("wallets", network.value, rows_max=WALLETS_AT_ONCE):
            yield [(row[0], row[1]) for row in rows]

    async def wallets_from(self, first: UUID, network: Network) -> tuple[Sequence[WalletRow], UUID | None]:
        """The network's wallets from this id on, one portion; and with which id the next one begins, None: no more."""
        rows = await self._fetch("wallets_from", first, network.value, WALLETS_AT_ONCE + 1)
        following = rows[WALLETS_AT_ONCE][0] if len(rows) > WALLETS_AT_ONCE else None
        return [(row[1], row[2]) for row in rows[:WALLETS_AT_ONCE]], following

    async def wallets_by_id(self, ids: Iterable[UUID], network: Network) -> Sequence[WalletRow]:
        """Those of these wallets that are on the network."""
        return [(row[0], row[1]) for row in await self._fetch("wallets_by_id", list(ids), network.value)]

    async def stored(self, account_ids: Sequence[AccountId], network: Network) -> dict[AccountId, Stored]:
        """What is stored of these wallets; one that has no row is missing."""
        rows = await self._fetch("stored", account_ids, network.value)
        return {AccountId(row["public_key"]): as_stored(row) for row in rows}

    async def cursor(self, stream_name: str) -> SavedCursor | None:
        """Where the stream was; None: it never was anywhere."""
        for row in await self._fetch("cursor", stream_name):
            position = Position(cursor=Cursor(row["cursor"]), ledger=Ledger(row["ledger"]))
            return SavedCursor(network=row["network"], position=position)
        return None

    async def save_cursor(self, stream_name: str, network: Network, position: Position) -> None:
        """Save where the stream is: only ever what is told and acked."""
        await self._fetch("save_cursor", stream_name, network.value, position.cursor, position.ledger)

    async def open_requests(self, network: Network) -> list[ReadRequest]:
        """The oldest requests that nobody has done."""
        rows = await self._fetch("open_requests", network.value, REQUESTS_AT_ONCE)
        return [
            ReadRequest(id=row[0], account_id=AccountId(row[1]), snapshot_type=SnapshotType(row[2])) for row in rows
        ]

    async def finish_requests(self, answers: Mapping[UUID, Answer]) -> None:
        """Mark requests as done, each with its answer: after the ack."""
        said = list(answers.values())
        await self._fetch(
            "finish_requests",
            list(answers),
            [each.event_id for each in said],
            [each.ledger for each in said],
            [each.observed_ledger for each in said],
            [each.balance_stroops for each in said],
            [each.refused for each in said],
        )

    async def keep_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Write the rows from which the consumer's relay publishes."""
        columns = zip(
            *((each.id, each.origin, each.offset, each.key, each.value, each.reason, each.detail) for each in letters),
            strict=True,
        )
        await self._fetch("keep_dead_letters", *(list(column) for column in columns))

    async def check_writable(self) -> None:
        """Away where the database does not answer, or can only be read."""
        async with translated(), database.connected(self._pool) as connection:
            await database.check_writable(connection)

    async def webhook_is_done(self, id_: UUID) -> bool:
        """Whether what this webhook announced was told and acked before."""
        rows = await self._fetch("webhook_is_done", id_)
        return bool(rows[0][0])

    async def finish_webhook(self, id_: UUID) -> None:
        """Mark a webhook as done: after the ack."""
        await self._fetch("finish_webhook", id_)

    async def listen(
        self, *, on_wallet: Callable[[str], None], on_request: Callable[[], None], readiness: Readiness
    ) -> None:
        """Hear of new wallets and requests, for ever. After each (re)connection both are called once: something may
        have been missed; `on_wallet` then gets "" (read them all again), as it does when too many changed.
        """
        while True:
            try:
                async with translated():
                    await self._listen_once(on_wallet, on_request, readiness)
            except Away as away:
                readiness.down("database", str(away))
                await asyncio.sleep(AGAIN_S)

    async def _listen_once(
        self, on_wallet: Callable[[str], None], on_request: Callable[[], None], readiness: Readiness
    ) -> None:
        connection = await self._connect()
        try:
            await connection.add_listener("stellar_wallets", lambda *said: on_wallet(said[3]))
            await connection.add_listener("read_requests", lambda *_said: on_request())
            await self._prove_hearing(connection)
            ended = asyncio.Event()
            connection.add_termination_listener(lambda _connection: ended.set())
            readiness.up("database")
            on_wallet("")
            on_request()
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ALIVE_S):
                        await ended.wait()
                await connection.execute("select 1", timeout=database.CONNECT_TIMEOUT_S)
        finally:
            connection.terminate()

    async def _connect(self) -> asyncpg.Connection:
        with database.refusals():
            return await asyncpg.connect(self._url, timeout=database.CONNECT_TIMEOUT_S)

    async def _prove_hearing(self, connection: asyncpg.Connection) -> None:
        """Away unless what another connection says is heard: behind a pooler that is not in session mode nothing is,
        and nobody says so.
        """
        channel, heard = f"heard_{uuid4().hex}", asyncio.Event()
        await connection.add_listener(channel, lambda *_said: heard.set())
        other = await self._connect()
        try:
            await other.execute(f"notify {channel}", timeout=database.COMMAND_TIMEOUT_S)
        finally:
            other.terminate()
        try:
            async with asyncio.timeout(HEARD_WITHIN_S):
                await heard.wait()
        except TimeoutError:
            raise Away(f"notifications are not heard: {database.SESSION_MODE}") from None


def as_stored(row: asyncpg.Record) -> Stored:
    """The row of a wallet."""
    return Stored(
        account_id=AccountId(row["public_key"]),
        version=None if row["balance_ledger"] is None else Ledger(row["balance_ledger"]),
        balance_stroops=Stroops(row["balance_stroops"] or 0),
        absent=bool(row["absent"]),
    )


@contextlib.asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """What passes by itself becomes Away."""
    try:
        yield
    except database.TRANSIENT as error:
        raise Away(f"{type(error).__name__}: {error}") from error
    except _NOT_MIGRATED as error:
        raise Away(f"the database is not migrated ({error}): run `python -m schema migrate`") from error
