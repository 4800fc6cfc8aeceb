"""Stellar RPC's answers as values: recorded ones, and what no RPC should send."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers import horizon_wire
from producers.rpc import places as rpc_places
from producers.rpc import wire as rpc_wire
from producers.rpc import xdr as rpc_xdr
from producers.rpc.wire import Refused
from producers.source import State, Unavailable
from schema.stellar import AccountId, Asset, Cursor, Ledger, Malformed, Network, Stroops, cursor_after_ledger
from tests import recordings
from tests.unit.producers.records import ALICE, ASSET, BOB, LEDGER, operation_id
from tests.unit.producers.rpc_answers import LATEST, event_id, events, payment_event, trustline

USDC = Asset.parse("USDC:GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5")


def answered(**parts: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, **parts}


def entries(*found: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"entries": list(found), "latestLedger": LATEST, **fields}


def entry(account_id: AccountId = ALICE, **fields: Any) -> dict[str, Any]:
    key = rpc_xdr.trustline_key(account_id, ASSET)
    return {"key": key, "xdr": trustline(account_id), "lastModifiedLedgerSeq": LEDGER, **fields}


# Contracts and keys


def test_the_assets_contract_is_the_networks_own() -> None:
    """Circle's USDC on the test network has the contract that everybody knows it under; XLM has its own."""
    assert rpc_xdr.contract_of(USDC, Network.TESTNET) == "CBIELTK6YBZJU5UP2WWQEUCYKLPU6AUNZ2BQ4WWFEIE3USCIHMXQDAMA"
    assert rpc_xdr.contract_of(USDC, Network.MAINNET) != rpc_xdr.contract_of(USDC, Network.TESTNET)


# States


def test_trustlines_are_states_and_what_is_missing_is_an_absence() -> None:
    """Balance and version of each; who has no entry holds nothing in the ledger that the whole answer is of."""
    found = rpc_wire.states(entries(entry()), [ALICE, BOB], ASSET)
    assert found == {
        ALICE: State(
            account_id=ALICE,
            balance_stroops=Stroops(1_500_000_000),
            authorized=True,
            version=Ledger(LEDGER),
            observed=Ledger(LATEST),
        ),
        BOB: horizon_wire.absence(BOB, Ledger(LATEST)),
    }


@pytest.mark.parametrize(("flags", "authorized"), [(0, False), (1, True), (2, False), (4, False), (5, True)])
def test_authorized_is_the_one_flag(flags: int, *, authorized: bool) -> None:
    """To maintain liabilities is not to be authorized; the clawback flag says nothing."""
    state = rpc_wire.states(entries(entry(xdr=trustline(flags=flags))), [ALICE], ASSET)[ALICE]
    assert isinstance(state, State)
    assert state.authorized is authorized


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"xdr": "AAAA"}, "entries[0]"),
        ({"xdr": None}, "entries[0].xdr"),
        ({"xdr": trustline(BOB)}, "entries[0].xdr"),
        ({"xdr": trustline(asset=USDC)}, "entries[0]"),
        ({"xdr": trustline(balance=-1)}, "entries[0].xdr"),
        ({"lastModifiedLedgerSeq": LATEST + 1}, "entries[0].lastModifiedLedgerSeq"),
        ({"lastModifiedLedgerSeq": "0x1"}, "entries[0].lastModifiedLedgerSeq"),
        ({"lastModifiedLedgerSeq": True}, "entries[0].lastModifiedLedgerSeq"),
    ],
)
def test_one_entry_that_makes_no_sense_is_one_wallets_fault(fields: dict[str, Any], place: str) -> None:
    """It is never taken as 0, and the others in the answer are what they are."""
    found = rpc_wire.states(entries(entry(**fields), entry(BOB)), [ALICE, BOB], ASSET)
    fault = found[ALICE]
    assert isinstance(fault, Malformed)
    assert fault.field == place
    assert isinstance(found[BOB], State)


