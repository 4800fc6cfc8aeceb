"""The kinds that messages are made of: read, written, and said in JSON Schema."""

import time as time_module
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema import balance_event, deposit_result, wire
from schema.stellar import Malformed
from tests.unit.schema.messages import (
    MISSING,
    TIME_SHAPE,
)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        ("2026-01-31T12:00:00.123456789Z", datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)),
        ("2000-01-01T00:00:00Z", datetime(2000, 1, 1, tzinfo=UTC)),
        ("2199-12-31T23:59:59Z", datetime(2199, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_utc(text: str, time: datetime) -> None:
    """With any offset, to the microsecond, in these two centuries."""
    assert wire.parse_time(text) == time
    assert wire.parse_time(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-02-30T12:00:00Z",
        "1999-12-31T23:59:59Z",
        "2200-01-01T00:00:00Z",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """Without an offset, a day that is none, or a year nobody means."""
    with pytest.raises(Malformed) as malformed:
        wire.parse_time(text)
    assert str(malformed.value) == f"value is {text!r}, expected {TIME_SHAPE}"


@given(st.datetimes(min_value=datetime(2000, 1, 2), max_value=datetime(2199, 12, 30)), st.integers(-23, 23))  # noqa: DTZ001
def test_times_come_back_as_they_went(time: datetime, hours: int) -> None:
    """Whatever their offset was, they are written in UTC and are the same moment."""
    moment = time.replace(tzinfo=timezone(timedelta(hours=hours)))
    text = wire.format_time(moment)
    assert text.endswith("Z")
    assert wire.parse_time(text) == moment


def test_how_times_are_written() -> None:
    """Microseconds only where there are any."""
    assert wire.format_time(datetime(2026, 1, 31, 12, tzinfo=UTC)) == "2026-01-31T12:00:00Z"
    assert wire.format_time(datetime(2026, 1, 31, 12, 0, 0, 5, tzinfo=UTC)) == "2026-01-31T12:00:00.000005Z"


class Colour(StrEnum):
    """For a choice."""

    RED = "red"
    DARK_BLUE = "dark blue"


def bent(kind: wire.Kind, value: object) -> str:
    with pytest.raises(Malformed) as malformed:
        kind.read(value)
    return str(malformed.value)


def test_a_text_of_so_many_characters() -> None:
    """From one to the most, and no NUL; its schema says so."""
    kind = wire.text(characters_max=3)
    assert [kind.read("a"), kind.read("abc"), kind.write("abc")] == ["a", "abc", "abc"]
    assert bent(kind, "") == "value is '', expected text of 1 to 3 characters, none of them NUL"
    assert bent(kind, "abcd") == "value is 'abcd', expected text of 1 to 3 characters, none of them NUL"
    assert bent(kind, "a\0b") == "value is 'a\\x00b', expected text of 1 to 3 characters, none of them NUL"
    assert bent(kind, 7) == "value is 7, expected text"
    assert kind.json_schema == {"type": "string", "minLength": 1, "maxLength": 3}


def test_a_choice_of_values() -> None:
    """An option is read as itself and written as its text."""
    kind = wire.choice(Colour)
    assert kind.read("dark blue") is Colour.DARK_BLUE
    assert kind.write(Colour.DARK_BLUE) == "dark blue"
    assert bent(kind, "blue") == "value is 'blue', expected red or dark blue"
    assert kind.json_schema == {"type": "string", "enum": ["red", "dark blue"]}


def test_nulls_items_and_lists_of_them() -> None:
    """Each is built from the kind inside it, reads and writes through it, and names the place of what is wrong."""
    table = (wire.Field("the_name", "attribute", wire.AMOUNT),)
    one = wire.item(table, SimpleNamespace)
    maybe, many = wire.nullable(one), wire.items(one)
    read = one.read({"the_name": "1.5"})
    assert read.attribute == 15_000_000
    assert one.write(read) == {"the_name": "1.5000000"}
    assert maybe.read(None) is None
    assert maybe.write(None) is None
    assert maybe.read({"the_name": "1.5"}) == read
    assert maybe.write(read) == {"the_name": "1.5000000"}
    assert many.read([]) == ()
    assert many.read([{"the_name": "1.5"}]) == (read,)
    assert many.write((read, read)) == [{"the_name": "1.5000000"}] * 2
    assert bent(many, {}) == "value is {}, expected a list"
    assert bent(many, [{"the_name": "1"}, 7]) == "[1] is 7, expected a JSON object"
    assert bent(many, [{"the_name": "1"}, {}]) == f"[1].the_name is {MISSING}"
    inner = {"type": "object", "required": ["the_name"], "properties": {"the_name": dict(wire.AMOUNT.json_schema)}}
    assert one.json_schema == inner
    assert maybe.json_schema == {"anyOf": [inner, {"type": "null"}]}
    assert many.json_schema == {"type": "array", "items": inner}


def test_the_json_schema_says_what_the_table_says() -> None:
    """Every field required, each with its kind."""
    schema = wire.json_schema(deposit_result.FIELDS, title="a title", description="a description")
    assert (schema["title"], schema["description"], schema["type"]) == ("a title", "a description", "object")
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["required"] == list(schema["properties"])
    assert schema["properties"]["command_id"] == {"type": "string", "format": "uuid"}
    assert schema["properties"]["status"] == {"type": "string", "enum": ["succeeded", "failed"]}
    nullable = schema["properties"]["ledger"]["anyOf"]
    assert nullable == [{"type": "integer", "minimum": 1, "maximum": 4294967295}, {"type": "null"}]
    error = schema["properties"]["error"]["anyOf"][0]
    assert error["type"] == "object"
    assert error["required"] == ["code", "message"]
    assert error["properties"]["code"] == {"type": "string", "minLength": 1, "maxLength": 128}
    event = wire.json_schema(balance_event.FIELDS, title="", description="")
    movements = event["properties"]["movements"]["anyOf"][0]
    assert movements["type"] == "array"
    assert movements["items"]["required"][0] == "operation_id"


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "Pacific/Honolulu"])
def test_times_are_written_in_utc_wherever_the_machine_is(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own time zone says nothing."""
    monkeypatch.setenv("TZ", zone)
    time_module.tzset()
    written = wire.format_time(datetime(2026, 1, 31, 12, tzinfo=UTC))
    monkeypatch.undo()
    time_module.tzset()
    assert written == "2026-01-31T12:00:00Z"
