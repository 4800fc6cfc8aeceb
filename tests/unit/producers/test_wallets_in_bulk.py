"""Very many wallets at once: a gap, a census, an import; what is kept of each, and who goes first."""

import asyncio
import gc
from dataclasses import replace
from uuid import uuid4

from producers.wallets import MISSED_AT_ONCE
from schema.balance_event import SnapshotType
from schema.stellar import AccountId, Ledger, Stroops
from tests.people import account_id
from tests.unit.producers.followed_wallets import BEGAN, NOW, due, load, pay, state, wallets
from tests.unit.producers.records import ALICE, BOB


async def test_with_a_gap_everyone_is_read() -> None:
    """After a gap every wallet is due, and the cursor waits for all of them; a first sight stays one."""
    found = wallets((ALICE, 900), (BOB, None))
    await found.miss_all()
    assert set(due(found)) == {ALICE, BOB}
    assert (due(found)[ALICE].first_sight, due(found)[BOB].first_sight) == (False, True)
    assert found.oldest_drain() == 0
    found.settle(state(ALICE, 950, observed=1_000), due(found)[ALICE], told=False, now_s=0)
    assert list(due(found)) == [BOB]
    assert found.oldest_drain() is None


async def test_a_wallet_that_was_missed_is_read_no_older_than_that() -> None:
    """A read that was under way before the gap was noticed does not count for it."""
    found = wallets((ALICE, 900))
    found.saw(Ledger(1_010))
    await found.miss_all()
    found.settle(state(ALICE, 950, observed=1_009), due(found)[ALICE], told=False, now_s=0)
    assert due(found)[ALICE].at_least == 1_010
    found.forget([ALICE])
    assert found.oldest_drain() is None


async def test_who_is_unread_comes_in_portions_and_in_turns() -> None:
    """A cycle is given so many; the next one others, and then the first again: one that cannot be read stops nobody."""
    names = [account_id(f"wallet {number}") for number in range(5)]
    found = wallets(*[(name, 900) for name in names])
    await found.miss_all()
    portions = [[each for each, _ in found.due(drained=True, unread_max=2)] for _ in range(3)]
    assert portions == [names[:2], names[2:4], [names[4], names[0]]]
    assert found.due(drained=False) == []  # only first sights claim nothing


async def test_a_gap_blocks_nothing() -> None:
    """Very many are missed in turns: in between, everything else that runs has its own."""
    found = wallets()
    count = 3 * MISSED_AT_ONCE + 1
    for number in range(count):
        found._tracked.see(AccountId(f"wallet {number}"))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(others())
    await found.miss_all()
    running.cancel()
    assert turns >= 3
    assert len(found.unread.missed) == count
    assert found.oldest_drain() == 0


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
