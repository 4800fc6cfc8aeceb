"""Which wallets are followed, when they are read, and which cursor may be saved meanwhile."""

from uuid import uuid4

from producers.wallets import Wallets
from schema.balance_event import SnapshotType
from schema.stellar import Ledger
from tests.people import account_id
from tests.unit.producers.followed_wallets import BEGAN, due, load, pay, state, wallets
from tests.unit.producers.records import ALICE, BOB


def test_a_start_reads_what_has_no_stored_fact() -> None:
    """A wallet without a stored fact is due as a first sight in the ledger of the start; the others are not."""
    found = due(wallets((ALICE, None), (BOB, 900)))
    assert list(found) == [ALICE]
    assert found[ALICE].first_sight
    assert found[ALICE].at_least == BEGAN
    assert not found[ALICE].holds_cursor


def test_a_wallet_that_comes_later_is_read_as_new_as_what_was_drained() -> None:
    """A payment that was drained before the wallet was followed must be in its baseline: the read is as new as that."""
    found = wallets((ALICE, 900))
    pay(found, ALICE, 1_005)
    found.arrive([(BOB, None)])
    assert due(found)[BOB].at_least == 1_005
    assert due(found)[BOB].first_sight
    assert found.active(BOB).complete_since == 1_005


def test_payments_of_strangers_are_nothing() -> None:
    """Nobody is touched by a payment to a wallet that is not followed."""
    found = wallets((ALICE, 900))
    pay(found, BOB, 1_001)
    assert due(found) == {}


def test_a_touch_ends_with_a_read_that_holds_it() -> None:
    """Told in a ledger that holds all its payments, a wallet is done with, and keeps no movement."""
    found = wallets((ALICE, 900))
    pay(found, ALICE, 1_001, 1_002)
    found.settle(state(ALICE, 1_002), due(found)[ALICE], told=True, now_s=0)
    assert due(found) == {}
    assert found.active(ALICE).pending == []
    assert found.active(ALICE).floor == 1_002


def test_what_comes_while_a_wallet_is_read_stays() -> None:
    """A payment drained after the read was taken, in a later ledger than it saw, keeps its movement and is read."""
    found = wallets((ALICE, 900))
    pay(found, ALICE, 1_001)
    taken, drain = due(found)[ALICE], found.drain
    pay(found, ALICE, 1_003)
    found.settle(state(ALICE, 1_001), taken, told=True, now_s=0)
    assert due(found)[ALICE].at_least == 1_003
    assert [each.ledger for each in found.active(ALICE).pending] == [1_003]
    assert found.oldest_drain() == drain + 1


def test_what_a_fact_already_tells_is_not_taken_again() -> None:
    """A payment in a ledger at or below the told version, drained afterwards, touches nobody."""
    found = wallets((ALICE, None))
    found.settle(state(ALICE, 1_004), due(found)[ALICE], told=True, now_s=0)
    pay(found, ALICE, 1_003, 1_004)
    assert due(found) == {}
    pay(found, ALICE, 1_005)
    assert [each.ledger for each in found.active(ALICE).pending] == [1_005]


def test_too_many_movements_are_given_up_and_filled_later() -> None:
    """Beyond the limit the record is emptied and says from which ledger on it is whole again."""
    found = wallets((ALICE, 900), movements_max=3)
    pay(found, ALICE, 1_001, 1_002, 1_003, 1_004, 1_005)
    wallet = found.active(ALICE)
    assert wallet.complete_since == 1_004
    assert [each.ledger for each in wallet.pending] == [1_005]


def test_a_doubtful_record_makes_its_wallets_incomplete() -> None:
    """A record that cannot be read touches the followed wallets it names, and no claim of theirs rests on it."""
    found = wallets((ALICE, 900))
    pay(found, ALICE, 1_001)
    found.doubt([ALICE, BOB], Ledger(1_002))
    assert due(found)[ALICE].at_least == 1_002
    assert found.active(ALICE).complete_since == 1_002
    assert BOB not in due(found)