@pytest.mark.parametrize(
    "answer",
    [
        {"entries": []},
        {"entries": [], "latestLedger": 0},
        {"entries": [], "latestLedger": "9" * 5000},
        entries(entry(), entry()),
        entries(entry(BOB)),
        entries(entry(key=None)),
        {"entries": {}, "latestLedger": LATEST},
    ],
)
def test_an_answer_that_is_not_to_the_question_says_nothing_of_anybody(answer: dict[str, Any]) -> None:
    """Without its ledger, or with entries that were not asked for, what is missing in it is no absence."""
    with pytest.raises(Malformed):
        rpc_wire.states(answer, [ALICE], ASSET)


@recordings.needed
def test_recorded_entries_are_read_as_what_they_are() -> None:
    """A real answer: its ledgers come as text and as numbers. Entries of other kinds are no trustlines of ours."""
    answer = recordings.load("rpc/get_ledger_entries.json")
    result = rpc_wire.result(answer, number=answer["id"], method="getLedgerEntries")
    first = {**result["entries"][0], "key": rpc_xdr.trustline_key(ALICE, USDC)}
    [fault] = rpc_wire.states({**result, "entries": [first]}, [ALICE], USDC).values()
    assert isinstance(fault, Malformed)
    assert "trustline" in str(fault)
    taken = {**first, "xdr": trustline(asset=USDC)}
    [state] = rpc_wire.states({**result, "entries": [taken]}, [ALICE], USDC).values()
    assert isinstance(state, State)
    assert (state.version, state.observed) == (159, 7943)


# Events


def test_an_operations_id_is_the_same_as_horizons() -> None:
    """RPC counts a transaction's operations from 0, Horizon from 1."""
    found = rpc_wire.events(events(payment_event(place=event_id(transaction=3, operation=2, number=5))), limit=10)
    assert found.events[0].operation_id == int(operation_id(number=3 << 12 | 3))
    assert (found.events[0].ledger, found.events[0].number) == (LEDGER, 5)


def test_an_answer_proves_how_far_it_looked() -> None:
    """One that is not full says so itself, also when it is empty; a full one goes no further than its last event."""
    assert rpc_wire.events(events(), limit=2).scanned == LATEST
    two = events(payment_event(), payment_event(place=event_id(LEDGER + 1)), cursor=event_id(LEDGER + 1))
    assert rpc_wire.events(two, limit=2).scanned == LEDGER + 1
    assert rpc_wire.events(two, limit=3).scanned == LEDGER + 1


def test_close_times_are_remembered() -> None:
    """The events' ledgers, and the newest one."""
    found = rpc_wire.events(events(payment_event()), limit=10)
    assert found.closed == {
        Ledger(LEDGER): datetime(2026, 7, 6, 10, 13, 42, tzinfo=UTC),
        Ledger(LATEST): datetime.fromtimestamp(1783332999, UTC),
    }


@pytest.mark.parametrize(
    "answer",
    [
        events(latestLedger=None),
        events(cursor="now"),
        events(cursor=event_id(LATEST + 1)),
        events(payment_event(place=event_id(LATEST + 1))),
        events(payment_event(place="1")),
        events(payment_event(place="9223372036854775807-0000000000")),
        events(payment_event(place=event_id(number=1)), payment_event(place=event_id(number=0))),
        events(payment_event(), payment_event()),
        events(payment_event(), cursor=event_id(LEDGER - 1)),
        {**events(), "events": "none"},
        {**events(), "events": [None]},
    ],
)
def test_events_that_cannot_be_are_refused(answer: dict[str, Any]) -> None:
    """Out of order, twice, beyond the newest ledger, or without a place: such an answer proves nothing."""
    with pytest.raises(Malformed):
        rpc_wire.events(answer, limit=10)


@recordings.needed
def test_recorded_events_are_read() -> None:
    """A real answer, its ledgers as text, parses event by event."""
    answer = recordings.load("rpc/get_events.json")
    result = rpc_wire.result(answer, number=answer["id"], method="getEvents")
    found = rpc_wire.events({**result, "cursor": "0000001370030000000-0000000000"}, limit=10)
    assert [event.ledger for event in found.events] == [108, 111, 114]
    assert [event.operation_id & 0xFFF for event in found.events] == [1, 1, 1]
    assert found.latest == 318987


