"""What cannot be taken in is kept: a dead letter has the record's coordinates, its bytes, and the reason. Pure."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

from schema.identity import NAMESPACE


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A record that was refused: where it lies, what it is, why (`reason` for machines, `detail` for people)."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]  # a header may be without a value, in Kafka
    reason: str
    detail: str

    @property
    def dead_letter_id(self) -> UUID:
        """The same for the same record in every replay; another one when a re-created topic reuses the offset."""
        digest = hashlib.blake2b(self.value or b"", digest_size=16).hexdigest()
        return uuid5(NAMESPACE, f"dead|{self.topic}|{self.partition}|{self.offset}|{digest}")

    def headers_as_text(self) -> list[list[str | None]]:
        """The headers as JSON can hold them: text where it is text, base64 otherwise."""
        return [[_as_text(name.encode()), None if value is None else _as_text(value)] for name, value in self.headers]


def _as_text(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(value).decode()
    return text.replace("\x00", "\\u0000")
