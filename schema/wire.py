"""One table per message says how each field is written, read and described; this module carries the tables out.

A message's table drives its encoder, its decoder and its JSON Schema, so the three cannot disagree. Unknown fields are
ignored, missing or malformed ones are Malformed with the field named.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import orjson

from schema import stellar
from schema.stellar import Malformed

JsonObject = dict[str, Any]
_YEAR_MIN: Final = 2000
_YEAR_MAX: Final = 2199  # far enough; adding a command's life to it stays a time
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME: Final = re.compile(r"[0-9-]{10}T[0-9:]{8}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})")
_SHA_256: Final = re.compile(r"[0-9a-f]{64}")
SCHEMA_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How one sort of value stands on the wire."""

    read: Callable[[Any], Any]
    write: Callable[[Any], Any]
    json_schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its name on the wire, the attribute that holds it, its kind."""

    name: str
    attribute: str
    kind: Kind


def encode(table: tuple[Field, ...], message: object) -> bytes:
    """The message's bytes: its fields as JSON, in the table's order. The same message gives the same bytes."""
    return orjson.dumps(_to_json(table, message))


def decode(table: tuple[Field, ...], body: bytes) -> dict[str, Any]:
    """The attributes that these bytes say; Malformed when a field is missing, of another type or out of range."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(body[:80], expected=f"JSON ({error})", field="value") from error
    return _from_json(table, parsed)


def json_schema(table: tuple[Field, ...], *, title: str, description: str) -> JsonObject:
    """The table as a JSON Schema document."""
    return {"$schema": SCHEMA_DIALECT, "title": title, "description": description, **_object_schema(table)}


def _to_json(table: tuple[Field, ...], message: object) -> JsonObject:
    return {field.name: field.kind.write(getattr(message, field.attribute)) for field in table}


def _from_json(table: tuple[Field, ...], parsed: object) -> dict[str, Any]:
    if not isinstance(parsed, dict):
        raise Malformed(parsed, expected="a JSON object")
    attributes = {}
    for field in table:
        try:
            attributes[field.attribute] = field.kind.read(parsed[field.name])
        except KeyError:
            raise Malformed(None, expected="a field of this name: it is missing", field=field.name) from None
        except Malformed as malformed:
            raise malformed.within(field.name) from None
    return attributes


def _object_schema(table: tuple[Field, ...]) -> JsonObject:
    return {
        "type": "object",
        "required": [field.name for field in table],
        "properties": {field.name: dict(field.kind.json_schema) for field in table},
    }


def _text_kind(
    parse: Callable[[str], Any], write: Callable[[Any], Any] = str, **constraints: str | int | list[str]
) -> Kind:
    def read(value: object) -> Any:
        if not isinstance(value, str):
            raise Malformed(value, expected="text")
        return parse(value)

    return Kind(read=read, write=write, json_schema={"type": "string", **constraints})


def _unchanged(value: Any) -> Any:
    return value


def _read_bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise Malformed(value, expected="true or false")
    return value


def _read_ledger(value: object) -> stellar.Ledger:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= stellar.LEDGER_MAX:
        raise Malformed(value, expected="a ledger: a whole number from 1 to 4294967295")
    return stellar.Ledger(value)


def _parse_uuid(text: str) -> UUID:
    if not _UUID.fullmatch(text):
        raise Malformed(text, expected="a UUID in lower case with hyphens")
    return UUID(int=int(text.replace("-", ""), 16))


@lru_cache(maxsize=4096)  # everything that one ledger brings has its time
def parse_time(text: str) -> datetime:
    """RFC 3339 with an offset, in UTC afterwards; Malformed otherwise. What is finer than microseconds is cut off."""
    try:
        time = datetime.fromisoformat(text) if _TIME.fullmatch(text) else None
    except ValueError:
        time = None
    if time is None or not _YEAR_MIN <= time.year <= _YEAR_MAX:
        raise Malformed(text, expected="a time like 2026-01-31T12:00:00Z")
    return time.astimezone(UTC)


def format_time(time: datetime) -> str:
    """`2026-01-31T12:00:00Z`, with microseconds only where there are any."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _parse_hash(text: str) -> str:
    if not _SHA_256.fullmatch(text):
        raise Malformed(text, expected="a transaction hash: 64 hexadecimal digits in lower case")
    return text


def _parse_operation_id(text: str) -> str:
    stellar.ledger_of_operation(text)
    return text


UUID_KIND: Final = _text_kind(_parse_uuid, format="uuid")
ACCOUNT_ID: Final = _text_kind(stellar.parse_account_id, pattern="^G[A-Z2-7]{55}$")
ADDRESS: Final = _text_kind(stellar.parse_address, pattern="^[GCLB][A-Z2-7]{55,68}$")
ASSET: Final = _text_kind(stellar.Asset.parse, pattern="^[A-Za-z0-9]{1,12}:G[A-Z2-7]{55}$")
AMOUNT: Final = _text_kind(
    stellar.parse_stroops, stellar.format_stroops, pattern=r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,7})?$"
)
SIGNED_AMOUNT: Final = _text_kind(
    stellar.parse_signed_stroops,
    stellar.format_signed_stroops,
    pattern=r"^[+-](0|[1-9][0-9]{0,11})(\.[0-9]{1,7})?$",
)
TRANSACTION_HASH: Final = _text_kind(_parse_hash, pattern="^[0-9a-f]{64}$")
OPERATION_ID: Final = _text_kind(_parse_operation_id, pattern="^[0-9]{10,19}$")
TIME: Final = _text_kind(parse_time, format_time, format="date-time")
LEDGER: Final = Kind(
    read=_read_ledger,
    write=_unchanged,
    json_schema={"type": "integer", "minimum": 1, "maximum": stellar.LEDGER_MAX},
)
BOOL: Final = Kind(read=_read_bool, write=_unchanged, json_schema={"type": "boolean"})


def text(*, characters_max: int) -> Kind:
    """Free text of one character or more."""

    def parse(value: str) -> str:
        if not 1 <= len(value) <= characters_max or "\0" in value:
            raise Malformed(value, expected=f"text of 1 to {characters_max} characters, none of them NUL")
        return value

    return _text_kind(parse, minLength=1, maxLength=characters_max)


def choice(options: type[StrEnum]) -> Kind:
    """One of an enumeration's values."""
    by_value = {option.value: option for option in options}

    def parse(value: str) -> StrEnum:
        option = by_value.get(value)
        if option is None:
            raise Malformed(value, expected=" or ".join(by_value))
        return option

    return _text_kind(parse, enum=list(by_value))


def nullable(kind: Kind) -> Kind:
    """The kind, or null. The field itself must be there."""
    return Kind(
        read=lambda value: None if value is None else kind.read(value),
        write=lambda value: None if value is None else kind.write(value),
        json_schema={"anyOf": [dict(kind.json_schema), {"type": "null"}]},
    )


def item(table: tuple[Field, ...], build: Callable[..., Any]) -> Kind:
    """An object inside the message, with a table of its own."""
    return Kind(
        read=lambda value: build(**_from_json(table, value)),
        write=lambda value: _to_json(table, value),
        json_schema=_object_schema(table),
    )


def items(kind: Kind) -> Kind:
    """A list of one kind, held as a tuple."""

    def read(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise Malformed(value, expected="a list")
        found = []
        for index, each in enumerate(value):
            try:
                found.append(kind.read(each))
            except Malformed as malformed:
                raise malformed.within(f"[{index}]") from None
        return tuple(found)

    return Kind(
        read=read,
        write=lambda values: [kind.write(value) for value in values],
        json_schema={"type": "array", "items": dict(kind.json_schema)},
    )
