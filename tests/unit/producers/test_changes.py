"""Following effects: whom they touch, which place may be saved, what is said when they fall behind; however cut."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers import changes as changes_module
from producers.changes import Changes
from producers.history import Position
from producers.metrics import Metrics
from producers.source import PAGE_RECORDS_MAX, History, Page, State, Unavailable
from producers.wallets import Wallets
from schema.balance_event import SnapshotType
from schema.stellar import AccountId, Asset, Cursor, Ledger, Network, Stroops, cursor_after_ledger
from tests.people import account_id
from tests.unit.producers.partial import PartialSource
from tests.unit.producers.records import ALICE, ASSET, BOB, LEDGER, asset_fields, effect, payment
from tests.waiting import until

NOW = datetime(2026, 1, 31, tzinfo=UTC)
BEGIN = Position(cursor=cursor_after_ledger(Ledger(LEDGER - 1)), ledger=Ledger(LEDGER - 1))
COUNTERFEIT = Asset("USDC", account_id("counterfeiter"))
STRANGER = account_id("stranger")


def debit(ledger: int = LEDGER, *, account: str = ALICE, asset: Asset = ASSET, **more: Any) -> dict[str, Any]:
    return effect("account_debited", account=account, ledger=ledger, **asset_fields(asset), **more)


class Pages(PartialSource):
    """A source of changes alone, one page after the other; then it waits for ever."""

    def __init__(self, *pages: Sequence[dict[str, Any]]) -> None:
        self._pages = list(pages)
        self.asked: list[Cursor] = []
        self.is_waiting = asyncio.Event()
        self.full = PAGE_RECORDS_MAX

    async def changes(self, cursor: Cursor) -> Page:
        self.asked.append(cursor)
        if not self._pages:
            return Page(records=[], cursor=None, full=False)
        records = self._pages.pop(0)
        after = Cursor(records[-1]["paging_token"]) if records else None
        return Page(records=records, cursor=after, full=len(records) >= self.full)

    async def change_after(self, cursor: Cursor) -> bool:
        assert cursor
        self.is_waiting.set()
        return await asyncio.Event().wait()


def followed(*accounts: AccountId, stored: int = LEDGER - 100) -> Wallets:
    """These wallets, with a fact each."""
    wallets = Wallets()
    wallets.begin(BEGIN.ledger)
    wallets.begin_reload()
    wallets.see([(each, Ledger(stored)) for each in accounts], now_s=0)
    wallets.end_reload()
    return wallets


def changes_of(source: Pages, wallets: Wallets, *, requests_per_hour: int = 0) -> Changes:
    found = Changes(
        source,
        wallets,
        network=Network.TESTNET,
        asset=ASSET,
        position=BEGIN,
        metrics=Metrics(),
        clock=lambda: NOW,
        wake=asyncio.Event(),
        requests_per_hour=requests_per_hour,
        wait_s_max=30,
    )
    found.wallets_are_known()
    return found


async def read_all(source: Pages, changes: Changes) -> None:
    """Follow until the source has no more."""
    task = asyncio.create_task(changes.follow())
    await asyncio.wait_for(source.is_waiting.wait(), 30)
    task.cancel()


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


async def test_a_page_out_of_order_is_a_source_in_trouble() -> None:
    """Who skips what he has seen by its place would pass over a record that comes behind a later one."""
    source, wallets = Pages([debit(LEDGER + 1), debit(LEDGER)]), followed(ALICE)
    changes = changes_of(source, wallets)
    with pytest.raises(Unavailable, match="out of order"):
        await changes._next_page()
    assert changes.position == BEGIN


async def test_a_page_of_other_things_is_a_source_in_trouble() -> None:
    """A proxy that leads to the payments: their places are not those of effects, and none is passed."""
    source, wallets = Pages([payment(), payment(number=2)]), followed(ALICE)
    changes = changes_of(source, wallets)
    with pytest.raises(Unavailable, match="says its place"):
        await changes._next_page()
    assert (changes.position, changes.refused, wallets.touched) == (BEGIN, [], {})


async def test_the_same_full_page_again_is_a_source_in_trouble() -> None:
    """A source that answers every cursor with one full page is not read for ever."""
    source, wallets = Pages([debit()], [debit()]), followed(ALICE)
    source.full = 1
    changes = changes_of(source, wallets)
    await changes._next_page()
    with pytest.raises(Unavailable, match="nothing new"):
        await changes._next_page()


async def test_what_cannot_be_read_is_a_dead_letter_and_touches_whom_it_names() -> None:
    """With its place and what it was; the wallets named in it are read, and the rest goes on."""
    bent = {**debit(), "asset_type": 7, "note": BOB}
    source, wallets = Pages([bent, debit(LEDGER + 1, account=STRANGER)]), followed(ALICE, BOB)
    changes = changes_of(source, wallets)
    await read_all(source, changes)
    (letter,) = changes.refused
    assert (letter.origin, letter.offset) == ("horizon:effects", int(bent["paging_token"].split("-")[0]))
    assert letter.key == bent["paging_token"].encode()
    assert letter.reason == "malformed asset_type"
    assert set(wallets.touched) == {ALICE, BOB}
    assert changes.position.ledger == LEDGER + 1


async def test_a_place_that_cannot_be_read_does_not_stop_it() -> None:
    """An effect without a paging token touches whom it names, as of the newest ledger there is."""
    bent = {**debit(), "paging_token": "here"}
    source, wallets = Pages([bent, debit(LEDGER + 1, account=STRANGER)]), followed(ALICE)
    changes = changes_of(source, wallets)
    await read_all(source, changes)
    assert [letter.reason for letter in changes.refused] == ["malformed paging_token"]
    assert wallets.touched[ALICE].at_least == BEGIN.ledger


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
    await asyncio.sleep(0)
    assert source.asked == []
    changes.wallets_are_known()
    await asyncio.wait_for(source.is_waiting.wait(), 30)
    task.cancel()
    assert ALICE in wallets.touched


async def test_behind_is_said_with_the_remedy_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is behind for longer than it may be is a reason not to be ready, until the end is reached."""
    monkeypatch.setattr(changes_module, "BEHIND_S_MAX", -1.0)
    source, wallets = Pages([debit()], [debit(LEDGER + 1)]), followed(ALICE)
    source.full = 1
    changes = changes_of(source, wallets)
    wallets.saw(Ledger(LEDGER + 10))
    await changes._next_page()
    said = changes.overdue()["changes"]
    assert said.startswith("11 ledgers behind for")
    assert "HORIZON_REQUESTS_PER_HOUR" in said
    assert "STREAM_CHANGES=false" in said
    await read_all(source, changes)
    assert changes.overdue() == {}


