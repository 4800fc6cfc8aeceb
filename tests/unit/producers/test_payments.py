"""From a record to movements: who moved, by how much, to or from whom; and what is refused."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers import payments
from schema.stellar import AccountId, Asset, Malformed
from tests.people import account_id
from tests.unit.producers.records import (
    ALICE,
    ASSET,
    BOB,
    CONTRACT,
    HASH,
    ISSUER,
    LEDGER,
    UNIT,
    asset_fields,
    change,
    contract_call,
    moved,
    operation_id,
    payment,
    record,
)

COUNTERFEIT = Asset("USDC", account_id("counterfeiter"))
XLM = {"asset_type": "native"}


def test_a_payment_moves_both_sides() -> None:
    """The sender loses and the receiver gains the amount; each names the other."""
    assert moved(payment()) == [(ALICE, -39 * UNIT, BOB), (BOB, 39 * UNIT, ALICE)]


def test_a_movement_carries_its_place() -> None:
    """Operation id, its ledger, the transaction's hash and the operation's type are in the movement."""
    _, movement = payments.movements(payment(), ASSET)[1]
    assert movement.operation_id == operation_id()
    assert movement.ledger == LEDGER
    assert movement.transaction_hash == HASH
    assert movement.type == "payment"


@pytest.mark.parametrize("fields", [asset_fields(COUNTERFEIT), XLM, asset_fields(Asset("USDCoin", ISSUER))])
def test_other_assets_are_not_ours(fields: dict[str, Any]) -> None:
    """A counterfeit of the code, XLM, and another asset of the issuer move nobody."""
    assert moved({**payment(), **fields}) == []


def test_who_was_authorized_is_named() -> None:
    """Beside the movements, where the record says it; an address that is none is refused."""
    assert payments.authorized(payment()) == []
    assert payments.authorized({**payment(), "accounts_authorized": [ALICE, BOB]}) == [ALICE, BOB]
    for bent in ("no record", {"accounts_authorized": [ALICE, "G" + "A" * 55]}):
        with pytest.raises(Malformed):
            payments.authorized(bent)


def test_the_type_of_the_asset_counts() -> None:
    """Code and issuer of ours under another asset type are not our asset."""
    assert moved(payment(asset_type="credit_alphanum12")) == []


def test_a_failed_transaction_moved_nothing() -> None:
    """Horizon shows failed ones when asked to: they moved nothing."""
    assert moved(payment(transaction_successful=False)) == []


@pytest.mark.parametrize("kind", ["path_payment_strict_send", "path_payment_strict_receive"])
def test_path_payments(kind: str) -> None:
    """The source loses source_amount of the source asset, the destination gains amount of the asset."""
    sides: dict[str, Any] = {"from": ALICE, "to": BOB, "amount": "9.0000000", "source_amount": "3.0000000"}
    ours_out = record(kind, **{**sides, **XLM, **asset_fields(prefix="source_")})
    ours_in = record(kind, **{**sides, **asset_fields(), "source_asset_type": "native"})
    assert moved(ours_out) == [(ALICE, -3 * UNIT, BOB)]
    assert moved(ours_in) == [(BOB, 9 * UNIT, ALICE)]


def test_a_path_payment_to_oneself() -> None:
    """A wallet that sends and receives the asset in one operation has two movements of the same id."""
    round_trip = record(
        "path_payment_strict_send",
        **{**asset_fields(), "from": ALICE, "to": ALICE, "amount": "9.0000000", "source_amount": "10.0000000"},
        **asset_fields(prefix="source_"),
    )
    assert moved(round_trip) == [(ALICE, -10 * UNIT, ALICE), (ALICE, 9 * UNIT, ALICE)]
    assert len({movement.operation_id for _, movement in payments.movements(round_trip, ASSET)}) == 1


def test_contract_calls_move_by_their_changes() -> None:
    """Transfers name the other side; a mint, a burn and a clawback name the issuer. Contracts are never wallets."""
    call = contract_call(
        change("transfer", sender=CONTRACT, to=ALICE),
        change("transfer", "1.0000000", sender=ALICE, to=BOB),
        change("mint", "2.0000000", to=BOB),
        change("burn", "3.0000000", sender=BOB),
        change("clawback", "4.0000000", sender=ALICE),
        change("transfer", "99999999999999999999.0000000", sender=CONTRACT, to=CONTRACT),
        {**change("transfer", sender=CONTRACT, to=ALICE), **asset_fields(COUNTERFEIT)},
    )
    assert moved(call) == [
        (ALICE, 5 * UNIT, CONTRACT),
        (ALICE, -1 * UNIT, BOB),
        (BOB, 1 * UNIT, ALICE),
        (BOB, 2 * UNIT, ISSUER),
        (BOB, -3 * UNIT, ISSUER),
        (ALICE, -4 * UNIT, ISSUER),
    ]
    assert payments.movements(call, ASSET)[3][1].type == "mint"


def test_a_muxed_destination_is_its_account() -> None:
    """`to` stays the G address; the muxed fields beside it change nothing."""
    muxed = payment(to_muxed="MAAA...", to_muxed_id="123")
    assert moved(muxed) == moved(payment())


@pytest.mark.parametrize("kind", ["create_account", "account_merge", "change_trust", "an_operation_of_the_future"])
def test_what_moves_only_xlm_moves_nobody(kind: str) -> None:
    """Accounts created and merged, and operations without balance changes, are no movement of ours."""
    assert moved(record(kind, account=ALICE, into=BOB, starting_balance="2.0000000")) == []


@pytest.mark.parametrize(
    ("bent", "place"),
    [
        ("not a record", "value"),
        (payment(transaction_successful=None), "transaction_successful"),
        (payment(type=7), "type"),
        (payment(asset_type=None), "asset_type"),
        (payment(amount="NaN"), "amount"),
        (payment(amount="1.00000001"), "amount"),
        (payment(amount="-1.0000000"), "amount"),
        (payment(amount=39.0), "amount"),
        (payment(amount="922337203685.4775808"), "amount"),
        (payment(to=AccountId("GAFK7XFZHMLSNV7OJTBO7BAIZA66X6QIBV5RMZZYXK4Q7ZSO52J5C3WA")), "to"),
        ({**payment(), "from": CONTRACT}, "from"),
        (payment(id="12345"), "id"),
        (payment(id=operation_id() + "0000"), "id"),
        (payment(transaction_hash="short"), "transaction_hash"),
        (contract_call(change("swap", sender=ALICE, to=BOB)), "asset_balance_changes[0].type"),
        (contract_call(change("mint", to=ALICE), change("burn", "1e7", sender=BOB)), "asset_balance_changes[1].amount"),
        (record("invoke_host_function", asset_balance_changes={}), "asset_balance_changes"),
        (record("invoke_host_function", asset_balance_changes=["x"]), "asset_balance_changes[0]"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(bent: object, place: str) -> None:
    """A malformed record of our asset is refused, and the refusal names the field."""
    with pytest.raises(Malformed) as refused:
        payments.movements(bent, ASSET)
    assert (refused.value.field or "value") == place


@pytest.mark.parametrize(
    ("bent", "words"),
    [
        (7, "value is 7, expected a JSON object"),
        (payment(transaction_successful="yes"), "transaction_successful is 'yes', expected true or false"),
        (payment(type=7), "type is 7, expected text"),
        ({**payment(), "to": 7}, "to is 7, expected text"),
        (
            record("invoke_host_function", asset_balance_changes={}),
            "asset_balance_changes is {}, expected a list",
        ),
        (
            contract_call({**asset_fields(), "type": "swap"}),
            "asset_balance_changes[0].type is 'swap', expected transfer, mint, burn or clawback",
        ),
        (contract_call(change("mint", to=ALICE), {}), "asset_balance_changes[1].asset_type is None, expected text"),
        (
            record("invoke_host_function", asset_balance_changes=[7]),
            "asset_balance_changes[0] is 7, expected a JSON object",
        ),
    ],
)
def test_the_complaint_about_a_record_in_words(bent: object, words: str) -> None:
    """The place, what was there, what was expected."""
    with pytest.raises(Malformed) as refused:
        payments.movements(bent, ASSET)
    assert str(refused.value) == words


def test_a_transaction_that_failed_is_not_examined_further() -> None:
    """Only its type must be there."""
    assert payments.movements({"transaction_successful": False, "type": "payment"}, ASSET) == []
    with pytest.raises(Malformed, match="type is None"):
        payments.movements({"transaction_successful": False}, ASSET)


def test_when_a_records_ledger_closed() -> None:
    """Its created_at; anything else is refused with the place."""
    assert payments.closed_at(payment()).isoformat() == "2024-07-06T10:13:42+00:00"
    for bent, words in (
        (payment(created_at="yesterday"), "created_at is 'yesterday', expected a time like 2026-01-31T12:00:00Z"),
        (payment(created_at=None), "created_at is None, expected text"),
        (None, "value is None, expected a JSON object"),
    ):
        with pytest.raises(Malformed) as refused:
            payments.closed_at(bent)
        assert str(refused.value) == words


def test_where_an_operation_is() -> None:
    """Its id, and the ledger in it; anything else is refused with the place."""
    assert payments.operation_of(payment()) == (operation_id(), LEDGER)
    with pytest.raises(Malformed) as refused:
        payments.operation_of(payment(id="12345"))
    assert str(refused.value) == "id is '12345', expected an operation id whose upper 32 bits are a ledger"


def test_accounts_are_looked_for_sixteen_deep() -> None:
    """In lists and objects; deeper ones are not looked at, so that no record can make us dig for ever."""
    for wrap in (lambda inner: [inner], lambda inner: {"x": inner}):
        deep: Any = str(ALICE)
        for _ in range(16):
            deep = wrap(deep)
        assert payments.accounts_named(deep) == {ALICE}
        assert payments.accounts_named(wrap(deep)) == set()
    bad = "GAFK7XFZHMLSNV7OJTBO7BAIZA66X6QIBV5RMZZYXK4Q7ZSO52J5C3WA"
    assert payments.accounts_named(f"{bad} {ALICE} {BOB}") == {ALICE, BOB}
    assert payments.accounts_named(7) == set()


def test_a_malformed_record_of_another_asset_is_nobodys_concern() -> None:
    """A counterfeit's strange amount does not stop anything."""
    assert moved({**payment(amount="NaN"), **asset_fields(COUNTERFEIT)}) == []


def test_accounts_named_anywhere_are_found() -> None:
    """The wallets of a record that cannot be read are still known; what only looks like an address is not one."""
    bent = payment(amount="NaN", note=[f"for {account_id('carol')}", "G" + "A" * 55, {"deep": str(CONTRACT)}])
    assert payments.accounts_named(bent) == {ALICE, BOB, ISSUER, account_id("carol")}


@given(
    bent=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ),
    name=st.sampled_from([*payment(), "asset_balance_changes"]),
)
def test_nothing_but_malformed_escapes(bent: object, name: str) -> None:
    """Whatever stands in a field, a record gives movements or Malformed, nothing else."""
    for whole in (payment(), contract_call(change("transfer", sender=ALICE, to=BOB))):
        whole[name] = bent
        with contextlib.suppress(Malformed):
            payments.movements(whole, ASSET)
        with contextlib.suppress(Malformed):
            payments.closed_at(whole)
        payments.accounts_named(whole)
