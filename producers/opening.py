"""Everything a producer works with, opened and closed again; and, for one that runs for long, its page."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import aiohttp

from producers.asking import open_session
from producers.budget import Budget
from producers.horizon import Horizon
from producers.metrics import Metrics
from producers.parts import Parts
from producers.publisher import Publisher
from producers.settings import ProducerSettings
from producers.source import Source
from producers.store import Store
from schema.service import health
from schema.service.readiness import Readiness


@contextlib.asynccontextmanager
async def served(settings: ProducerSettings, *, name: str) -> AsyncIterator[Parts]:
    """The parts of a producer that runs until a signal, behind `/healthz`, `/readyz` and `/metrics`."""
    readiness, metrics = Readiness(), Metrics()
    readiness.down("database", "waited for")
    page = await health.start(
        host=settings.http_host, port=settings.http_port, registry=metrics.registry, unready=readiness.reasons
    )
    try:
        async with opened(settings, name=name, readiness=readiness, metrics=metrics) as parts:
            yield parts
    finally:
        await page.cleanup()


@contextlib.asynccontextmanager
async def opened(
    settings: ProducerSettings, *, name: str, readiness: Readiness | None = None, metrics: Metrics | None = None
) -> AsyncIterator[Parts]:
    """The parts, closed again in the end."""
    readiness, metrics = readiness or Readiness(), metrics or Metrics()
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session())
        store = await stack.enter_async_context(Store.opened(settings.database_url))
        publisher = Publisher(
            settings,
            client_id=f"producers-{name}",
            source=f"/{settings.stellar_network}/producers/{name}",
            topic=settings.balance_events_topic,
            readiness=readiness,
        )
        stack.push_async_callback(publisher.close)
        yield Parts(
            network=settings.stellar_network,
            asset=settings.asset,
            source=_source(settings, session, readiness),
            store=store,
            publisher=publisher,
            readiness=readiness,
            metrics=metrics,
            clock=lambda: datetime.now(UTC),
        )


def _source(settings: ProducerSettings, session: aiohttp.ClientSession, readiness: Readiness) -> Source:
    budget = Budget(settings.requests_per_hour)
    if settings.balance_source == "horizon":
        return Horizon(session, settings.horizon_url, budget=budget, readiness=readiness)
    from producers.rpc.source import Rpc  # the SDK that it needs takes half a second and 60 MB

    return Rpc(
        session,
        settings.rpc_url,
        network=settings.stellar_network,
        asset=settings.asset,
        budget=budget,
        readiness=readiness,
    )
