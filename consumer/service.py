"""The consumer put together: the loop, the relay and the waits in one process, until a signal ends it."""

import asyncio
from datetime import UTC, datetime
from typing import Final

import structlog

from consumer import metrics
from consumer.batch import Writes
from consumer.loop import Loop
from consumer.outbox import Outbox
from consumer.records import Reader
from consumer.settings import ConsumerSettings
from consumer.starting import stop_on_signals, until_migrated
from consumer.store import Store
from consumer.waits import have_expired_read, wake_due_wallets
from schema.service import health, kafka
from schema.service.database import open_pool
from schema.service.readiness import Readiness

log = structlog.get_logger(__name__)

CLIENT_ID: Final = "stellar-consumer"
CONNECTIONS_MAX: Final = 5  # the loop, the relay, the two waits, and one to spare


async def run(settings: ConsumerSettings) -> None:
    """Everything `python -m consumer` does. Returns after SIGTERM or SIGINT, with the batch in hand finished."""
    stopping = asyncio.Event()
    stop_on_signals(stopping)
    readiness = Readiness()
    readiness.down("database", "not connected yet")
    page = await health.start(
        host=settings.http_host, port=settings.http_port, registry=metrics.REGISTRY, unready=readiness.reasons
    )
    pool = await open_pool(settings.database_url, connections_max=CONNECTIONS_MAX, application_name=CLIENT_ID)
    store = Store(pool=pool, network=settings.stellar_network, asset=settings.asset, default_policy=settings.policy)
    await until_migrated(store.check_tables, readiness, stopping)
    outbox = Outbox(
        store=store,
        open_producer=lambda: kafka.producer(settings, client_id=CLIENT_ID),
        commands_topic=settings.deposit_commands_topic,
        dead_letters_topic=settings.dead_letters_topic,
        source=f"/{settings.stellar_network}/consumer",
        rows_max=settings.outbox_batch_max,
        clock=lambda: datetime.now(UTC),
        readiness=readiness,
    )

    def on_recorded(writes: Writes) -> None:
        if writes.commands or writes.dead_letters:
            outbox.wake()

    loop = Loop(
        open_consumer=lambda: kafka.consumer(
            settings,
            client_id=CLIENT_ID,
            group_id=settings.consumer_group,
            session_timeout_ms=settings.group_session_timeout_ms,
            heartbeat_interval_ms=settings.group_session_timeout_ms // 4,
        ),
        topics=(settings.balance_events_topic, settings.deposit_results_topic),
        reader=Reader(
            network=settings.stellar_network, asset=settings.asset, results_topic=settings.deposit_results_topic
        ),
        store=store,
        batch_events_max=settings.batch_events_max,
        on_recorded=on_recorded,
        readiness=readiness,
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            for work in (
                loop.run(stopping),
                outbox.run(stopping),
                wake_due_wallets(store, on_recorded, readiness, stopping),
                have_expired_read(store, stopping),
            ):
                tasks.create_task(work)
    finally:
        pool.terminate()
        await page.cleanup()
        log.info("consumer has stopped")
