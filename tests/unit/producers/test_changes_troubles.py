"""A source of effects in trouble: out of order, senseless, behind, gone, or too much for its share of requests."""

import asyncio

import pytest

from producers import changes as changes_module
from producers.history import Position
from producers.source import History, Page, Unavailable
from schema.stellar import Cursor, Ledger, cursor_after_ledger
from tests.unit.producers.effect_pages import (
    BEGIN,
    STRANGER,
    Pages,
    changes_of,
    debit,
    followed,
    is_true,
    read_all,
    state,
)
from tests.unit.producers.records import ALICE, BOB, LEDGER, payment
from tests.waiting import until


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
    await changes.check(History(passphrase="", elder=Ledger(2), latest=Ledger(LEDGER + 100)))
    assert wallets.due(drained=True) == []

    async def too_late(cursor: Cursor) -> Page:
        await changes.check(history)
        return Page(records=[debit(LEDGER)], cursor=cursor, full=False)

    source.changes = too_late  # type: ignore[method-assign]
    assert await changes._next_page() is None
    assert changes.position.ledger == history.latest
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
    await until(lambda: is_true(len(source.asked) == 1), "one page")
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