async def test_a_place_the_source_lost_is_left_for_the_tip() -> None:
    """Every wallet is read then; until they are, the place that may be saved is the old one, and a page of it that was
    on its way is not taken.
    """
    source, wallets = Pages([debit(LEDGER)]), followed(ALICE, BOB)
    changes = changes_of(source, wallets)
    history = History(passphrase="", elder=Ledger(LEDGER + 50), latest=Ledger(LEDGER + 100))
    changes.check(History(passphrase="", elder=Ledger(2), latest=Ledger(LEDGER + 100)))
    assert wallets.due(drained=True) == []
    changes.check(history)
    assert {account for account, touch in wallets.due(drained=True) if touch.at_least == LEDGER + 100} == {ALICE, BOB}
    assert changes.told_up_to(wallets.oldest_drain()) == BEGIN
    for account, touch in wallets.due(drained=True):
        wallets.settle(state(account, LEDGER + 100), touch, told=True, now_s=0)
    assert changes.told_up_to(wallets.oldest_drain()) == Position(
        cursor=cursor_after_ledger(history.latest), ledger=history.latest
    )


async def test_its_share_of_the_requests_is_its_own() -> None:
    """Of 4 requests an hour it makes one of pages, and has one for what they touched; without a limit it has none."""
    wallets = followed(ALICE, BOB)
    source = Pages(*[[debit(LEDGER + number), debit(LEDGER + number, account=BOB, order=2)] for number in range(3)])
    source.full = 1
    changes = changes_of(source, wallets, requests_per_hour=4)
    task = asyncio.create_task(changes.follow())
    await until(lambda: _is_true(len(source.asked) == 1), "one page")
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(source.asked) == 1
    assert [await changes.affordable_reads(), await changes.affordable_reads()] == [1, 0]
    assert await changes_of(source, wallets).affordable_reads() == 2
    task.cancel()


async def test_a_source_in_trouble_is_asked_again() -> None:
    """What fails is said, and the same place is asked for again."""
    source, wallets = Pages([debit()]), followed(ALICE)
    failures = iter([Unavailable("not now"), Unavailable("nor now")])
    really = source.changes

    async def changes(cursor: Cursor) -> Page:
        for failure in failures:
            source.asked.append(cursor)
            raise failure
        return await really(cursor)

    source.changes = changes  # type: ignore[method-assign]
    followed_changes = changes_of(source, wallets)
    await read_all(source, followed_changes)
    assert source.asked == [BEGIN.cursor] * 3
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


def state(account: AccountId, ledger: int) -> State:
    return State(
        account_id=account,
        balance_stroops=Stroops(7),
        authorized=True,
        version=Ledger(ledger),
        observed=Ledger(ledger),
    )


async def _is_true(value: object) -> bool:
    return bool(value)
