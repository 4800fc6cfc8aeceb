"""The messages on the wire: golden bytes, round trips, and the exact complaint about every bent field."""

import time as time_module
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema import balance_event, deposit_command, deposit_result, wire
from schema.balance_event import BalanceEvent, SnapshotType
from schema.deposit_command import DepositCommand
from schema.deposit_result import DepositResult, ResultError, ResultStatus
from schema.stellar import Ledger, Malformed, Network, Stroops
from tests.unit.consumer.worlds import SENDER, USDC, VAULT, movement
from tests.unit.consumer.worlds import balance_event as event_of

EVENT = event_of(2, 150, since=1, movements=(movement(2, 50), replace(movement(2, -1, VAULT), counterparty=None)))
COMMAND = DepositCommand(
    command_id=UUID("0b7b5c0e-6e8b-5d3c-9f57-0d2f6c1c9a44"),
    previous_command_id=None,
    user_id=UUID("7f8f0c86-7a43-4c55-8f0f-0a6f5a2a9a10"),
    wallet_id=UUID("f3b2c1de-9d7f-4b8e-a3a5-2f4c6d8e0b12"),
    account_id=EVENT.account_id,
    network=Network.TESTNET,
    asset=USDC,
    vault_address=VAULT,
    amount_stroops=Stroops(500_000_000),
    balance_stroops=Stroops(1_500_000_000),
    reserve_stroops=Stroops(1_000_000_000),
    ledger=Ledger(52_446_757),
    caused_by=str(EVENT.event_id),
    snapshot_id=UUID("0190a3c4-5d6e-8f70-9a1b-2c3d4e5f6071"),
    issued_at=datetime(2024, 7, 6, 10, 13, 45, tzinfo=UTC),
    expires_at=datetime(2024, 7, 6, 10, 18, 45, tzinfo=UTC),
)
SUCCEEDED = DepositResult(
    command_id=COMMAND.command_id,
    status=ResultStatus.SUCCEEDED,
    amount_stroops=Stroops(500_000_000),
    transaction_hash="d5b3b11e39b9450a79645de31a2503c45b9cfe1567b81f52b4a212afd834492e",
    ledger=Ledger(52_446_761),
    error=None,
    completed_at=datetime(2024, 7, 6, 10, 14, 5, tzinfo=UTC),
)
FAILED = replace(
    SUCCEEDED,
    status=ResultStatus.FAILED,
    amount_stroops=Stroops(0),
    transaction_hash=None,
    ledger=None,
    error=ResultError(code="insufficient_balance", message="120.0000000 in ledger 52446760"),
)
MODULES = {"event": balance_event, "command": deposit_command, "result": deposit_result}
MESSAGES: dict[str, Any] = {"event": EVENT, "command": COMMAND, "result": SUCCEEDED}
MISSING = "None, expected a field of this name: it is missing"
UUID_SHAPE = "a UUID in lower case with hyphens"
TIME_SHAPE = "a time like 2026-01-31T12:00:00Z"
LEDGER_SHAPE = "a ledger: a whole number from 1 to 4294967295"
ADDRESS_SHAPE = "a Stellar address (G..., C..., L... or B...) with a valid checksum"


def said(kind: str, **bent: object) -> bytes:
    """The message with these fields bent; `...` takes a field away."""
    fields = orjson.loads(MODULES[kind].encode(MESSAGES[kind])) | bent
    return orjson.dumps({name: value for name, value in fields.items() if value is not ...})


def complaint(kind: str, body: bytes) -> str:
    with pytest.raises(Malformed) as malformed:
        MODULES[kind].decode(body)
    return str(malformed.value)


def test_golden_bytes() -> None:
    """Field by field, in this order: other people read these."""
    assert orjson.loads(balance_event.encode(EVENT)) == {
        "event_id": str(EVENT.event_id),
        "snapshot_type": "webhook",
        "network": "testnet",
        "account_id": EVENT.account_id,
        "asset": str(USDC),
        "balance": "150.0000000",
        "authorized": True,
        "ledger": EVENT.ledger,
        "observed_ledger": EVENT.ledger,
        "observed_at": "2026-01-31T12:00:10Z",
        "movements_since": EVENT.ledger - 1,
        "movements": [
            {
                "operation_id": EVENT.movements[0].operation_id if EVENT.movements else "",
                "ledger": EVENT.ledger,
                "transaction_hash": f"{2:064x}",
                "type": "payment",
                "counterparty": SENDER,
                "amount": "+50.0000000",
            },
            {
                "operation_id": EVENT.movements[1].operation_id if EVENT.movements else "",
                "ledger": EVENT.ledger,
                "transaction_hash": f"{2:064x}",
                "type": "payment",
                "counterparty": None,
                "amount": "-1.0000000",
            },
        ],
    }
    assert deposit_command.encode(COMMAND).startswith(
        b'{"command_id":"0b7b5c0e-6e8b-5d3c-9f57-0d2f6c1c9a44","previous_command_id":null,"user_id":'
        b'"7f8f0c86-7a43-4c55-8f0f-0a6f5a2a9a10","wallet_id":"f3b2c1de-9d7f-4b8e-a3a5-2f4c6d8e0b12",'
    )
    assert b'"amount":"50.0000000","balance":"150.0000000","reserve":"100.0000000"' in deposit_command.encode(COMMAND)
    assert deposit_command.encode(COMMAND).endswith(
        b'"issued_at":"2024-07-06T10:13:45Z","expires_at":"2024-07-06T10:18:45Z"}'
    )
    assert orjson.loads(deposit_result.encode(FAILED))["error"] == {
        "code": "insufficient_balance",
        "message": "120.0000000 in ledger 52446760",
    }


