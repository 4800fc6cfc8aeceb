"""Facts are published, and the marks of their way kept: seconds from a ledger's close until each mark."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog

from producers.facts import Told
from producers.metrics import Metrics
from producers.parts import Parts
from producers.reader import Sighting
from schema import wire
from schema.balance_event import BalanceEvent
from schema.stellar import format_stroops

log = structlog.get_logger(__name__)

AT_ONCE: Final = 200  # handing them over and logging them takes some 20 ms in which nothing else has its turn


async def publish(told: Sequence[Told], parts: Parts) -> None:
    """Publish the facts among these. They are counted, and each is logged, when it is acked."""
    facts = [(each.sighting, each.event) for each in told if each.event is not None]
    for start in range(0, len(facts), AT_ONCE):
        portion = facts[start : start + AT_ONCE]
        await parts.publisher.publish([event for _, event in portion])
        _mark(portion, at=parts.clock(), metrics=parts.metrics)


def _mark(facts: Sequence[tuple[Sighting, BalanceEvent]], *, at: datetime, metrics: Metrics) -> None:
    """Latencies only where a payment caused the read: else nothing began it."""
    for sighting, event in facts:
        closed_at = sighting.touch.closed_at
        marks = {"seen": sighting.touch.seen_at, "read": sighting.read_at, "published": at}
        for mark, time in marks.items():
            if closed_at is not None and time is not None:
                metrics.latency.labels(mark).observe((time - closed_at).total_seconds())
        metrics.facts.labels(event.snapshot_type.value).inc()
        log.info(
            "fact published",
            account_id=event.account_id,
            event_id=str(event.event_id),
            snapshot_type=event.snapshot_type.value,
            ledger=event.ledger,
            balance=format_stroops(event.balance_stroops),
            movements=None if event.movements is None else len(event.movements),
            closed_at=_text(closed_at),
            **{f"{mark}_at": _text(time) for mark, time in marks.items()},
        )


def _text(time: datetime | None) -> str | None:
    return None if time is None else wire.format_time(time)
