"""A wallet's state beside what is stored of it, and whose discovery a change is."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from producers.poll.compare import (
    TOLD_AGAIN_S,
    Compared,
    Found,
    Recorded,
    Suspect,
    TellingMemory,
    find,
    judge,
)
from producers.source import State
from producers.wallet import Stored
from schema import balance_event
from schema.balance_event import BalanceEvent, Movement, SnapshotType
from schema.stellar import AccountId, Address, Ledger, Network, Stroops
from tests.people import account_id
from tests.unit.producers.records import ALICE, ASSET, BOB, HASH, LEDGER, operation_id

AT = datetime(2026, 3, 1, 12, 0, 5, 250_000, tzinfo=UTC)


def state(*, version: int = LEDGER, observed: int = LEDGER + 5, stroops: int = 500) -> State:
    return State(
        account_id=BOB,
        balance_stroops=Stroops(stroops),
        authorized=True,
        version=Ledger(version),
        observed=Ledger(observed),
    )


def gone(observed: int = LEDGER + 5) -> State:
    return replace(state(version=observed, observed=observed, stroops=0), authorized=False)


def stored(*, version: int | None = LEDGER, stroops: int = 500, absent: bool = False) -> Stored:
    ledger = None if version is None else Ledger(version)
    return Stored(account_id=BOB, version=ledger, balance_stroops=Stroops(stroops), absent=absent)


@pytest.mark.parametrize(
    ("seen", "row", "expected"),
    [
        (state(), stored(version=None), Compared.TELL),
        (gone(), stored(version=None), Compared.TELL),
        (state(), stored(), Compared.SAME),
        (state(version=LEDGER + 1), stored(), Compared.TELL),
        (state(version=LEDGER + 1), stored(stroops=500), Compared.TELL),
        (state(stroops=501), stored(), Compared.TELL),
        (gone(), stored(), Compared.TELL),
        (gone(), stored(stroops=0, absent=True), Compared.SAME),
        (state(version=LEDGER + 1), stored(stroops=0, absent=True), Compared.TELL),
        (state(observed=LEDGER), stored(version=LEDGER + 1), Compared.BEHIND),
        (gone(LEDGER), stored(version=LEDGER + 1), Compared.BEHIND),
        (state(), stored(version=LEDGER + 1), Compared.IMPOSSIBLE),
    ],
    ids=[
        "no fact yet",
        "no fact yet, absent",
        "the same",
        "a newer version",
        "a newer version of the same balance",
        "another balance of the same version",
        "gone",
        "gone as before",
        "there again",
        "a replica that is behind",
        "a replica that is behind and does not have it yet",
        "older than what is stored",
    ],
)
def test_what_becomes_of_a_state(seen: State, row: Stored, expected: Compared) -> None:
    """Each row of the table."""
    assert TellingMemory().compare(seen, row, now_s=0.0) is expected


def test_what_was_told_is_not_told_in_every_round() -> None:
    """While the consumer has not stored it it waits; a newer version is told at once; after ten minutes it is told
    again, for the fact may be lost.
    """
    memory = TellingMemory()
    told = state(version=LEDGER + 2)
    memory.note(told, now_s=0.0)
    assert memory.compare(told, stored(), now_s=60.0) is Compared.WAITING
    assert memory.compare(told, stored(version=None), now_s=60.0) is Compared.WAITING
    assert memory.compare(state(version=LEDGER + 3), stored(), now_s=60.0) is Compared.TELL
    assert memory.compare(replace(told, balance_stroops=Stroops(7)), stored(), now_s=60.0) is Compared.TELL
    assert memory.compare(told, stored(), now_s=TOLD_AGAIN_S + 1) is Compared.TELL
    assert memory.compare(told, stored(version=LEDGER + 2), now_s=61.0) is Compared.SAME


def test_a_conflict_is_said_once() -> None:
    """Another balance of the stored version is never stored, and each time it is said it is a dead letter."""
    memory = TellingMemory()
    other = state(stroops=501)
    assert memory.compare(other, stored(), now_s=0.0) is Compared.TELL
    memory.note(other, now_s=0.0)
    assert memory.compare(other, stored(), now_s=TOLD_AGAIN_S + 1) is Compared.WAITING
    assert memory.compare(state(stroops=502), stored(), now_s=1.0) is Compared.TELL


def test_an_absence_is_seen_in_another_ledger_each_time() -> None:
    """That a trustline is gone was told; that it still is, in a later ledger, is not news."""
    memory = TellingMemory()
    memory.note(gone(), now_s=0.0)
    assert memory.compare(gone(LEDGER + 9), stored(), now_s=60.0) is Compared.WAITING
    assert memory.compare(state(version=LEDGER + 7, observed=LEDGER + 9), stored(), now_s=60.0) is Compared.TELL


def test_the_memory_has_a_bound() -> None:
    """With a consumer that stores nothing the oldest is forgotten, and told again in time."""
    memory = TellingMemory(told_max=3)
    told = [replace(state(version=LEDGER + 1), account_id=account_id(f"wallet {number}")) for number in range(4)]
    for each in told:
        memory.note(each, now_s=0.0)
    compared = [memory.compare(each, stored(), now_s=1.0) for each in told]
    assert compared == [Compared.TELL, Compared.WAITING, Compared.WAITING, Compared.WAITING]


def test_what_the_memory_forgets_costs_what_it_remembers() -> None:
    """A first round of a million wallets, with no consumer behind it, forgets most of what it told. That takes no
    longer the more was forgotten before.
    """
    memory, one = TellingMemory(told_max=30_000), state(version=LEDGER + 1)
    states = [replace(one, account_id=AccountId(f"wallet {number}")) for number in range(150_000)]
    took_s = []
    for start in range(0, len(states), 30_000):
        before_s = time.thread_time()
        for each in states[start : start + 30_000]:
            memory.note(each, now_s=0.0)
        took_s.append(time.thread_time() - before_s)
    assert max(took_s) < 20 * took_s[0] + 0.1
    assert memory.compare(replace(one, account_id=AccountId("wallet 119999")), stored(), now_s=1.0) is Compared.TELL
    assert memory.compare(replace(one, account_id=AccountId("wallet 120000")), stored(), now_s=1.0) is Compared.WAITING


def event(*, moved_in: int | None = LEDGER + 2) -> BalanceEvent:
    """A told change of version LEDGER + 2; with a payment in the ledger given."""
    movement = None
    if moved_in is not None:
        movement = Movement(
            operation_id=operation_id(moved_in),
            ledger=Ledger(moved_in),
            transaction_hash=HASH,
            type="payment",
            counterparty=Address(ALICE),
            amount_stroops=Stroops(5),
        )
    return balance_event.fact(
        snapshot_type=SnapshotType.POLL,
        network=Network.TESTNET,
        account_id=BOB,
        asset=ASSET,
        balance_stroops=Stroops(505),
        authorized=True,
        ledger=Ledger(LEDGER + 2),
        observed_ledger=Ledger(LEDGER + 5),
        observed_at=AT,
        movements_since=Ledger(LEDGER),
        movements=(movement,) if movement else (),
    )


@pytest.mark.parametrize(
    ("told", "passed", "suspected"),
    [
        (event(), {}, None),
        (event(), {"stream": LEDGER + 1}, None),
        (event(), {"stream": LEDGER + 2}, {"stream": LEDGER + 2}),
        (event(), {"a": LEDGER + 1, "b": LEDGER + 9}, {"b": LEDGER + 9}),
        (event(), {"stream": LEDGER + 1, "stream:changes": LEDGER + 9}, None),
        (event(moved_in=None), {"stream": LEDGER + 9}, None),
        (event(moved_in=LEDGER + 1), {"stream": LEDGER + 9, "stream:changes": LEDGER + 1}, None),
        (event(moved_in=None), {"stream": LEDGER, "stream:changes": LEDGER + 2}, {"stream:changes": LEDGER + 2}),
    ],
    ids=[
        "no stream",
        "the stream is not there yet",
        "past it",
        "one of two is past it",
        "a payment is no business of the changes' cursor",
        "what no payment shows is no business of the payments' cursor",
        "nor is it when an earlier payment is told with it",
        "past a change",
    ],
)
def test_only_what_a_stream_is_past_is_suspected(
    told: BalanceEvent, passed: dict[str, int], suspected: dict[str, int] | None
) -> None:
    """A gap is a change in a ledger that a stream says it has told to its end."""
    ledgers = {name: Ledger(ledger) for name, ledger in passed.items()}
    found = find(told, stored(), ledgers, one_cursor=False)
    assert found == (Found.AHEAD if suspected is None else Suspect(event=told, passed=suspected))  # type: ignore[arg-type]


def test_with_one_cursor_every_change_is_its_business() -> None:
    """Where the payments show every change, a change without a payment is missed by whoever is past it, too."""
    passed = {"stream": Ledger(LEDGER + 2)}
    told = event(moved_in=None)
    assert find(told, stored(), passed, one_cursor=True) == Suspect(event=told, passed=passed)


def test_a_version_without_a_change_is_no_gap() -> None:
    """An offer's liabilities are a version of their own, and show nowhere: no stream missed money."""
    passed = {"stream:changes": Ledger(LEDGER + 2)}
    told = event(moved_in=None)
    before = replace(stored(), balance_stroops=told.balance_stroops)
    assert find(told, before, passed, one_cursor=False) is Found.STILL
    frozen = replace(told, authorized=False)
    assert find(frozen, before, passed, one_cursor=False) == Suspect(event=frozen, passed=passed)


