"""The API's only way to PostgreSQL: one person's wallet as the consumer would see it, and requests to have it read.

Nothing of what decides is written here: the state is read in one read-only transaction, by the consumer's own queries.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg

from consumer import rows
from consumer.store import QUERIES
from consumer.wallet import Policy, WalletState
from schema.identity import command_id
from schema.service.database import (
    CONNECT_TIMEOUT_S,
    check_writable,
    connected,
    load_queries,
    open_pool,
    refusals,
    transaction,
)
from schema.service.readiness import Readiness
from schema.stellar import Asset, Network

API_QUERIES: Final = load_queries(Path(__file__).with_name("queries.sql"))
_OF_CONSUMER: Final = ("policies", "commands", "issued_by_day")
CLIENT_ID: Final = "stellar-api"
CONNECTIONS_MAX: Final = 4  # and one more for the sign of life
TURN_WITHIN_S: Final = 3.0  # beyond that whoever asks comes again: waiting longer would only make the queue longer
ALIVE_S: Final = 5.0


class Busy(Exception):
    """Too many ask at once. Transient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A wallet at one moment: what a decision looks at, and the last fact's snapshot."""

    state: WalletState
    policy: Policy
    last_snapshot: rows.Row | None
    observed_ledger: int | None  # the newest ledger as of which the balance is known
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request to read a wallet: its own, or the one that was open already (`is_new` False)."""

    id: UUID
    requested_at: datetime
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TooMany:
    """No read now; in `again_s` seconds there is room for one."""

    again_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """How far a request is. `row` has its answer, `command` is what it led to, `seen` is the wallet now."""

    row: rows.Row
    snapshot_type: str
    command: rows.Row | None
    seen: Seen | None


class ApiStore:
    """All SQL of the API. Raises one of TRANSIENT, or Busy, when it should be tried again."""

    def __init__(self, pool: asyncpg.Pool, *, network: Network, asset: Asset, default_policy: Policy) -> None:
        self._pool = pool
        self._network = network
        self._asset = asset
        self._default_policy = default_policy
        self._turns = asyncio.Semaphore(CONNECTIONS_MAX)

    @classmethod
    async def open(cls, url: str, *, network: Network, asset: Asset, default_policy: Policy) -> "ApiStore":
        """Connect, however long it takes until the database is there."""
        pool = await open_pool(url, connections_max=CONNECTIONS_MAX + 1, application_name=CLIENT_ID)
        return cls(pool, network=network, asset=asset, default_policy=default_policy)

    def close(self) -> None:
        """Close the connections at once: whatever is under way is taken back."""
        self._pool.terminate()

    async def check_tables(self) -> None:
        """Have the database look at every query: raises one of NOT_MIGRATED where a table or column is missing."""
        async with connected(self._pool) as connection:
            for query in (*API_QUERIES.values(), *(QUERIES[name] for name in _OF_CONSUMER)):
                await connection.prepare(query)

    async def is_there(self) -> None:
        """Return when the database answers, and takes what people ask."""
        async with connected(self._pool) as connection:
            await check_writable(connection)

    async def see(self, user_id: UUID) -> Seen | None:
        """The person's wallet and all that a decision on it looks at, at one moment; None: there is none."""
        async with self._looking() as connection:
            return await self._see(connection, user_id)

    async def ask(self, user_id: UUID, *, per_minute: int) -> Asked | TooMany | None:
        """Have the person's wallet read: one open request at a time; None: there is no wallet."""
        async with self._turn(), transaction(self._pool) as connection:
            wallet = await connection.fetchrow(API_QUERIES["wallet"], user_id, self._network)
            if wallet is None:
                return None
            await connection.execute(API_QUERIES["lock_requests"], wallet["id"])
            row = await connection.fetchrow(API_QUERIES["open_request"], wallet["id"])
            if row is not None:
                return Asked(id=row["id"], requested_at=row["requested_at"], is_new=False)
            used_up = await connection.fetchrow(API_QUERIES["nth_recent_request"], wallet["id"], per_minute)
            if used_up is not None:
                return TooMany(again_s=used_up["again_s"])
            row = await connection.fetchrow(API_QUERIES["insert_request"], wallet["id"])
            return None if row is None else Asked(id=row["id"], requested_at=row["requested_at"], is_new=True)

    async def answered(self, user_id: UUID, request_id: UUID) -> Answered | None:
        """How far the person's request is, and what came of it; None: they have no such request."""
        async with self._looking() as connection:
            row = await connection.fetchrow(API_QUERIES["request"], request_id, user_id, self._network)
            if row is None:
                return None
            recorded_as = command = None
            if row["event_id"] is not None:
                caused = command_id(row["wallet_id"], str(row["event_id"]))
                command = await connection.fetchrow(
                    API_QUERIES["command"], caused, row["wallet_id"], row["requested_at"]
                )
                recorded_as = await connection.fetchval(API_QUERIES["snapshot_type"], row["wallet_id"], row["ledger"])
            return Answered(
                row=row,
                snapshot_type=recorded_as or row["snapshot_type"],
                command=command,
                seen=await self._see(connection, user_id),
            )

    async def still_open(self, request_ids: Collection[UUID]) -> dict[UUID, bool]:
        """Those of these requests that are not settled, and whether they are told already."""
        async with self._turn(), connected(self._pool) as connection:
            found = await connection.fetch(API_QUERIES["open_of"], list(request_ids))
        return {row["id"]: row["is_told"] for row in found}

    async def _see(self, connection: asyncpg.Connection, user_id: UUID) -> Seen | None:
        row = await connection.fetchrow(API_QUERIES["wallet"], user_id, self._network)
        if row is None:
            return None
        state = rows.wallet_state(row, network=self._network, asset=self._asset)
        now = await connection.fetchval("select clock_timestamp()")
        policy = self._default_policy
        for own in await connection.fetch(QUERIES["policies"], [state.wallet_id]):
            policy = rows.policy(own, policy)
        found = await connection.fetch(
            QUERIES["commands"], [state.wallet_id], [state.ledger or 0], [state.account_id], []
        )
        commands = rows.commands_by_wallet(found, standing_alone=())
        first_day = datetime.combine(now.astimezone(UTC).date(), time(), tzinfo=UTC)
        issued = rows.issued_by_wallet(await connection.fetch(QUERIES["issued_by_day"], [state.wallet_id], first_day))
        return Seen(
            state=replace(state, commands=commands.get(state.wallet_id, ()), issued=issued.get(state.wallet_id, ())),
            policy=policy,
            last_snapshot=await connection.fetchrow(API_QUERIES["last_snapshot"], state.wallet_id),
            observed_ledger=row["observed_ledger"],
            at=now,
        )

    @contextlib.asynccontextmanager
    async def _looking(self) -> AsyncIterator[asyncpg.Connection]:
        """A transaction that sees one moment and can write nothing."""
        async with self._turn(), transaction(self._pool, isolation="repeatable_read", readonly=True) as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One of the pool's connections is free: a crowd waits here, and is no sign of a database that fell silent."""
        try:
            async with asyncio.timeout(TURN_WITHIN_S):
                await self._turns.acquire()
        except TimeoutError as error:
            raise Busy(f"no connection to the database within {TURN_WITHIN_S:g} s") from error
        try:
            yield
        finally:
            self._turns.release()


async def hear_done(url: str, on_done: Callable[[str], None], readiness: Readiness) -> None:
    """Hear of requests that are done until the connection ends: raises one of TRANSIENT. `on_done` is called with ""
    once it is heard: what was before that may have been missed.
    """
    with refusals():
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
    try:
        await connection.add_listener("read_requests_done", lambda *said: on_done(said[3]))
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _connection: ended.set())
        readiness.up("notifications")
        on_done("")
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ALIVE_S):
                    await ended.wait()
            await connection.execute("select 1", timeout=CONNECT_TIMEOUT_S)
    finally:
        connection.terminate()
