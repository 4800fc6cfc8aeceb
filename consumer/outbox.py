"""The relay: rows that wait in the outbox go to Kafka as they are; the broker's ack comes first, the mark after it.

What may repeat: a command whose mark was lost is sent again, with the same id and the same bytes. What cannot happen:
two contents under one id, or a wallet's commands out of order.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Final

import orjson
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from consumer import metrics, rows
from consumer.store import Store, Unsent
from schema import cloud_events, deposit_command
from schema.service import kafka
from schema.service.database import TRANSIENT
from schema.service.kafka import Record, TooLarge, Undelivered
from schema.service.pausing import wait
from schema.service.readiness import Readiness

log = structlog.get_logger(__name__)

SEND_DEADLINE_S: Final = 7.0  # a bit more than one request has; less than the database's patience with a transaction
STOP_DEADLINE_S: Final = 1.0
DEAD_LETTERS_BYTES_MAX: Final = 1024 * 1024  # of a round, and one more: what a slow link takes within the deadline
POLL_S: Final = 0.5  # for rows of other processes, and when a wake-up was missed
LOCKED_RETRY_S: Final = 0.05
FAILED_RETRY_S: Final = 0.5


class Outbox:
    """Publishes what the decisions left behind. Several relays may run: one at a time holds the lock."""

    def __init__(  # noqa: PLR0913 - what the path leads through
        self,
        *,
        store: Store,
        open_producer: Callable[[], AIOKafkaProducer],
        commands_topic: str,
        dead_letters_topic: str,
        source: str,
        rows_max: int,
        clock: Callable[[], datetime],
        readiness: Readiness,
    ) -> None:
        self._store = store
        self._open_producer = open_producer
        self._commands_topic = commands_topic
        self._dead_letters_topic = dead_letters_topic
        self._source = source
        self._rows_max = rows_max
        self._clock = clock
        self._readiness = readiness
        self._awake = asyncio.Event()

    def wake(self) -> None:
        """Rows were committed: look now."""
        self._awake.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Relay until told to stop, and then once more what is left."""
        self._readiness.down("relay", "not connected yet")
        while not stopping.is_set():
            producer = self._open_producer()
            try:
                await kafka.start_producer(producer)
                await self._relay(producer, stopping)
            except (Undelivered, KafkaError, *TRANSIENT) as error:
                self._readiness.down("relay", f"cannot publish: {error!r}")
                metrics.SEND_FAILURES.inc()
                log.warning("nothing marked as sent, trying again", error=repr(error)[:300], wait_s=FAILED_RETRY_S)
            finally:
                await kafka.stop(producer, deadline_s=STOP_DEADLINE_S)
            await wait(stopping, seconds=FAILED_RETRY_S)

    async def _relay(self, producer: AIOKafkaProducer, stopping: asyncio.Event) -> None:
        while True:
            self._awake.clear()
            sent = await self._round(producer)
            self._readiness.up("relay")
            if sent is None:
                if stopping.is_set():
                    return
                await asyncio.sleep(LOCKED_RETRY_S)  # another relay is at it: what we came for may not be in its round
                continue
            if sent == 0:
                if stopping.is_set():
                    return
                await wait(self._awake, seconds=POLL_S)

    async def _round(self, producer: AIOKafkaProducer) -> int | None:
        """Publish what waits; how many rows that were, or None when another relay holds the lock.

        Commands first, and marked: what goes wrong with a dead letter holds up none of them.
        """
        commands = await self._publish(
            producer, self._store.unsent_commands(rows_max=self._rows_max), self._command, "commands"
        )
        for row in commands or ():
            log.info("deposit command sent", command_id=str(row["command_id"]), account_id=row["account_id"])
        dead_letters = await self._publish(
            producer,
            self._store.unsent_dead_letters(rows_max=self._rows_max, bytes_max=DEAD_LETTERS_BYTES_MAX),
            self._dead_letter,
            "dead_letters",
        )
        return None if commands is None or dead_letters is None else len(commands) + len(dead_letters)

    async def _publish(
        self,
        producer: AIOKafkaProducer,
        waiting: AbstractAsyncContextManager[Unsent | None],
        build: Callable[[rows.Row], Record],
        what: str,
    ) -> list[rows.Row] | None:
        async with waiting as unsent:
            if unsent is None:
                return None
            if unsent.rows:
                await _send(producer, [build(row) for row in unsent.rows])
                await unsent.mark_sent(self._clock())
        metrics.SENT.labels(what).inc(len(unsent.rows))
        return unsent.rows

    def _command(self, row: rows.Row) -> Record:
        headers = cloud_events.headers(
            type_=deposit_command.TYPE, id_=str(row["command_id"]), source=self._source, trace=row["trace_id"]
        )
        return Record(
            topic=self._commands_topic, key=row["account_id"].encode(), value=bytes(row["payload"]), headers=headers
        )

    def _dead_letter(self, row: rows.Row) -> Record:
        said = {name: str(row[name]) for name in ("id", "topic", "partition", "reason")}
        said |= {"offset": str(row["place"]), "detail": row["detail"] or "", "headers": row["headers"] or "[]"}
        headers = [(f"dead_letter_{name}", value.encode()) for name, value in said.items()]
        return Record(
            topic=self._dead_letters_topic,
            key=bytes(row["key"] or b""),
            value=bytes(row["value"] or b""),
            headers=headers,
        )


async def _send(producer: AIOKafkaProducer, records: Sequence[Record]) -> None:
    """All of them, acked. One too large for the topic is said without its value, which stays in its row."""
    left = list(records)
    while True:
        try:
            await kafka.send_all(producer, left, deadline_s=SEND_DEADLINE_S)
        except TooLarge as error:
            large = left[error.index]
            note = orjson.dumps({"value": f"{len(large.value)} bytes, kept in the table dead_letters"})
            if large.value == note:
                raise
            log.warning("too large to publish, sent without its value", topic=large.topic, error=str(error))
            left[error.index] = Record(topic=large.topic, key=large.key[:1000], value=note, headers=large.headers[:4])
        else:
            return
