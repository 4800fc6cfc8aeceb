"""Following effects: whom they touch, which place may be saved, what is said when they fall behind; however cut."""

import asyncio
from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from schema.balance_event import SnapshotType
from schema.stellar import Ledger
from tests.people import account_id
from tests.unit.producers.effect_pages import (
    COUNTERFEIT,
    NOW,
    STRANGER,
    Pages,
    changes_of,
    debit,
    followed,
    read_all,
    state,
)
from tests.unit.producers.records import ALICE, BOB, LEDGER, effect


async def test_an_effect_touches_the_wallet_it_names() -> None:
    """It is to be read, no older than the effect's ledger, as what somebody saw happen; strangers are not."""
    source, wallets = Pages([debit(), debit(LEDGER + 1, account=STRANGER)]), followed(ALICE, BOB)
    changes = changes_of(source, wallets)
    await read_all(source, changes)
    ((account, touch),) = wallets.due(drained=True)
    assert (account, touch.at_least, touch.snapshot_type) == (ALICE, LEDGER, SnapshotType.WEBHOOK)
    assert touch.is_change
    assert touch.closed_at == datetime(2024, 7, 6, 10, 13, 42, tzinfo=UTC)


async def test_a_counterfeits_effects_touch_nobody() -> None:
    """The same code of another issuer is nothing, and its place is passed."""
    source, wallets = Pages([debit(asset=COUNTERFEIT)]), followed(ALICE)
    changes = changes_of(source, wallets)
    await read_all(source, changes)
    assert wallets.due(drained=True) == []
    assert changes.told_up_to(wallets.oldest_drain()) == changes.position
    assert changes.position.cursor == debit()["paging_token"]


async def test_the_cursor_waits_for_what_it_touched() -> None:
    """Until the wallet is told, the place that may be saved is the one before it was touched; then it is the newest."""
    quiet, loud = effect("data_created", ledger=LEDGER), debit(LEDGER + 1)
    source, wallets = Pages([quiet], [loud], [effect("data_created", ledger=LEDGER + 2)]), followed(ALICE)
    source.full = 1
    changes = changes_of(source, wallets)
    await read_all(source, changes)
    saved = changes.told_up_to(wallets.oldest_drain())
    assert saved is not None
    assert saved.cursor == quiet["paging_token"]
    (due,) = wallets.due(drained=True)
    wallets.settle(state(ALICE, LEDGER + 1), due[1], told=True, now_s=0)
    assert changes.told_up_to(wallets.oldest_drain()) == changes.position


async def test_a_ledger_may_be_behind_its_page() -> None:
    """A full page may end in the midst of a ledger: only the ledger before it is known to be whole."""
    source, wallets = Pages([debit(LEDGER), debit(LEDGER + 3)]), followed(ALICE)
    source.full = 2
    changes = changes_of(source, wallets)
    await read_all(source, changes)
    assert changes.position.ledger == LEDGER + 2


STORY = [
    debit(LEDGER + ledger, number=4096 + operation, order=order, account=account)
    for ledger in range(3)
    for operation in range(1, 3)
    for order, account in enumerate((ALICE, BOB, STRANGER), start=1)
]


@given(cuts=st.lists(st.integers(0, len(STORY)), max_size=6), doubled=st.booleans())
def test_however_the_pages_are_cut_the_same_wallets_are_touched(cuts: list[int], *, doubled: bool) -> None:
    """Wherever pages begin and end, and when records come twice, the wallets are touched as of their last change, and
    the place is behind the last effect.
    """
    places = sorted({0, *cuts, len(STORY)})
    pages = [STORY[begin:end] for begin, end in pairwise(places)]
    if doubled:
        pages = [[record for record in page for _ in range(2)] for page in pages] + [pages[-1]]

    async def told() -> None:
        source, wallets = Pages(*pages), followed(ALICE, BOB)
        changes = changes_of(source, wallets)
        while source._pages:
            await changes._next_page()
        assert {each: touch.at_least for each, touch in wallets.touched.items()} == {
            ALICE: LEDGER + 2,
            BOB: LEDGER + 2,
        }
        assert changes.position.cursor == STORY[-1]["paging_token"]

    asyncio.run(told())


async def test_effects_of_payments_that_were_told_ask_for_no_read() -> None:
    """A fact of the effect's ledger holds it already; one that waits to be read as of it will."""
    wallets = followed(ALICE, BOB)
    told, waiting = wallets.active(ALICE), wallets.active(BOB)
    told.floor = waiting.floor = Ledger(LEDGER)
    source = Pages([debit(LEDGER), debit(LEDGER, account=BOB, order=2)])
    changes = changes_of(source, wallets)
    await read_all(source, changes)
    assert wallets.touched == {}
    wallets.doubt([BOB], Ledger(LEDGER + 1))
    drain = wallets.touched[BOB].drain
    assert wallets.change([BOB], Ledger(LEDGER + 1), closed_at=NOW, seen_at=NOW) == 0
    assert wallets.touched[BOB].drain == drain
    assert wallets.change([BOB, ALICE], Ledger(LEDGER + 2), closed_at=NOW, seen_at=NOW) == 2


async def test_what_is_asked_for_afterwards_is_no_older_than_a_change() -> None:
    """A wallet that comes after an effect was read is read as of that effect's ledger: it may have been its own."""
    source, wallets = Pages([debit(LEDGER + 5, account=STRANGER)]), followed(ALICE)
    changes = changes_of(source, wallets)
    await read_all(source, changes)
    wallets.arrive([(STRANGER, None)])
    assert dict(wallets.due(drained=True))[STRANGER].at_least == LEDGER + 5


async def test_nothing_is_read_before_the_wallets_are_known() -> None:
    """An effect that is read while nobody is followed would touch nobody."""
    source, wallets = Pages([debit()]), followed(ALICE)
    changes = changes_of(source, wallets)
    changes._may_begin.clear()
    task = asyncio.create_task(changes.follow())
    for _ in range(20):
        await asyncio.sleep(0)
    assert source.asked == []
    changes.wallets_are_known()
    await asyncio.wait_for(source.is_waiting.wait(), 30)
    task.cancel()
    assert ALICE in wallets.touched


async def test_who_was_paid_is_read_first() -> None:
    """However many only changed before, the wallets that were paid come first, and of the others no more than may."""
    everyone = [account_id(f"wallet {number}") for number in range(30)]
    wallets = followed(*everyone)
    *changed, paid = everyone
    wallets.drain += 1
    wallets.change(changed, Ledger(LEDGER), closed_at=NOW, seen_at=NOW)
    wallets.doubt([paid], Ledger(LEDGER))
    found = [account for account, _ in wallets.due(drained=True, changed_max=10)]
    assert found == [paid, *changed[:10]]
    again = [account for account, _ in wallets.due(drained=True, changed_max=10)]
    assert again == [paid, *changed[10:20]]
    wallets.doubt([changed[-1]], Ledger(LEDGER))
    assert [account for account, _ in wallets.due(drained=True, changed_max=0)] == [changed[-1], paid]
