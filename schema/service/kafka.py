"""Kafka clients with the settings our promises need: acks from every replica, no duplicates of our own, deadlines."""

import ssl
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.helpers import create_ssl_context

from schema.service.settings import KafkaSettings

MESSAGE_BYTES_MAX: Final = 8 * 1024 * 1024  # a fact after a long outage carries every movement: about 270 bytes each
REQUEST_TIMEOUT_MS: Final = 10_000


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
    """An idempotent producer that waits for every replica's ack. Put a deadline around each send and around stop()."""
    return AIOKafkaProducer(
        **connection(settings),
        client_id=client_id,
        acks="all",
        enable_idempotence=True,
        compression_type="lz4",
        linger_ms=0,
        max_request_size=MESSAGE_BYTES_MAX,
    )


def consumer(
    settings: KafkaSettings, *topics: str, client_id: str, group_id: str | None, **options: Any
) -> AIOKafkaConsumer:
    """A consumer that commits only what it is told to, from the earliest record on."""
    return AIOKafkaConsumer(
        *topics,
        **connection(settings),
        client_id=client_id,
        group_id=group_id,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=MESSAGE_BYTES_MAX,
        fetch_max_bytes=4 * MESSAGE_BYTES_MAX,
        **options,
    )


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext | None:
    if settings.kafka_security_protocol not in ("SSL", "SASL_SSL"):
        return None
    context: ssl.SSLContext = create_ssl_context(
        cafile=settings.kafka_ssl_cafile,
        certfile=settings.kafka_ssl_certfile,
        keyfile=settings.kafka_ssl_keyfile,
    )
    return context
