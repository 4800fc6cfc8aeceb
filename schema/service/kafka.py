"""Kafka clients with the settings our promises need: acks from every replica, no duplicates of our own, deadlines."""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.helpers import create_ssl_context
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import RecordMetadata

from schema.service.kafka_headers import read_any_header_name
from schema.service.settings import KafkaSettings

log = structlog.get_logger(__name__)

MESSAGE_BYTES_MAX: Final = 8 * 1024 * 1024  # a fact after a long outage carries every movement: about 270 bytes each
BATCH_BYTES_MAX: Final = MESSAGE_BYTES_MAX + 64 * 1024  # with the batch's header and what lz4 adds to dense bytes
REQUEST_TIMEOUT_MS: Final = 6_000  # a link that fell silent is left after this long, and working again within 15 s
START_WITHIN_S: Final = 10.0
FETCH_BYTES: Final = 256 * 1024  # a larger batch comes alone; much more would not arrive in time over a slow link
_LINGER_BATCH_BYTES: Final = 128 * 1024  # 64,000 records/s where aiokafka's own 16 KiB give 25,000
_FETCH_WAIT_MS: Final = 50  # the embedded broker sits a fetch out even when a record comes; a real one answers at once
_ABANDON_STEP_S: Final = 0.5
_TOPICS_LOOK_MS: Final = (
    10_000  # how long a topic that is made late goes unread, in silence: aiokafka's own is 5 minutes
)


class Undelivered(Exception):
    """Not every record was acked in time. Transient: stop this producer, make another, send them all again."""


class TooLarge(Exception):
    """The record at `index` is larger than the client or the topic takes, now and for ever; the others may be sent."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"record {index}: {reason}")
        self.index = index


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record to send."""

    topic: str
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """The arguments that every client of these brokers shares."""
    return {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": settings.kafka_security_protocol,
        "sasl_mechanism": settings.kafka_sasl_mechanism,
        "sasl_plain_username": settings.kafka_sasl_username,
        "sasl_plain_password": settings.kafka_sasl_password,
        "ssl_context": _ssl_context(settings),
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
    }


def producer(settings: KafkaSettings, *, client_id: str) -> AIOKafkaProducer:
    """An idempotent producer that waits for every replica's ack. Use it through send_all() and stop()."""
    return AIOKafkaProducer(
        **connection(settings),
        client_id=client_id,
        acks="all",
        enable_idempotence=True,
        compression_type="lz4",
        linger_ms=0,
        max_batch_size=_LINGER_BATCH_BYTES,
        max_request_size=MESSAGE_BYTES_MAX,
    )


def consumer(
    settings: KafkaSettings, *topics: str, client_id: str, group_id: str | None, **options: Any
) -> AIOKafkaConsumer:
    """A consumer that commits only what it is told to, from the earliest record on."""
    defaults = {
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "max_partition_fetch_bytes": FETCH_BYTES,
        "fetch_max_bytes": 2 * FETCH_BYTES,
        "fetch_max_wait_ms": _FETCH_WAIT_MS,
        "metadata_max_age_ms": _TOPICS_LOOK_MS,
    }
    read_any_header_name()
    return AIOKafkaConsumer(
        *topics, **connection(settings), client_id=client_id, group_id=group_id, **{**defaults, **options}
    )


async def send_all(producer: AIOKafkaProducer, records: Sequence[Record], *, deadline_s: float) -> list[RecordMetadata]:
    """Send in this order and return when every record is acked, with their places.

    TooLarge names a record that will never be taken; where the client can tell, none of the others is sent either.
    Undelivered after `deadline_s` or a refusal: some are written, and some may yet be until stop(). By itself aiokafka
    would try for ever, for an idempotent batch never expires.
    """
    for index, record in enumerate(records):
        size = DefaultRecordBatchBuilder.estimate_size_in_bytes(record.key, record.value, list(record.headers))
        if size > MESSAGE_BYTES_MAX:
            raise TooLarge(index, f"{size} bytes are more than {MESSAGE_BYTES_MAX}")
    acks: list[asyncio.Future[RecordMetadata]] = []
    try:
        async with asyncio.timeout(deadline_s):
            for record in records:
                acks.append(  # noqa: PERF401 - what was begun must be known when it ends half way
                    await producer.send(record.topic, record.value, record.key, headers=list(record.headers))
                )
            return await asyncio.gather(*acks)
    except (KafkaError, TimeoutError) as error:
        raise _failure(acks, error, f"of {len(records)} records within {deadline_s} s") from error
    finally:
        for ack in acks:
            ack.cancel()  # nobody will ask for it any more


