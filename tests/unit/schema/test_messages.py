"""The messages on the wire: golden bytes, round trips, and the exact complaint about every bent field."""

from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema import balance_event, deposit_command, deposit_result
from schema.balance_event import BalanceEvent, SnapshotType
from schema.deposit_result import ResultError
from schema.stellar import Ledger, Network, Stroops
from tests.unit.consumer.worlds import SENDER, USDC, VAULT
from tests.unit.consumer.worlds import balance_event as event_of
from tests.unit.schema.messages import (
    ADDRESS_SHAPE,
    COMMAND,
    EVENT,
    FAILED,
    LEDGER_SHAPE,
    MESSAGES,
    MISSING,
    MODULES,
    SUCCEEDED,
    TIME_SHAPE,
    UUID_SHAPE,
    complaint,
    said,
)


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
