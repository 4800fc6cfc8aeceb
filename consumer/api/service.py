"""The API put together: people's requests on one port, health and metrics on another, until a signal ends it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import structlog
from aiohttp import ClientSession
from yarl import URL

from consumer.api import metrics
from consumer.api.app import Api
from consumer.api.cors import Origins
from consumer.api.keys import KeyRing, Read, from_file, from_url
from consumer.api.rates import Rates
from consumer.api.settings import ApiSettings
from consumer.api.store import ApiStore
from consumer.api.tokens import Rules
from consumer.api.waiting import Waiting
from consumer.starting import stop_on_signals, until_migrated
from schema.service import health, http_door
from schema.service.database import TRANSIENT
from schema.service.http_connection import House, Manners
from schema.service.problems import refusal
from schema.service.readiness import Readiness
from schema.service.settings import Unusable

log = structlog.get_logger(__name__)

BODY_BYTES_MAX: Final = 4 * 1024  # nothing in a body is needed
AT_ONCE_MAX: Final = 4  # of one person: a page, a retry, and somebody who waits
HEADERS_WITHIN_S: Final = 10.0
BODY_WITHIN_S: Final = 10.0
STOP_WITHIN_S: Final = 5.0  # who waits for a read is answered at once when it stops
PULSE_S: Final = 1.0


async def run(settings: ApiSettings) -> None:
    """Everything `python -m consumer api` does. Returns after SIGTERM or SIGINT; BadKeys or Unread at the start when
    AUTH_JWKS_FILE is no set of keys.
    """
    stopping = asyncio.Event()
    stop_on_signals(stopping)
    readiness = Readiness()
    readiness.down("database", "not connected yet")
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(ClientSession())
        keys = KeyRing(_reader(settings, session), secret=settings.auth_jwt_secret, readiness=readiness)
        if settings.auth_jwks_file is not None:
            await keys.look()
        page = await health.start(
            host=settings.http_host, port=settings.http_port, registry=metrics.REGISTRY, unready=readiness.reasons
        )
        stack.push_async_callback(page.cleanup)
        store = await ApiStore.open(
            settings.database_url,
            network=settings.stellar_network,
            asset=settings.asset,
            default_policy=settings.policy,
        )
        stack.callback(store.close)
        await until_migrated(store.check_tables, readiness, stopping)
        waiting = Waiting(store, url=settings.database_url, readiness=readiness)
        api = Api(
            store=store,
            waiting=waiting,
            keys=keys,
            rules=Rules(audience=settings.auth_audience, issuer=settings.auth_issuer),
            rates=Rates(per_minute=settings.api_requests_per_minute, at_once_max=AT_ONCE_MAX),
            reads_per_minute=settings.api_reads_per_minute,
            origins=Origins(settings.api_allowed_origins),
        )
        door = await stack.enter_async_context(contextlib.AsyncExitStack())
        try:
            address = await door.enter_async_context(
                opened(api, manners(settings), host=settings.api_host, port=settings.api_port)
            )
        except OSError as error:
            raise Unusable(f"API_HOST and API_PORT cannot be opened: {error}") from error
        log.info("people may ask", address=str(address))
        async with asyncio.TaskGroup() as tasks:
            work = (keys.run(), waiting.listen(), waiting.look(), _pulse(store, readiness))
            running = [tasks.create_task(each) for each in work]
            await stopping.wait()
            waiting.end()
            await door.aclose()
            for task in running:
                task.cancel()
        log.info("api has stopped")


def manners(settings: ApiSettings) -> Manners:
    """What the settings say of who is connected."""
    return Manners(
        connections_max=settings.api_connections_max,
        per_address_max=settings.api_connections_per_address_max,
        trusted=settings.api_trusted_proxies,
        headers_within_s=HEADERS_WITHIN_S,
        body_within_s=BODY_WITHIN_S,
        body_bytes_max=BODY_BYTES_MAX,
        rest_s=settings.api_rest_s,
        stop_within_s=STOP_WITHIN_S,
    )


@contextlib.asynccontextmanager
async def opened(api: Api, manners: Manners, *, host: str, port: int) -> AsyncIterator[URL]:
    """The door that people come to, until the block ends; yields its address."""
    answer, request = await http_door.application(
        api.routes(), api.middlewares(), body_bytes_max=manners.body_bytes_max
    )
    house = House(
        answer=answer,
        request=request,
        refusal=refusal,
        refused=lambda problem: metrics.REQUESTS.labels("none", problem.status.value).inc(),
        connections=metrics.CONNECTIONS,
        cut=metrics.CUT,
        forgets_the_gone=True,
    )
    async with http_door.opened(house, manners, host=host, port=port) as address:
        yield address


def _reader(settings: ApiSettings, session: ClientSession) -> Read | None:
    if settings.auth_jwks_url is not None:
        if settings.auth_jwks_url.startswith("http://"):
            log.warning("keys over http: whoever is between can sign in as anybody", address=settings.auth_jwks_url)
        return from_url(session, settings.auth_jwks_url)
    return None if settings.auth_jwks_file is None else from_file(settings.auth_jwks_file)


async def _pulse(store: ApiStore, readiness: Readiness) -> None:
    """Ask the database for a sign of life, for ever: people may ask rarely, and the readiness page must be true."""
    while True:
        try:
            await store.is_there()
        except TRANSIENT as error:
            readiness.down("database", f"{type(error).__name__}: {error}")
        else:
            readiness.up("database")
        await asyncio.sleep(PULSE_S)