# Errors


@pytest.mark.parametrize("code", [-32603, -32000, "strange", None])
def test_rpcs_own_troubles_pass(code: Any) -> None:
    """They are Unavailable: the same question may be answered later."""
    with pytest.raises(Unavailable, match="database is locked") as told:
        rpc_wire.result(answered(error={"code": code, "message": "database is locked"}), number=7, method="getEvents")
    assert not isinstance(told.value, Refused)


def test_a_wrong_question_says_what_is_wrong() -> None:
    """Which ledgers there are, or how much one answer may have, is in the message alone."""
    ledgers = {"code": -32600, "message": "startLedger must be within the ledger range: 100 - 250"}
    with pytest.raises(Refused) as refused:
        rpc_wire.result(answered(error=ledgers), number=7, method="getEvents")
    assert (refused.value.ledgers, refused.value.limit_max) == ((100, 250), None)
    limit = {"code": -32602, "message": "limit must not exceed 250"}
    with pytest.raises(Refused) as refused:
        rpc_wire.result(answered(error=limit), number=7, method="getEvents")
    assert (refused.value.ledgers, refused.value.limit_max) == (None, 250)


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        "x",
        answered(),
        answered(result=None),
        answered(result=[]),
        {**answered(result={}), "id": 8},
        {**answered(result={}), "id": None},
    ],
)
def test_what_is_no_answer_to_this_call_is_refused(body: Any) -> None:
    """Another call's answer, or none at all, is never taken for this one's."""
    with pytest.raises(Malformed):
        rpc_wire.result(body, number=7, method="getHealth")


# Places


@given(
    ledger=st.integers(2, 2**31 - 2),
    transaction=st.integers(0, 2**20 - 1),
    operation=st.integers(0, 2**12 - 1),
    newest=st.integers(1, 2**31 - 2),
)
def test_rpc_goes_on_exactly_behind_the_cursor(ledger: int, transaction: int, operation: int, newest: int) -> None:
    """Whatever operation a cursor stands behind, RPC is asked for events of later operations and of no earlier ones,
    and in a ledger that it has, unless the cursor is beyond the newest.
    """
    place = ledger << 32 | transaction << 12 | operation
    asked = rpc_places.start_behind(Cursor(str(place)), newest=Ledger(newest))
    if "startLedger" in asked:
        assert (place & 0xFFFFFFFF, asked["startLedger"]) == (0, ledger)
        assert ledger <= newest
        first = asked["startLedger"] << 32, 0
    else:
        toid, number = (int(part) for part in asked["cursor"].split("-"))
        assert number + 1 < 2**32  # RPC adds 1
        first = toid, number + 1
    of_the_next = (place, 0)  # Horizon's operation `place + 1` is RPC's `place`
    of_this_one = (place - 1, 2**32 - 3)
    assert of_this_one < first <= of_the_next


@pytest.mark.parametrize("cursor", ["now", "", "-1", "0", "1" * 30, "223338303686971393-1"])
def test_what_is_no_place_is_refused(cursor: str) -> None:
    """A cursor that no stream of ours ever saved is not guessed at."""
    with pytest.raises(Malformed):
        rpc_places.start_behind(Cursor(cursor), newest=Ledger(1))


def test_behind_a_ledger_is_before_the_next() -> None:
    """Where the next ledger is there it begins with it; where it is not there yet, with what is left of this one."""
    behind = cursor_after_ledger(Ledger(LEDGER))
    assert rpc_places.start_behind(behind, newest=Ledger(LEDGER + 1)) == {"startLedger": LEDGER + 1}
    asked = rpc_places.start_behind(behind, newest=Ledger(LEDGER))
    assert rpc_places.first_ledger(asked) == LEDGER
