"""Events of the asset's contract as records, read by the one parser that Horizon's records have."""

from typing import Any

import pytest
from stellar_sdk import StrKey, scval

from producers import payments
from producers.rpc import events as rpc_events
from producers.rpc import wire as rpc_wire
from schema.stellar import Address, Malformed
from tests.unit.producers.records import ALICE, ASSET, BOB, CONTRACT, HASH, ISSUER, LEDGER
from tests.unit.producers.rpc_answers import event, event_id, events, payment_event

POOL = Address(StrKey.encode_liquidity_pool(b"\1" * 32))
CLAIMABLE = Address(StrKey.encode_claimable_balance(b"\0" + b"\2" * 32))


def records(*found: dict[str, Any]) -> list[dict[str, Any]]:
    return rpc_events.records(rpc_wire.events(events(*found), limit=1000).events, ASSET)


def moved(*found: dict[str, Any]) -> list[tuple[str, int, str | None, str]]:
    """Wallet, stroops, counterparty and type of every movement."""
    return [
        (account_id, int(movement.amount_stroops), movement.counterparty, movement.type)
        for record in records(*found)
        for account_id, movement in payments.movements(record, ASSET)
    ]


def test_a_transfer_moves_both_sides() -> None:
    """A payment between two accounts, with everything a movement has."""
    [record] = records(payment_event(place=event_id(operation=4)))
    [(alice, given), (bob, taken)] = payments.movements(record, ASSET)
    assert (alice, bob) == (ALICE, BOB)
    assert (given.amount_stroops, taken.amount_stroops) == (-50_000_000, 50_000_000)
    assert taken.counterparty == Address(ALICE)
    assert (taken.transaction_hash, taken.ledger) == (HASH, LEDGER)
    assert taken.operation_id == record["paging_token"] == str(LEDGER << 32 | 1 << 12 | 5)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (event("mint", BOB), [(BOB, 50_000_000, ISSUER, "mint")]),
        (event("mint", ALICE, BOB), [(BOB, 50_000_000, ISSUER, "mint")]),  # before protocol 23: the admin first
        (event("burn", ALICE), [(ALICE, -50_000_000, ISSUER, "burn")]),
        (event("clawback", ALICE), [(ALICE, -50_000_000, ISSUER, "clawback")]),
        (event("clawback", BOB, ALICE), [(ALICE, -50_000_000, ISSUER, "clawback")]),
        (event("transfer", CONTRACT, BOB), [(BOB, 50_000_000, CONTRACT, "transfer")]),
        (event("transfer", BOB, POOL), [(BOB, -50_000_000, POOL, "transfer")]),
        (event("transfer", CLAIMABLE, BOB), [(BOB, 50_000_000, CLAIMABLE, "transfer")]),
        (event("transfer", POOL, CONTRACT), []),
        (event("transfer", CONTRACT, POOL, amount=2**100), []),  # no account moves: beyond int64 it is nobody's affair
        (event("set_authorized", BOB, value=scval.to_bool(True).to_xdr()), []),
    ],
)
def test_each_kind_of_event(found: dict[str, Any], expected: list[Any]) -> None:
    """Who moves, by how much, from or to whom."""
    assert moved(found) == expected


def test_a_muxed_destination_is_its_account() -> None:
    """The amount then stands in a map, beside the id."""
    amount = scval.to_map(
        {scval.to_symbol("amount"): scval.to_int128(7), scval.to_symbol("to_muxed_id"): scval.to_uint64(9)}
    )
    assert moved(payment_event(value=amount.to_xdr()))[1] == (BOB, 7, ALICE, "transfer")


def test_operations_are_records_and_their_events_stay_together() -> None:
    """Two operations of a transaction, the first with two events: two records, in order."""
    found = records(
        payment_event(place=event_id(operation=0, number=0)),
        event("transfer", BOB, CONTRACT, place=event_id(operation=0, number=1)),
        payment_event(place=event_id(operation=1, number=0)),
    )
    assert [len(record["asset_balance_changes"]) for record in found] == [2, 1]
    assert [int(record["id"]) & 0xFFF for record in found] == [1, 2]


def test_an_authorization_names_its_account() -> None:
    """Nothing moved, but the trustline changed; a contract has none."""
    [record] = records(event("set_authorized", BOB, value=scval.to_bool(False).to_xdr()))
    assert payments.authorized(record) == [BOB]
    [record] = records(event("set_authorized", CONTRACT, value=scval.to_bool(False).to_xdr()))
    assert payments.authorized(record) == []


def test_what_did_not_succeed_moved_nothing() -> None:
    """Should RPC ever tell of a failed transaction's events."""
    assert moved(payment_event(inSuccessfulContractCall=False)) == []


def test_a_newer_rpc_does_not_say_whether_a_call_succeeded() -> None:
    """The field goes: what failed has no events but its fee. Without it everything moved as with it."""
    found = payment_event()
    del found["inSuccessfulContractCall"]
    assert moved(found) == moved(payment_event()) != []


@pytest.mark.parametrize(
    "found",
    [
        payment_event(value="AAAA"),
        payment_event(value=None),
        payment_event(value=scval.to_int128(2**63).to_xdr()),
        payment_event(value=scval.to_int128(-1).to_xdr()),
        payment_event(value=scval.to_map({scval.to_symbol("sum"): scval.to_int128(7)}).to_xdr()),
        payment_event(topic=None),
        payment_event(topic=[]),
        payment_event(topic=payment_event()["topic"][:2]),
        payment_event(topic=[*payment_event()["topic"][:3], scval.to_string(f"USDC:{BOB}").to_xdr()]),
        payment_event(topic=[scval.to_symbol("approve").to_xdr(), *payment_event()["topic"][1:]]),
        payment_event(topic=[payment_event()["topic"][0], "AAAA", *payment_event()["topic"][2:]]),
        event("burn", ALICE, BOB),
        event("set_authorized", value=scval.to_bool(True).to_xdr()),
    ],
)
def test_what_cannot_be_read_is_malformed_and_names_whom_it_can(found: dict[str, Any]) -> None:
    """Such a record is refused whole, its events in it, and who is named in them is doubted."""
    [record] = records(found)
    with pytest.raises(Malformed):
        payments.movements(record, ASSET)
    assert payments.operation_of(record)[1] == LEDGER
    if found["topic"] and len(found["topic"]) > 2:
        assert payments.accounts_named(record) & {ALICE, BOB}


def test_filters_are_within_rpcs_limits() -> None:
    """Five topics a filter, four segments a topic, and everything that moves an account's money is asked for."""
    account = scval.to_address(ALICE).to_xdr()
    for topics in (rpc_events.topics(), rpc_events.topics_of(ALICE)):
        assert len(topics) == 5
        assert all(2 <= len(each) <= 5 for each in topics)
        assert all(each[-1] == "**" and "**" not in each[:-1] for each in topics)
    assert all(account in each for each in rpc_events.topics_of(ALICE))
