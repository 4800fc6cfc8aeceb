"""Which wallets are followed, when they are read, and which cursor may be saved meanwhile."""

import gc
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from producers.source import State
from producers.wallet import Touch
from producers.wallets import Wallets
from schema.balance_event import Movement, SnapshotType
from schema.stellar import AccountId, Ledger, Stroops
from tests.people import account_id
from tests.unit.producers.records import ALICE, BOB, HASH, operation_id

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
BEGAN = Ledger(1_000)


def wallets(*rows: tuple[str, int | None], movements_max: int = 100) -> Wallets:
    """Wallets loaded at a start at ledger 1,000."""
    found = Wallets(movements_max=movements_max)
    found.begin(BEGAN)
    load(found, *rows)
    return found


def load(found: Wallets, *rows: tuple[str, int | None], now_s: float = 0.0) -> int:
    found.begin_reload()
    found.see([(key, None if version is None else Ledger(version)) for key, version in rows], now_s=now_s)
    return found.end_reload()


def movement(ledger: int, stroops: int = 5) -> Movement:
    return Movement(
        operation_id=operation_id(ledger),
        ledger=Ledger(ledger),
        transaction_hash=HASH,
        type="payment",
        counterparty=None,
        amount_stroops=Stroops(stroops),
    )


def pay(found: Wallets, account: AccountId, *ledgers: int) -> None:
    """Payments in these ledgers, all in one drain."""
    found.drain += 1
    for ledger in ledgers:
        found.newest = Ledger(ledger)
        found.collect([(account, movement(ledger))], closed_at=NOW, seen_at=NOW)


def state(account: AccountId, version: int, observed: int | None = None) -> State:
    return State(
        account_id=account,
        balance_stroops=Stroops(7),
        authorized=True,
        version=Ledger(version),
        observed=Ledger(observed or version),
    )


def due(found: Wallets, *, drained: bool = True) -> dict[AccountId, Touch]:
    return dict(found.due(drained=drained))


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


def test_with_a_gap_everyone_is_read() -> None:
    """After a gap every wallet is due, and the cursor waits for all of them; a first sight stays one."""
    found = wallets((ALICE, 900), (BOB, None))
    found.miss_all()
    assert set(due(found)) == {ALICE, BOB}
    assert (due(found)[ALICE].first_sight, due(found)[BOB].first_sight) == (False, True)
    assert found.oldest_drain() == 0
    found.settle(state(ALICE, 950, observed=1_000), due(found)[ALICE], told=False, now_s=0)
    assert list(due(found)) == [BOB]
    assert found.oldest_drain() is None


def test_a_wallet_that_was_missed_is_read_no_older_than_that() -> None:
    """A read that was under way before the gap was noticed does not count for it."""
    found = wallets((ALICE, 900))
    found.saw(Ledger(1_010))
    found.miss_all()
    found.settle(state(ALICE, 950, observed=1_009), due(found)[ALICE], told=False, now_s=0)
    assert due(found)[ALICE].at_least == 1_010
    found.forget([ALICE])
    assert found.oldest_drain() is None


def test_who_is_unread_comes_in_portions_and_in_turns() -> None:
    """A cycle is given so many; the next one others, and then the first again: one that cannot be read stops nobody."""
    names = [account_id(f"wallet {number}") for number in range(5)]
    found = wallets(*[(name, 900) for name in names])
    found.miss_all()
    portions = [[each for each, _ in found.due(drained=True, unread_max=2)] for _ in range(3)]
    assert portions == [names[:2], names[2:4], [names[4], names[0]]]
    assert found.due(drained=False) == []  # only first sights claim nothing


def test_a_census_leaves_nothing_behind_but_what_was_told() -> None:
    """Of a million wallets that hold what is stored nothing needs to be remembered; a payment's movement does."""
    found = wallets((ALICE, 900), (BOB, 900))
    for account in (ALICE, BOB):
        found.active(account).floor = Ledger(900)
    pay(found, BOB, 1_001)
    for account in (ALICE, BOB):
        touch = found.unread_touch(BEGAN, first_sight=False)
        found.settle(state(account, 900, observed=1_000), touch, told=False, now_s=0)
    assert list(found._active) == [BOB]
    assert due(found)[BOB].at_least == 1_001


def test_who_was_told_and_is_at_rest_is_no_more_than_a_number() -> None:
    """Of a million baselines no record stays for the garbage collector to go through; the floor is still known: what
    changed up to it is not read again, and the next fact claims what came after it.
    """
    found = wallets((ALICE, None), (BOB, 900))
    pay(found, BOB, 1_001)
    found.settle(state(ALICE, 1_000), due(found)[ALICE], told=True, now_s=0)
    found.settle(state(BOB, 1_001), due(found)[BOB], told=True, now_s=0)
    assert found._active == {}
    assert not any(map(gc.is_tracked, [*found._floors.values(), *found._told_unstored.values()]))
    assert found.change([ALICE, BOB], Ledger(1_000), closed_at=NOW, seen_at=NOW) == 0
    assert found.change([ALICE, BOB], Ledger(1_001), closed_at=NOW, seen_at=NOW) == 1
    pay(found, ALICE, 1_005)
    known = found.active(ALICE)
    assert (known.floor, known.was_told, [each.ledger for each in known.pending]) == (1_000, True, [1_005])
    found.forget([ALICE, BOB])
    assert (found.active(ALICE).floor, found.active(BOB).floor) == (None, None)


def test_what_a_record_alone_knows_stays() -> None:
    """An absence that was told, and from when on a wallet that came later is known, are not in its floor."""
    found = wallets((ALICE, None))
    pay(found, ALICE, 1_005)
    found.arrive([(BOB, None)])
    absent = replace(state(ALICE, 1_006), balance_stroops=Stroops(0), authorized=False)
    found.settle(absent, due(found)[ALICE], told=True, now_s=0)
    found.settle(state(BOB, 900, observed=1_006), due(found)[BOB], told=True, now_s=0)
    assert found.active(ALICE).absent
    assert (found.active(BOB).floor, found.active(BOB).complete_since) == (900, 1_005)


def test_a_request_asks_for_nothing_older_than_what_is_known() -> None:
    """What a state or a change was seen in, a request's read has to have seen too: a replica that is behind does not
    answer it.
    """
    found = wallets((ALICE, 900))
    found.saw(Ledger(1_007))
    found.saw(Ledger(1_003))
    found.request(ALICE, uuid4(), SnapshotType.MANUAL)
    assert due(found)[ALICE].at_least == 1_007


def test_who_is_paid_goes_before_those_that_came_in_bulk() -> None:
    """Wallets that only the reading of all rows shows, with a stored fact or without, wait in their queues: none of
    them is read before the one that was paid, and the cursor waits for those with a fact.
    """
    found = wallets((ALICE, 900))
    found.drain = 1
    many = [account_id(f"imported {number}") for number in range(600)]
    load(found, (ALICE, 900), *((each, None) for each in many[:300]), *((each, 800) for each in many[300:]))
    assert not found.touched
    pay(found, ALICE, 1_001)
    [first, *others] = found.due(drained=True)
    assert first[0] == ALICE
    assert {each for each, _ in others} <= set(many)
    assert found.oldest_drain() == 1
    assert len(found) == 601