def _failure(acks: Sequence[asyncio.Future[RecordMetadata]], error: Exception, scope: str) -> TooLarge | Undelivered:
    faults = {index: ack.exception() for index, ack in enumerate(acks) if ack.done() and not ack.cancelled()}
    for index, fault in faults.items():
        if isinstance(fault, MessageSizeTooLargeError):
            return TooLarge(index, str(fault))
    acked = sum(fault is None for fault in faults.values())
    return Undelivered(f"acked {acked} {scope}: {error!r}")


async def stop(producer: AIOKafkaProducer, *, deadline_s: float) -> None:
    """Send what is still waiting, within the deadline, and close; whatever is left is given up and never sent later."""
    if producer._closed:  # noqa: SLF001 - given up before: its flush would wait for ever
        return
    try:
        async with asyncio.timeout(deadline_s):
            await producer.flush()
            await producer.stop()
    except TimeoutError:
        log.warning("producer closed with records unsent", deadline_s=deadline_s)
        await _abandon(producer)


async def _abandon(producer: AIOKafkaProducer) -> None:
    """End a producer that cannot flush: aiokafka's stop() would wait for acks for ever, and so would its sender."""
    sender = producer._sender.sender_task  # noqa: SLF001
    producer._closed = True  # noqa: SLF001 - it is, from here on
    if sender is not None:
        sender.cancel()  # no new request; those in flight it waits for
    await producer.client.close()  # so these fail now
    while sender is not None and not sender.done():
        await asyncio.wait([sender], timeout=_ABANDON_STEP_S)
        sender.cancel()  # it waits for news of a cluster that it will never hear


async def start_producer(producer: AIOKafkaProducer) -> None:
    """Connect, within START_WITHIN_S. TimeoutError or a KafkaError: stop() it, and make another."""
    starting = asyncio.ensure_future(producer.start())
    try:
        async with asyncio.timeout(START_WITHIN_S):
            await asyncio.shield(starting)
    except BaseException:
        await asyncio.wait([starting], timeout=_ABANDON_STEP_S)  # cut off in the middle it leaves connections open
        starting.cancel()
        raise


async def stop_consumer(consumer: AIOKafkaConsumer, *, deadline_s: float) -> None:
    """Leave the group and close, within the deadline; the broker forgets the member later where it cannot be told.

    aiokafka's own stop() waits for a silent broker, and where one is gone it lets a CancelledError of its own fetches
    out, which reads as if we had been cancelled, and leaves connections open.
    """
    closing = asyncio.create_task(consumer.stop())
    await asyncio.wait([closing], timeout=deadline_s)
    if closing.done() and not closing.cancelled() and closing.exception() is None:
        return
    parts = (consumer._coordinator, consumer._fetcher)  # noqa: SLF001
    inner = [value for part in parts if part is not None for value in vars(part).values()]
    left = {task for task in (closing, *inner) if isinstance(task, asyncio.Task)}
    left |= consumer._fetcher._pending_tasks  # noqa: SLF001
    for task in left:
        task.cancel()
    await asyncio.wait(left)
    await consumer._client.close()  # noqa: SLF001


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext | None:
    if settings.kafka_security_protocol not in ("SSL", "SASL_SSL"):
        return None
    context: ssl.SSLContext = create_ssl_context(
        cafile=settings.kafka_ssl_cafile,
        certfile=settings.kafka_ssl_certfile,
        keyfile=settings.kafka_ssl_keyfile,
    )
    return context
