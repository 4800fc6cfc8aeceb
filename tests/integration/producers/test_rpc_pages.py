"""Pages of Stellar RPC, against the sandbox's: every operation once and whole, and what one answer proves."""

import asyncio

import pytest

from producers import payments
from producers.source import Page, Unavailable
from sandbox.horizon_instance import Options
from schema.stellar import Cursor, Ledger, cursor_after_ledger
from tests.integration.producers.rpc_place import everything, moves, placed, tell_a_story
from tests.integration.producers.scene import DEADLINE_S, until_true


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 10_000])
async def test_pages_of_any_size_show_every_operation_once_and_whole(limit: int) -> None:
    """Where an answer ends within an operation, the rest of it is fetched before it is shown: the movements are the
    chain's own, whatever the size of the answers.
    """
    async with placed(options=Options(rpc_limit=limit)) as place:
        place.rpc._events_max = limit
        await tell_a_story(place, seed=limit)
        records, pages = await everything(place.rpc, place.beginning)
        ids = [int(record["id"]) for record in records]
        assert ids == sorted(set(ids))
        found: dict[tuple[str, str], int] = {}
        for account_id, operation_id, stroops in moves(records, place.asset):
            key = (account_id, operation_id)
            found[key] = found.get(key, 0) + stroops
        expected: dict[tuple[str, str], int] = {}
        accounts = {address for address in place.chain.state.accounts if address[0] == "G"} - {place.asset.issuer}
        for account_id in accounts:
            for change in place.chain.changes_of(account_id):
                if change.posting.asset == place.asset:
                    key = (account_id, str(change.entry.operation_id))
                    expected[key] = expected.get(key, 0) + int(change.posting.stroops)
        assert any(found.values())
        assert (len(pages) > 1) == (limit < 10_000)
        assert {key: each for key, each in found.items() if each} == {
            key: each for key, each in expected.items() if each
        }
        assert pages[-1].complete == place.chain.latest.sequence
        for page in pages[:-1]:
            last = int(page.cursor or 0) >> 32
            assert page.complete in (last, last - 1)