@pytest.mark.parametrize("kind", MODULES)
def test_what_is_written_is_read_again(kind: str) -> None:
    """The same message; unknown fields are no matter, and every field but those must be there."""
    module, message = MODULES[kind], MESSAGES[kind]
    assert module.decode(module.encode(message)) == message
    assert module.decode(said(kind, something_new=[1])) == message
    for name in orjson.loads(module.encode(message)):
        assert complaint(kind, said(kind, **{name: ...})) == f"{name} is {MISSING}"


def test_nulls_are_read_where_they_may_stand() -> None:
    """No movements known, no previous command, no vault, no deposit."""
    for event in (EVENT, event_of(1, 100, since=None)):
        assert balance_event.decode(balance_event.encode(event)) == event
    bare = replace(COMMAND, vault_address=None, previous_command_id=COMMAND.user_id)
    assert deposit_command.decode(deposit_command.encode(bare)) == bare
    assert deposit_result.decode(deposit_result.encode(FAILED)) == FAILED


def test_keys_and_ids() -> None:
    """The account keeps its order; a result's own id is its command and its ending."""
    assert balance_event.key(EVENT) == EVENT.account_id.encode()
    assert deposit_command.key(COMMAND) == COMMAND.account_id.encode()
    assert SUCCEEDED.result_id == "0b7b5c0e-6e8b-5d3c-9f57-0d2f6c1c9a44:succeeded"


def test_an_absence_is_a_balance_of_0_in_the_observed_ledger() -> None:
    """Not authorized, nothing there, as new as the observation: all three."""
    assert event_of(5, 0, authorized=False).is_absence
    assert not event_of(5, 0).is_absence
    assert not event_of(5, 1, authorized=False).is_absence
    assert not event_of(5, 0, seen_in=6, authorized=False).is_absence


BENT: list[tuple[str, str, object, str]] = [
    ("event", "event_id", "6F0C7C1E-53C4-5D0E-9A57-0F6A3F1F8A11", f"expected {UUID_SHAPE}"),
    ("event", "event_id", 7, "event_id is 7, expected text"),
    ("event", "snapshot_type", "stream", "snapshot_type is 'stream', expected webhook or poll or manual"),
    ("event", "network", "futurenet", "network is 'futurenet', expected testnet or mainnet"),
    ("event", "account_id", str(VAULT), "expected an account id: G and 55 more characters, with a valid checksum"),
    ("event", "asset", "USDC", "asset is 'USDC', expected CODE:ISSUER with a code of 1 to 12 letters or digits"),
    ("event", "balance", "-1", "expected an amount like 50.0000000: at most seven decimals, no sign, no exponent"),
    ("event", "balance", 150, "balance is 150, expected text"),
    ("event", "authorized", 1, "authorized is 1, expected true or false"),
    ("event", "authorized", None, "authorized is None, expected true or false"),
    ("event", "ledger", 0, f"ledger is 0, expected {LEDGER_SHAPE}"),
    ("event", "ledger", True, f"ledger is True, expected {LEDGER_SHAPE}"),
    ("event", "ledger", 1.0, f"ledger is 1.0, expected {LEDGER_SHAPE}"),
    ("event", "observed_ledger", 2**32, f"observed_ledger is 4294967296, expected {LEDGER_SHAPE}"),
    ("event", "observed_at", "2026-01-31 12:00:00Z", f"observed_at is '2026-01-31 12:00:00Z', expected {TIME_SHAPE}"),
    ("event", "movements_since", "1", f"movements_since is '1', expected {LEDGER_SHAPE}"),
    (
        "event",
        "movements",
        None,
        f"movements_since is {EVENT.movements_since}, expected null exactly when movements is",
    ),
    ("event", "movements_since", None, "movements_since is None, expected null exactly when movements is"),
    ("event", "movements", {}, "movements is {}, expected a list"),
    ("event", "movements", [7], "movements.[0] is 7, expected a JSON object"),
    ("event", "movements", [{}], f"movements.[0].operation_id is {MISSING}"),
    ("command", "caused_by", "", "caused_by is '', expected text of 1 to 128 characters, none of them NUL"),
    ("command", "caused_by", "a\0b", "expected text of 1 to 128 characters, none of them NUL"),
    ("command", "caused_by", "x" * 129, "expected text of 1 to 128 characters, none of them NUL"),
    ("command", "vault_address", "vault", f"vault_address is 'vault', expected {ADDRESS_SHAPE}"),
    ("command", "previous_command_id", "", f"previous_command_id is '', expected {UUID_SHAPE}"),
    (
        "result",
        "transaction_hash",
        "D5",
        "'D5', expected a transaction hash: 64 hexadecimal digits in lower case",
    ),
    (
        "result",
        "transaction_hash",
        None,
        "transaction_hash is None, expected the deposit's transaction, as it succeeded",
    ),
    ("result", "ledger", None, "ledger is None, expected the ledger of the deposit, as it succeeded"),
    ("result", "amount", "0", "amount is '0', expected more than 0, as it succeeded"),
    ("result", "status", "expired", "status is 'expired', expected succeeded or failed"),
    ("result", "status", "failed", "error is None, expected a code and a message, as it failed"),
    ("result", "error", {"code": "x"}, f"error.message is {MISSING}"),
    ("result", "error", {"code": "x" * 129, "message": "y"}, "expected text of 1 to 128 characters, none of them NUL"),
    (
        "result",
        "error",
        {"code": "x", "message": "y" * 4097},
        "expected text of 1 to 4096 characters, none of them NUL",
    ),
]


