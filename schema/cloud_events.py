"""CloudEvents 1.0, binary mode on Kafka: the envelope's headers. The body is the message itself."""

import hashlib
from collections.abc import Iterable
from typing import Final
from uuid import UUID

from schema.stellar import Malformed

SPEC_VERSION: Final = b"1.0"


def headers(*, type_: str, id_: str, source: str, trace: UUID) -> list[tuple[str, bytes]]:
    """The headers of one message. `trace` ties the messages of one payment together: the causing event's id."""
    span = hashlib.blake2b(id_.encode(), digest_size=8).hexdigest()
    return [
        ("ce_specversion", SPEC_VERSION),
        ("ce_type", type_.encode()),
        ("ce_id", id_.encode()),
        ("ce_source", source.encode()),
        ("content-type", b"application/json"),
        ("traceparent", f"00-{trace.hex}-{span}-01".encode()),
    ]


def check_version(received: Iterable[tuple[str, bytes | None]], type_: str) -> None:
    """Malformed when the headers name another type or version than the reader's; no headers at all are accepted."""
    for name, value in received:
        if name == "ce_type" and value != type_.encode():
            raise Malformed(_shown(value), expected=type_, field="header ce_type")
        if name == "ce_specversion" and value != SPEC_VERSION:
            raise Malformed(_shown(value), expected="1.0", field="header ce_specversion")


def _shown(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")
