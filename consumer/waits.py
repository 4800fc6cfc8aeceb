"""Two small loops for what time brings: wallets whose wait is over, and commands that are past theirs."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from consumer import metrics
from consumer.batch import Writes
from consumer.store import REFUSED, Store
from schema.service.database import TRANSIENT
from schema.service.pausing import wait
from schema.service.readiness import Readiness

log = structlog.get_logger(__name__)

DUE_EVERY_S: Final = 0.5
EXPIRED_EVERY_S: Final = 5.0  # also the pace at which one wallet is read again until chain time has passed the bound
WALLETS_MAX: Final = 500


async def wake_due_wallets(
    store: Store, on_recorded: Callable[[Writes], None], readiness: Readiness, stopping: asyncio.Event
) -> None:
    """Give the wallets that are due their input, in batches, until told to stop. Also the database's pulse.

    One for which the database refuses what follows is cornered by halves, so that it holds up no other.
    """
    wallets_max = WALLETS_MAX
    while not stopping.is_set():
        woken = 0
        try:
            writes = await store.wake_due(wallets_max=wallets_max)
        except REFUSED:
            if wallets_max == 1:
                raise  # it cannot even be put off: a bug
            wallets_max //= 2
            continue
        except TRANSIENT as error:
            readiness.down("database", repr(error))
        else:
            readiness.up("database")
            woken = writes.counts.total()
            metrics.count(writes)
            if woken:
                on_recorded(writes)
        was_full = woken == wallets_max
        wallets_max = min(2 * wallets_max, WALLETS_MAX)
        if not was_full:
            await wait(stopping, seconds=DUE_EVERY_S)


async def have_expired_read(store: Store, stopping: asyncio.Event) -> None:
    """Ask for a read of every wallet with a command past its time, until told to stop. Also counts those on hold."""
    while not stopping.is_set():
        try:
            asked = await store.request_reads_of_expired(wallets_max=WALLETS_MAX)
            metrics.HELD.set(await store.held())
        except TRANSIENT as error:
            log.warning("expired commands wait, the database is away", error=repr(error)[:300])
        else:
            if asked:
                metrics.READS_REQUESTED.inc(asked)
                log.info("asked for reads of wallets with expired commands", wallets=asked)
        await wait(stopping, seconds=EXPIRED_EVERY_S)