def test_a_first_sight_is_a_baseline() -> None:
    """Whatever the streams say: nobody had told of the wallet."""
    assert find(event(), None, {"stream": Ledger(LEDGER + 9)}, one_cursor=False) is Found.BASELINE


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ((None, None, None), None),
        ((LEDGER, None, None), None),
        ((LEDGER + 2, SnapshotType.POLL, AT), Found.GAP),
        ((LEDGER + 3, SnapshotType.POLL, AT), Found.GAP),
        ((LEDGER + 2, SnapshotType.WEBHOOK, AT), Found.UNDERWAY),
        ((LEDGER + 2, SnapshotType.POLL, AT - timedelta(seconds=5)), Found.UNDERWAY),
        ((LEDGER + 3, None, None), Found.UNDERWAY),
    ],
    ids=[
        "nothing stored",
        "not that far",
        "ours was recorded",
        "ours was recorded, and another after it",
        "the stream's was recorded",
        "another read's was recorded",
        "a later one came before ours",
    ],
)
def test_the_consumer_says_whose_fact_was_the_first(
    recorded: tuple[int | None, SnapshotType | None, datetime | None], expected: Found | None
) -> None:
    """A stream's fact lies before the poll's in the partition: only where there was none is the poll's recorded."""
    version, snapshot_type, observed_at = recorded
    ledger = None if version is None else Ledger(version)
    found = judge(
        Suspect(event=event(), passed={"stream": Ledger(LEDGER + 2)}),
        Recorded(version=ledger, snapshot_type=snapshot_type, observed_at=observed_at),
    )
    assert found is expected
