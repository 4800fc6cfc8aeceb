"""PostgreSQL: a pool with limits on everything, and which errors pass by themselves."""

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import asyncpg
import stamina
import structlog

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT_S: Final = 10
COMMAND_TIMEOUT_S: Final = 30  # a batch takes milliseconds: what takes this long hangs
SERVER_SETTINGS: Final = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "15s",  # a stopped process lets go of its locks
}

# What a restart, a failover or a busy moment brings: try again, nothing is lost. Everything else is a bug.
TRANSIENT: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,  # the connection was closed under us
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,  # shutdown, crash, cancelled by a timeout
    asyncpg.TransactionRollbackError,  # deadlock, serialization
    asyncpg.LockNotAvailableError,
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, too many connections
    asyncpg.ReadOnlySQLTransactionError,  # a standby, until the failover is through
    asyncpg.IdleInTransactionSessionTimeoutError,
)


async def open_pool(url: str, *, connections_max: int, application_name: str) -> asyncpg.Pool:
    """A pool, once the database answers: waits for it with back-off, and says so, for as long as it takes."""
    async for attempt in retrying("connect to the database"):
        with attempt:
            return await asyncpg.create_pool(
                url,
                min_size=1,
                max_size=connections_max,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=COMMAND_TIMEOUT_S,
                server_settings={**SERVER_SETTINGS, "application_name": application_name},
            )
    raise AssertionError("retrying() never gives up")


def retrying(what: str) -> AsyncIterator[stamina.Attempt]:
    """Attempts until one works: jittered, at most 5 s apart, each logged. `async for attempt in …: with attempt: …`."""

    def is_transient(error: Exception) -> bool:
        if not isinstance(error, TRANSIENT):
            return False
        log.warning("database is away, trying again", task=what, error=f"{type(error).__name__}: {error}"[:300])
        return True

    return aiter(
        stamina.retry_context(
            on=is_transient, attempts=None, timeout=None, wait_initial=0.1, wait_max=5, wait_jitter=0.5
        )
    )


@contextlib.asynccontextmanager
async def transaction(pool: asyncpg.Pool) -> AsyncIterator[asyncpg.Connection]:
    """A connection inside a transaction. On a read-only server every pooled connection is given up."""
    try:
        async with pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection, connection.transaction():
            yield connection
    except asyncpg.ReadOnlySQLTransactionError:
        await pool.expire_connections()
        raise


def load_queries(path: Path) -> dict[str, str]:
    """The named queries of an SQL file: each begins with a line `-- name: the_name`."""
    parts = re.split(r"^-- name: (\w+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}