def test_only_first_sights_while_the_history_is_not_drained() -> None:
    """In the midst of a long catch-up a new wallet gets its baseline, and the others wait for the end."""
    found = wallets((ALICE, 900))
    pay(found, ALICE, 1_001)
    found.arrive([(BOB, None)])
    assert list(due(found, drained=False)) == [BOB]


def test_the_saved_cursor_waits_for_the_oldest_touch() -> None:
    """The drain of the oldest payment that is not told yet is known; a first sight alone holds nothing back."""
    found = wallets((ALICE, 900), (BOB, 900))
    found.arrive([(account_id("carol"), None)])
    assert found.oldest_drain() is None
    pay(found, ALICE, 1_001)
    first = found.drain
    pay(found, BOB, 1_002)
    pay(found, ALICE, 1_003)
    assert found.oldest_drain() == first


def test_requests_are_answered_once() -> None:
    """A request seen twice before it is answered is one; a payment meanwhile makes the snapshot a webhook's."""
    found, request = wallets((ALICE, 900)), uuid4()
    found.request(ALICE, request, SnapshotType.MANUAL)
    found.request(ALICE, request, SnapshotType.MANUAL)
    found.request(BOB, uuid4(), SnapshotType.MANUAL)
    assert due(found)[ALICE].requests == {request}
    assert due(found)[ALICE].snapshot_type is SnapshotType.MANUAL
    assert due(found)[ALICE].is_forced
    assert BOB not in due(found)
    pay(found, ALICE, 1_001)
    assert due(found)[ALICE].snapshot_type is SnapshotType.WEBHOOK


def test_who_was_paid_is_read_before_a_thousand_who_ask() -> None:
    """Commands that expired, people, new rows: their reads wait for those of wallets that were paid, also for one that
    asked before it was paid; among themselves all stay in their order.
    """
    askers = [account_id(f"asker {number}") for number in range(1_000)]
    found = wallets(*((each, 900) for each in (*askers, ALICE)))
    for each in askers:
        found.request(each, uuid4(), SnapshotType.POLL)
    found.arrive([(BOB, None)])
    pay(found, ALICE, 1_001)
    pay(found, askers[500], 1_002)
    assert list(due(found)) == [askers[500], ALICE, *askers[:500], *askers[501:], BOB]


def test_rows_that_are_gone_are_forgotten() -> None:
    """A reload without a row ends its following, its touch included."""
    found = wallets((ALICE, 900), (BOB, None))
    pay(found, ALICE, 1_001)
    assert load(found, (BOB, None)) == 1
    assert ALICE not in found
    assert list(due(found)) == [BOB]


def test_a_reload_that_broke_off_is_begun_again() -> None:
    """Wallets first seen after a broken first load still count as there from the start."""
    found = Wallets()
    found.begin(BEGAN)
    found.begin_reload()
    found.see([(ALICE, Ledger(900))], now_s=0)
    load(found, (ALICE, 900), (BOB, 900))
    assert due(found) == {}


def test_a_baseline_nobody_stored_is_told_again_after_a_while() -> None:
    """A told baseline whose row stays empty is repeated, but not at every reload: the consumer may be slow."""
    found = wallets((ALICE, None))
    found.settle(state(ALICE, 1_000), due(found)[ALICE], told=True, now_s=0)
    load(found, (ALICE, None), now_s=500)
    assert due(found) == {}
    load(found, (ALICE, None), now_s=700)
    assert due(found)[ALICE].first_sight


def test_a_row_inserted_anew_gets_its_baseline_anew() -> None:
    """Deleted and inserted again, a wallet is read although this process told the same version before."""
    found = wallets((ALICE, None))
    found.settle(state(ALICE, 1_000), due(found)[ALICE], told=True, now_s=0)
    found.arrive([(ALICE, None)])
    assert due(found)[ALICE].is_forced


def test_an_address_that_is_none_is_left_out() -> None:
    """A row whose public key has a bad checksum is not followed, for Horizon would refuse it for ever."""
    found = wallets(("G" + "A" * 55, None), (ALICE, None))
    assert list(due(found)) == [ALICE]