@pytest.mark.parametrize(("kind", "name", "value", "words"), BENT)
def test_a_bent_field_is_named_with_what_was_expected(kind: str, name: str, value: object, words: str) -> None:
    """The complaint says where, what was there, and what should have been."""
    told = complaint(kind, said(kind, **{name: value}))
    assert told.startswith("error" if value == "failed" else name)
    assert told.endswith(words)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("operation_id", "0", "expected an operation id whose upper 32 bits are a ledger"),
        ("ledger", -1, f"is -1, expected {LEDGER_SHAPE}"),
        ("transaction_hash", "0" * 63, "expected a transaction hash: 64 hexadecimal digits in lower case"),
        ("type", "x" * 65, "expected text of 1 to 64 characters, none of them NUL"),
        ("counterparty", "nobody", f"is 'nobody', expected {ADDRESS_SHAPE}"),
        ("amount", "5", "is '5', expected a signed amount like +50.0000000 or -50.0000000"),
    ],
)
def test_a_bent_movement_is_named_with_its_place(name: str, value: object, words: str) -> None:
    """The list, the index, the field."""
    movements = orjson.loads(balance_event.encode(EVENT))["movements"]
    movements[1][name] = value
    told = complaint("event", said("event", movements=movements))
    assert told.startswith(f"movements.[1].{name} is ")
    assert told.endswith(words)


def test_texts_may_be_as_long_as_they_may() -> None:
    """One character, and the most."""
    for code, message in (("x", "y"), ("x" * 128, "y" * 4096)):
        failed = replace(FAILED, error=ResultError(code=code, message=message))
        assert deposit_result.decode(deposit_result.encode(failed)) == failed


def test_what_is_no_json_object_is_refused() -> None:
    """Not JSON, and JSON that is no object; a long body is shown by its beginning."""
    assert complaint("event", b"[]") == "value is [], expected a JSON object"
    told = complaint("event", b"{" * 500)
    assert told.startswith(f"value is {b'{' * 80!r}, expected JSON (")
    assert told.endswith(")")


def test_a_facts_id_must_follow_from_what_it_says() -> None:
    """Another id than the derived one is refused, with the right one."""
    other = str(COMMAND.command_id)
    assert complaint("event", said("event", event_id=other)) == (
        f"event_id is {other!r}, expected {EVENT.event_id}, which follows from the fact"
    )


def test_a_fact_is_never_newer_than_its_observation() -> None:
    """The version is at most the observed ledger."""
    before = EVENT.ledger - 1
    assert complaint("event", said("event", observed_ledger=before)) == (
        f"ledger is {EVENT.ledger}, expected at most observed_ledger {before}"
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


@settings(deadline=None)
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


@settings(deadline=None)
@given(st.integers(0, 2**63 - 1), st.integers(1, 2**32 - 1), st.sampled_from(SnapshotType))
def test_any_fact_comes_back_as_it_went(balance: int, ledger: int, kind: SnapshotType) -> None:
    """Whatever it says."""
    event: BalanceEvent = balance_event.fact(
        snapshot_type=kind,
        network=Network.MAINNET,
        account_id=EVENT.account_id,
        asset=USDC,
        balance_stroops=Stroops(balance),
        authorized=False,
        ledger=Ledger(ledger),
        observed_ledger=Ledger(2**32 - 1),
        observed_at=EVENT.observed_at,
        movements_since=None,
        movements=None,
    )
    assert balance_event.decode(balance_event.encode(event)) == event


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "Pacific/Honolulu"])
def test_times_are_written_in_utc_wherever_the_machine_is(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own time zone says nothing."""
    monkeypatch.setenv("TZ", zone)
    time_module.tzset()
    written = wire.format_time(datetime(2026, 1, 31, 12, tzinfo=UTC))
    monkeypatch.undo()
    time_module.tzset()
    assert written == "2026-01-31T12:00:00Z"
