"""PostgreSQL: a pool with limits on everything, and which errors pass by themselves."""

import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import asyncpg
import stamina
import structlog

from schema.service.readiness import Readiness
from schema.service.settings import Unusable

log = structlog.get_logger(__name__)

# A batch takes milliseconds, what takes this long hangs. All of it together leaves a link that fell silent within 15 s.
CONNECT_TIMEOUT_S: Final = 5
COMMAND_TIMEOUT_S: Final = 8
AGAIN_S_MAX: Final = 1.0
SERVER_SETTINGS: Final = {
    "statement_timeout": "8s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",  # a stopped process, or one that is cut off, lets go of its locks
}

# What a restart, a failover or a busy moment brings: try again, nothing is lost. Everything else is a bug.
TRANSIENT: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,  # the connection was closed under us
    asyncpg.InternalClientError,  # asyncpg's word for a query after the server's farewell, before it hangs up
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,  # shutdown, crash, cancelled by a timeout
    asyncpg.TransactionRollbackError,  # deadlock, serialization
    asyncpg.LockNotAvailableError,
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, too many connections
    asyncpg.ReadOnlySQLTransactionError,  # a standby, until the failover is through
    asyncpg.IdleInTransactionSessionTimeoutError,
)


# Of an attempt to connect: what a person must change, in DATABASE_URL or in the database.
REFUSED: Final = (
    asyncpg.InvalidAuthorizationSpecificationError,  # the password, too
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,  # no right to connect
    asyncpg.ObjectNotInPrerequisiteStateError,  # the database takes no connections
    asyncpg.UndefinedObjectError,  # what stands behind the URL's ? goes to the server: Prisma's `pgbouncer=true`
    asyncpg.InvalidParameterValueError,  # the same, with a value that makes no sense
    asyncpg.CantChangeRuntimeParamError,  # the same, of a setting that no session may change
    ValueError,  # asyncpg's word for a URL that it cannot read; also its ClientConfigurationError
)

# What comes of prepared statements where a pooler gives each transaction another of its connections.
POOLED: Final = (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)
SESSION_MODE: Final = "a pooler that DATABASE_URL leads through has to be in session mode (docs/database.md)"


async def open_pool(url: str, *, connections_max: int, application_name: str) -> asyncpg.Pool:
    """A pool, once the database answers: waits for it with back-off, and says so, for as long as it takes. Unusable
    when it refuses the login, or the URL is none.
    """
    async for attempt in retrying("connect to the database"):
        with attempt, refusals():
            return await asyncpg.create_pool(
                url,
                min_size=1,
                max_size=connections_max,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=COMMAND_TIMEOUT_S,
                server_settings={**SERVER_SETTINGS, "application_name": application_name},
            )
    raise AssertionError("retrying() never gives up")


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Around an attempt to connect: what a person must change comes out as Unusable."""
    try:
        yield
    except (*REFUSED, asyncpg.ProtocolViolationError) as error:
        if not _is_for_a_person(error):
            raise
        raise Unusable(refusal(error)) from error


def _is_for_a_person(error: Exception) -> bool:
    """Whether it is REFUSED, or what PgBouncer says of our limits. It gives all that it says the same code, also what
    passes by itself.
    """
    return not isinstance(error, asyncpg.ProtocolViolationError) or "startup parameter" in str(error)


def refusal(error: Exception) -> str:
    """What to say of one that is REFUSED. A URL that cannot be read is not quoted: its password may be what is."""
    if isinstance(error, asyncpg.ProtocolViolationError):
        settings = ",".join(SERVER_SETTINGS)
        return (
            f"DATABASE_URL is refused by a pooler: {error}. PgBouncer: `ignore_startup_parameters = {settings}`, and "
            f"the limits given to the login instead; {SESSION_MODE}"
        )
    if isinstance(error, ssl.SSLCertVerificationError):  # a ValueError, too
        return f"DATABASE_URL leads to a database whose certificate is not believed: {error}"
    if isinstance(error, ValueError):
        return (
            "DATABASE_URL cannot be read: expected postgresql://user:password@host:port/database, in which letters and "
            "digits stand as they are and everything else in a name or a password as %XX"
        )
    return f"DATABASE_URL is refused by the database: {error}"


def retrying(what: str, readiness: Readiness | None = None) -> AsyncIterator[stamina.Attempt]:
    """Attempts until one works, jittered, about a second apart. `async for attempt in …: with attempt: …`.

    Each is logged, and said to `readiness`; that the database is up again is for the caller to say.
    """

    def is_transient(error: Exception) -> bool:
        if not isinstance(error, TRANSIENT):
            return False
        said = f"{type(error).__name__}: {error}"[:300]
        log.warning("database is away, trying again", task=what, error=said)
        if readiness is not None:
            readiness.down("database", said)
        return True

    return aiter(
        stamina.retry_context(
            on=is_transient, attempts=None, timeout=None, wait_initial=0.1, wait_max=AGAIN_S_MAX, wait_jitter=0.2
        )
    )


@contextlib.asynccontextmanager
async def connected(pool: asyncpg.Pool) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the pool.

    One that fell silent is closed at once, for its rollback and its cancellation would wait in vain once more; and all
    others are given up, too: they led over the same link, or to a server that is read-only now. Unusable when the
    database refuses the login since the pool was opened.
    """
    is_open = False
    try:
        async with pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection:
            is_open = True
            try:
                yield connection
            except TimeoutError:
                connection.terminate()
                raise
    except (TimeoutError, asyncpg.ReadOnlySQLTransactionError):
        await pool.expire_connections()
        raise
    except POOLED as error:
        raise Unusable(f"prepared statements get lost on the way: {SESSION_MODE}") from error
    except (*REFUSED, asyncpg.ProtocolViolationError) as error:
        if is_open or not _is_for_a_person(error):
            raise
        raise Unusable(refusal(error)) from error


@contextlib.asynccontextmanager
async def transaction(
    pool: asyncpg.Pool, *, isolation: str | None = None, readonly: bool = False
) -> AsyncIterator[asyncpg.Connection]:
    """A connection inside a transaction."""
    async with connected(pool) as connection:
        begun = connection.transaction(isolation=isolation, readonly=readonly)
        await begun.start()
        try:
            yield connection
        except TimeoutError:
            raise  # the connection will be closed, and the server rolls back
        except BaseException:
            if not connection.is_closed():
                await begun.rollback()
            raise
        else:
            await begun.commit()


async def check_writable(connection: asyncpg.Connection) -> None:
    """ReadOnlySQLTransactionError where the database can only be read: to be asked before somebody needs to write."""
    if await connection.fetchval("select current_setting('transaction_read_only')::boolean"):
        raise asyncpg.ReadOnlySQLTransactionError("nothing can be written: the server is a standby, or made read-only")


def load_queries(path: Path) -> dict[str, str]:
    """The named queries of an SQL file: each begins with a line `-- name: the_name`."""
    parts = re.split(r"^-- name: (\w+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}
