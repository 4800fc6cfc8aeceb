"""Whom a webhook's body names."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.webhook import hints as webhook_hints
from producers.webhook.hints import ACCOUNTS_MAX, Hint, NotJson
from schema.stellar import AccountId, Ledger, Malformed
from tests import recordings
from tests.people import account_id
from tests.unit.producers.records import ALICE, BOB, LEDGER, change, contract_call, payment

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(ALICE),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["account_id", "accounts", "record", "old_record", "data", "id", "transaction_hash", "x"]),
            inner,
        )
    ),
    max_leaves=20,
)


def read(body: Any) -> Hint:
    return webhook_hints.read(orjson.dumps(body))


def row_change(kind: str, record: Any, old_record: Any = None, *, table: str = "stellar_wallets") -> dict[str, Any]:
    """A Supabase database webhook's body."""
    return {"type": kind, "table": table, "schema": "public", "record": record, "old_record": old_record}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"account_id": ALICE}, {ALICE}),
        ({"accounts": [ALICE, BOB, ALICE]}, {ALICE, BOB}),
        ({"type": "wallet.touched", "timestamp": "2026-01-31T12:00:00Z", "data": {"account_id": ALICE}}, {ALICE}),
        (row_change("INSERT", {"id": 1, "public_key": ALICE, "network": "testnet"}), {ALICE}),
        (row_change("DELETE", None, {"public_key": ALICE}), {ALICE}),
        (row_change("UPDATE", {"public_key": BOB}, {"public_key": ALICE}), {ALICE, BOB}),
        (row_change("UPDATE", {"public_key": ALICE}, {"public_key": None}), {ALICE}),
        (row_change("INSERT", {"public_key": None}), set()),
        (row_change("UPDATE", {"account_id": ALICE}, {"account_id": ALICE}, table="transfers"), {ALICE}),
    ],
)
def test_each_shape_names_its_accounts(body: Any, named: set[AccountId]) -> None:
    """What docs/webhooks.md lists is understood; no ledger is named."""
    assert read(body) == Hint(accounts=frozenset(named), ledger=None)


def test_an_update_that_keeps_key_and_network_names_nobody() -> None:
    """Recording a fact updates the wallet's row: a webhook on updates must not have it read again for that."""
    row = {"public_key": ALICE, "network": "testnet"}
    before, after = row | {"previous_usdc_balance": "1"}, row | {"previous_usdc_balance": "2"}
    assert read(row_change("UPDATE", after, before)).accounts == frozenset()
    assert read(row_change("UPDATE", row | {"network": "mainnet"}, row)).accounts == {ALICE}


def test_a_record_of_horizon_names_its_accounts_and_its_ledger() -> None:
    """Everybody in it, in its ledger or later."""
    assert read(payment()) == Hint(
        accounts=frozenset({ALICE, BOB}) | {payment()["asset_issuer"]}, ledger=Ledger(LEDGER)
    )
    hint = read({"data": contract_call(change("transfer", sender=ALICE, to=BOB))})
    assert hint.accounts >= {ALICE, BOB}
    assert hint.ledger == LEDGER


@recordings.needed
def test_recorded_payments_are_hints() -> None:
    """Every record that a real Horizon sent names somebody, in its ledger."""
    records = recordings.payments()
    assert records
    for record in records:
        hint = read(record)
        assert hint.accounts
        assert hint.ledger == int(record["id"]) >> 32


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ([], "body"),
        (None, "body"),
        ({}, "body"),
        ({"account_id": None}, "account_id"),
        ({"account_id": ALICE[:-1] + "A"}, "account_id"),
        ({"account_id": [ALICE]}, "account_id"),
        ({"accounts": ALICE}, "accounts"),
        ({"accounts": []}, "accounts"),
        ({"accounts": [ALICE, BOB.lower()]}, "accounts[1]"),
        ({"accounts": [ALICE] * (ACCOUNTS_MAX + 1)}, "accounts"),
        ({"data": {"accounts": [ALICE, 7]}}, "data.accounts[1]"),
        ({"data": {"data": {"account_id": ALICE}}}, "body"),
        (row_change("INSERT", {"id": 7}), "record"),
        (row_change("INSERT", None), "record"),
        (row_change("INSERT", "G"), "record"),
        (row_change("INSERT", {"public_key": "G"}), "record.public_key"),
        (payment() | {"id": "99999999999999999999"}, "id"),
        (payment() | {"id": 7}, "id"),
    ],
)
def test_what_names_nobody_says_where(body: Any, place: str) -> None:
    """The complaint has the place and what was expected there."""
    with pytest.raises(Malformed) as refused:
        read(body)
    assert refused.value.field == place
    assert refused.value.expected


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b'{"account_id": NaN}', b'"\\ud800"', b"[" * 100_000, b'{"a":' * 5_000 + b"1"]
)
def test_what_is_no_json_is_said_so(body: bytes) -> None:
    """Cut off, not UTF-8, not a number, nested without end: not JSON, and nothing worse."""
    with pytest.raises(NotJson):
        webhook_hints.read(body)


NESTED = b"[" * 1_015 + b"]" * 1_015  # as deep as JSON is read


@pytest.mark.parametrize(
    "body",
    [
        b'{"account_id":%s}' % NESTED,
        b'{"accounts":[%s]}' % NESTED,
        b'{"data":{"record":{"public_key":%s}}}' % NESTED,
        b'{"id":%s,"transaction_hash":1}' % NESTED,
        b'{"table":"stellar_wallets","record":{"network":%s},"old_record":{"network":%s}}' % (NESTED, NESTED),
    ],
)
def test_what_is_nested_too_deeply_is_complained_about(body: bytes) -> None:
    """Wherever it stands: what Python can neither show nor compare is no bug of ours."""
    with pytest.raises(Malformed):
        webhook_hints.read(body)


def test_no_more_than_so_many_accounts() -> None:
    """The largest list is read; a record that names more is refused."""
    many = [account_id(str(number)) for number in range(ACCOUNTS_MAX + 1)]
    assert len(read({"accounts": many[:-1]}).accounts) == ACCOUNTS_MAX
    with pytest.raises(Malformed):
        read(payment() | {"names": many})


@given(JSON | st.dictionaries(st.text(), JSON))
def test_any_json_is_a_hint_or_a_complaint(body: Any) -> None:
    """Nothing else happens, whatever it holds."""
    try:
        encoded = orjson.dumps(body)
    except TypeError:  # an integer beyond 64 bits, or a surrogate
        return
    try:
        hint = webhook_hints.read(encoded)
    except (Malformed, NotJson):
        return
    assert len(hint.accounts) <= ACCOUNTS_MAX