@pytest.mark.parametrize("seed", range(4))
async def test_both_sources_show_the_same_payments_under_the_same_ids(seed: int) -> None:
    """Operation ids, ledgers, times, hashes, amounts and counterparties of what an account paid another are Horizon's;
    and a cursor of the one is a place in the other.
    """
    async with placed(seed=seed) as place:
        await tell_a_story(place, seed=seed)
        by_horizon = {}
        cursor = place.beginning
        while records := (await place.horizon.payments(cursor)).records:
            for record in records:
                cursor = Cursor(record["paging_token"])  # type: ignore[index]
                for account_id, movement in payments.movements(record, place.asset):
                    by_horizon[account_id, movement.operation_id, movement.amount_stroops] = movement, record
        by_rpc = {}
        for record in (await everything(place.rpc, place.beginning))[0]:
            for account_id, movement in payments.movements(record, place.asset):
                by_rpc[account_id, movement.operation_id, movement.amount_stroops] = movement, record
        incoming = [key for key in by_horizon if key[2] > 0]
        assert incoming
        for key in incoming:
            (theirs, their_record), (ours, our_record) = by_horizon[key], by_rpc[key]
            assert (ours.transaction_hash, ours.ledger, ours.counterparty) == (
                theirs.transaction_hash,
                theirs.ledger,
                theirs.counterparty,
            )
            assert payments.closed_at(our_record) == payments.closed_at(their_record)
        middle = Cursor(sorted(key[1] for key in incoming)[len(incoming) // 2])
        after = moves((await everything(place.rpc, middle))[0], place.asset)
        assert {each[1] for each in after if each[2] > 0} >= {key[1] for key in incoming if int(key[1]) > int(middle)}
        assert after
        assert all(int(each[1]) > int(middle) for each in after)


async def test_a_quiet_asset_is_known_to_be_quiet() -> None:
    """An empty answer proves the ledgers it looked through; the cursor goes on with them."""
    async with placed() as place:
        place.pay()
        first = place.close()
        page = await place.rpc.payments(place.beginning)
        assert (len(page.records), page.complete) == (1, first)
        latest = place.close(5)
        assert page.cursor is not None
        page = await place.rpc.payments(page.cursor)
        assert (page.records, page.full, page.complete) == ([], False, latest)
        assert page.cursor == cursor_after_ledger(latest)


async def test_a_long_history_is_looked_through_in_its_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """RPC looks through so many ledgers at a time: where one answer shows nothing the next is asked for."""
    monkeypatch.setattr("sandbox.rpc.SCAN_LEDGERS_MAX", 7)
    async with placed() as place:
        begin = place.beginning
        place.close(30)
        place.pay()
        paid = place.close()
        latest = place.close(20)
        page = await place.rpc.payments(begin)
        assert [payments.operation_of(record)[1] for record in page.records] == [paid]
        assert page.full
        assert page.cursor is not None
        page = await place.rpc.payments(page.cursor)
        assert (page.records, page.full, page.complete) == ([], False, latest)
        account = await place.rpc.account_payments(place.wallet(), begin)
        assert account is not None
        assert len(account.records) == 1


async def test_a_replica_that_is_behind_proves_no_more_than_it_has() -> None:
    """Its page ends where it ends; where it lacks the ledger that comes next it proves nothing, and no cursor moves."""
    async with placed() as place:
        place.pay()
        place.close()
        await place.rpc.history()
        place.pay()
        latest = place.close()
        place.fault("getEvents", lag_ledgers=1)
        page = await place.rpc.payments(place.beginning)
        assert (len(page.records), page.complete, page.full) == (1, latest - 1, False)
        await place.rpc.history()
        place.fault("getEvents", lag_ledgers=1)
        assert await place.rpc.payments(cursor_after_ledger(Ledger(latest - 1))) == Page(
            records=[], cursor=None, full=False
        )
        place.fault("getEvents", lag_ledgers=1)
        assert await place.rpc.ledger_payments(latest, None) is None
        found = await place.rpc.ledger_payments(latest, None)
        assert found is not None
        assert len(found.records) == 1
        place.fault("getEvents", lag_ledgers=1)
        with pytest.raises(Unavailable, match="not there yet"):
            await place.rpc.account_payments(place.wallet(), cursor_after_ledger(Ledger(latest - 1)))
        place.fault("getLedgerEntries", lag_ledgers=1)
        state = await place.rpc.state(place.wallet(), place.asset)
        assert state.observed == latest - 1


async def test_one_ledgers_payments_are_its_own() -> None:
    """Also in portions; and of a ledger that is not there, or no longer, nothing is said."""
    async with placed(options=Options(rpc_limit=2)) as place:
        place.rpc._events_max = 2
        for _ in range(5):
            place.pay()
        ledger = place.close()
        place.pay()
        place.close()
        found: list[object] = []
        cursor = None
        while True:
            page = await place.rpc.ledger_payments(ledger, cursor)
            assert page is not None
            found += page.records
            if not page.full:
                break
            cursor = page.cursor
        assert [payments.operation_of(record)[1] for record in found] == [ledger] * 5
        assert await place.rpc.ledger_payments(Ledger(place.chain.latest.sequence + 1), None) is None
        place.chain.history.trim(before_ledger=ledger + 1)
        assert await place.rpc.ledger_payments(ledger, None) is None


async def test_what_rpc_has_forgotten_is_said() -> None:
    """A cursor before its oldest ledger: the page is refused, an account's history is unknown, not shorter."""
    async with placed() as place:
        place.pay()
        place.close(3)
        latest = place.close()
        begin = place.beginning
        place.chain.history.trim(before_ledger=latest)
        with pytest.raises(Unavailable, match="forgotten"):
            await place.rpc.payments(begin)
        assert await place.rpc.account_payments(place.wallet(), begin) is None
        assert (await place.rpc.history()).elder == latest
        page = await place.rpc.payments(
            cursor_after_ledger(Ledger(latest - 1))
        )  # its first ledger comes next: all there
        assert page.complete == latest


async def test_close_times_are_horizons() -> None:
    """Of every ledger there is; one that is not there yet is asked for again later."""
    async with placed() as place:
        place.pay()
        place.close()
        latest = place.close(3)
        for ledger in range(latest - 4, latest + 1):
            assert await place.rpc.closed_at(Ledger(ledger)) == await place.horizon.closed_at(Ledger(ledger))
        with pytest.raises(Unavailable):
            await place.rpc.closed_at(Ledger(latest + 1))


async def test_a_wait_ends_with_the_next_event_and_not_before() -> None:
    """Ledgers without one of ours do not end it."""
    async with placed() as place:
        cursor = cursor_after_ledger(place.close())
        waiting = asyncio.create_task(place.rpc.payment_after(cursor))
        latest = place.close(2)
        await until_true(lambda: place.rpc._http.newest == latest, what="it has looked")
        assert not waiting.done()
        place.pay()
        place.close()
        async with asyncio.timeout(DEADLINE_S):
            assert await waiting
