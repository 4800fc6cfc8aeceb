"""Stellar RPC as a source, against the sandbox's: pages, places, states, replicas that are behind, every trouble."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from producers import payments
from producers.budget import Budget
from producers.horizon import Horizon
from producers.horizon_http import open_session
from producers.rpc.source import Rpc
from producers.source import Fatal, Page, Source, Unavailable
from sandbox import world
from sandbox.chain import Chain
from sandbox.chain_operations import CrossOffer, Operation, PathPayment
from sandbox.horizon import Horizon as Server
from sandbox.horizon_faults import Fault
from sandbox.horizon_instance import Options
from sandbox.traffic import Mix, actions
from sandbox.world import Cast
from schema.service.readiness import Readiness
from schema.stellar import AccountId, Asset, Cursor, Ledger, Malformed, Network, Stroops, cursor_after_ledger
from tests.integration.producers.scene import until_true

UNIT = 10_000_000
WALLETS = 6
NOTHING_LISTENS = "http://127.0.0.1:1/rpc"


@dataclass(kw_only=True)
class Place:
    """A chain, and both ways to read it."""

    server: Server
    rpc: Rpc
    horizon: Horizon
    readiness: Readiness

    @property
    def chain(self) -> Chain:
        return self.server.chain

    @property
    def people(self) -> Cast:
        return self.server.people

    @property
    def asset(self) -> Asset:
        return self.people.asset

    def wallet(self, number: int = 0) -> AccountId:
        return self.people.wallets[number].account_id

    def pay(self, wallet: int = 0, stroops: int = UNIT) -> None:
        world.pay(self.chain, self.people, self.wallet(wallet), stroops)

    def close(self, times: int = 1) -> Ledger:
        for _ in range(times):
            header = self.server.close_ledger()
        return Ledger(header.sequence)

    def fault(self, method: str, **fields: Any) -> None:
        """Trouble for a method of RPC."""
        self.server.faults.add(Fault(path_prefix=f"/rpc/{method}", method="POST", **fields))

    @property
    def beginning(self) -> Cursor:
        return cursor_after_ledger(Ledger(self.chain.history.elder_ledger))


@asynccontextmanager
async def placed(*, url: str = "", options: Options | None = None, seed: int = 3) -> AsyncIterator[Place]:
    chain, people = world.build(
        seed=seed, wallets=WALLETS, started_at=datetime.now(UTC), wallet_stroops=Stroops(100 * UNIT)
    )
    readiness = Readiness()
    async with Server(chain, people, options=options or Options()) as server, open_session() as session:
        rpc = Rpc(
            session,
            url or f"{server.url}/rpc",
            network=Network.TESTNET,
            asset=people.asset,
            budget=Budget(0),
            readiness=readiness,
            poll_s=0.02,
        )
        horizon = Horizon(session, server.url, budget=Budget(0), readiness=readiness)
        yield Place(server=server, rpc=rpc, horizon=horizon, readiness=readiness)


async def everything(source: Source, cursor: Cursor) -> tuple[list[Any], list[Page]]:
    """Page after page, to the end."""
    records: list[Any] = []
    pages = []
    while True:
        page = await source.payments(cursor)
        records += page.records
        pages.append(page)
        if not page.full:
            return records, pages
        assert page.cursor is not None
        cursor = page.cursor


def moves(records: Sequence[object], asset: Asset) -> list[tuple[str, str, int]]:
    """Wallet, operation and stroops of every movement, in order."""
    return [
        (account_id, movement.operation_id, int(movement.amount_stroops))
        for record in records
        for account_id, movement in payments.movements(record, asset)
    ]


async def tell_a_story(place: Place, *, seed: int, ledgers: int = 8) -> None:
    """Every kind of change, in ledgers of differing size."""
    rng = random.Random(seed)  # noqa: S311 - a story
    story = actions(place.people, seed=seed, mix=Mix(crossed=10, path=20, contract=20))
    for _ in range(ledgers):
        for _ in range(rng.randint(0, 12)):
            action = next(story)
            place.chain.enqueue(*action.operations, source=action.source)
        place.close()


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


async def test_states_are_horizons_states() -> None:
    """Balances, versions, authorizations and absences of everyone, one by one, all at once, and in portions."""
    async with placed() as place:
        await tell_a_story(place, seed=9)
        accounts = [AccountId(each) for each in place.chain.state.accounts if each[0] == "G"]
        theirs = {each: await place.horizon.state(each, place.asset) for each in accounts}
        assert await asyncio.gather(*(place.rpc.state(each, place.asset) for each in accounts)) == list(theirs.values())
        many = accounts * 10
        found = [state async for state in place.rpc.states(many, place.asset)]
        assert {state.account_id: state for state in found} == theirs
        assert len(found) == len(accounts)
        assert await place.rpc.states_requests(401, place.asset) == 3


async def test_reads_at_the_same_time_are_few_calls() -> None:
    """Two hundred wallets are one call, one more is another; a wallet alone does not wait for others."""
    async with placed() as place:
        calls: list[int] = []
        ask = place.rpc._http.call

        async def counted(method: str, parameters: Any = None) -> dict[str, Any]:
            calls.append(len(parameters["keys"]))
            return await ask(method, parameters)

        place.rpc._http.call = counted  # type: ignore[method-assign]
        people = world.cast(seed=1, wallets=201)
        await asyncio.gather(*(place.rpc.state(each.account_id, place.asset) for each in people.wallets))
        assert sorted(calls) == [1, 200]
        calls.clear()
        began = asyncio.get_running_loop().time()
        await place.rpc.state(place.wallet(), place.asset)
        assert calls == [1]
        assert asyncio.get_running_loop().time() - began < 1


async def test_a_call_that_hangs_does_not_hold_up_the_next() -> None:
    """While one portion hangs another is read; whoever stops waiting harms nobody."""
    async with placed() as place:
        place.fault("getLedgerEntries", delay_s=60)
        hanging = asyncio.create_task(place.rpc.state(place.wallet(0), place.asset))
        other = asyncio.create_task(place.rpc.state(place.wallet(1), place.asset))
        gathered = place.rpc._states
        await until_true(lambda: gathered._calling and not gathered._waiting, what="both are sent")
        assert (await place.rpc.state(place.wallet(2), place.asset)).balance_stroops == 100 * UNIT
        hanging.cancel()
        other.cancel()
        await asyncio.gather(hanging, other, return_exceptions=True)
        assert (await place.rpc.state(place.wallet(0), place.asset)).balance_stroops == 100 * UNIT


async def test_one_wallets_nonsense_is_not_the_others() -> None:
    """Read in the same call, the others are read; the one is Malformed, and left out of many."""
    async with placed() as place:
        ask = place.rpc._http.call

        async def bent(method: str, parameters: Any = None) -> dict[str, Any]:
            answer = await ask(method, parameters)
            answer["entries"][0]["xdr"] = "AAAA"
            return answer

        place.rpc._http.call = bent  # type: ignore[method-assign]
        first, second = await asyncio.gather(
            *(place.rpc.state(place.wallet(each), place.asset) for each in range(2)), return_exceptions=True
        )
        assert isinstance(first, Malformed)
        assert not isinstance(second, BaseException)
        found = [state.account_id async for state in place.rpc.states([place.wallet(0), place.wallet(1)], place.asset)]
        assert found == [place.wallet(1)]


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


async def test_what_was_traded_has_no_source() -> None:
    """A wallet's offer that somebody crossed: something came in, and nobody paid; what a path payment brings in the end
    is paid by its sender, even when the receiver's own offer was crossed on the way.
    """
    async with placed() as place:
        payer, market = place.people.payers[0].account_id, place.people.market.account_id

        def path(maker: AccountId) -> Operation:
            return PathPayment(
                source=payer,
                to=place.wallet(1),
                strict_send=True,
                sent=place.asset,
                sent_stroops=Stroops(5),
                received=place.asset,
                received_stroops=Stroops(7),
                maker=maker,
            )

        place.chain.enqueue(
            CrossOffer(
                source=market,
                maker=place.wallet(0),
                sold=place.asset,
                sold_stroops=Stroops(11),
                bought=None,
                bought_stroops=Stroops(3),
            )
        )
        place.chain.enqueue(path(market))
        place.chain.enqueue(path(place.wallet(1)))
        place.pay(0, 13)
        place.close()
        records, _ = await everything(place.rpc, place.beginning)
        sourced: dict[int, list[tuple[int, str | None]]] = {}
        for wallet in (0, 1):
            account_id = place.wallet(wallet)
            mine = [
                movement
                for record in records
                for owner, movement in payments.movements(record, place.asset)
                if owner == account_id
            ]
            kept = await place.rpc.sourced(account_id, mine)
            assert kept is not None
            sourced[wallet] = [
                (int(each.amount_stroops), each.counterparty) for each in kept if each.amount_stroops > 0
            ]
        assert sourced == {0: [(13, payer)], 1: [(7, payer), (7, payer)]}


async def test_a_transaction_that_is_not_shown_is_asked_for_again_or_given_up() -> None:
    """On a replica that is behind it is not there yet; once RPC has forgotten it the sources are unknown."""
    async with placed() as place:
        place.pay()
        latest = place.close()
        [record] = (await everything(place.rpc, place.beginning))[0]
        mine = [movement for owner, movement in payments.movements(record, place.asset) if owner == place.wallet()]
        place.fault("getTransaction", lag_ledgers=1, times=1)
        with pytest.raises(Unavailable, match="not there yet"):
            await place.rpc.sourced(place.wallet(), mine)
        place.close()
        place.chain.history.trim(before_ledger=latest + 1)
        assert await place.rpc.sourced(place.wallet(), mine) is None


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
        assert await asyncio.wait_for(waiting, 10)


@pytest.mark.parametrize(
    "fields",
    [
        {"status": 500, "body": b"upstream is gone"},
        {"status": 503},
        {"status": 429, "headers": {"Retry-After": "0"}},
        {"status": 401, "body": b'{"jsonrpc":"2.0","error":{"code":-32000,"message":"no such key"}}'},
        {"status": 200, "body": b""},
        {"status": 200, "body": b"<html>"},
        {"status": 200, "body": b"[]"},
        {"status": 200, "body": b'{"jsonrpc":"2.0","id":0,"result":{}}'},
        {"status": 200, "body": b'{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"busy"}}'},
        {"status": 200, "body": b"[" * 100_000},
        {"cut_after_bytes": 20},
        {"cut_after_bytes": 0},
        {"cut_after_bytes": 100, "chunked": True},
    ],
)
async def test_every_trouble_passes(fields: dict[str, Any]) -> None:
    """The next attempt is answered, and the page is whole. The readiness page is clean."""
    async with placed() as place:
        place.pay()
        place.close()
        await place.rpc.history()
        for method in ("getEvents", "getLedgerEntries"):
            place.fault(method, **fields)
        assert len((await place.rpc.payments(place.beginning)).records) == 1
        assert (await place.rpc.state(place.wallet(), place.asset)).balance_stroops == 101 * UNIT
        assert place.readiness.reasons() == {}


async def test_trouble_that_stays_is_said_without_the_address() -> None:
    """After a few attempts it is Unavailable, and on the readiness page; the address, which may carry a key, is not."""
    async with placed(url=NOTHING_LISTENS) as place:
        with pytest.raises(Unavailable) as told:
            await place.rpc.history()
        said = place.readiness.reasons()["rpc"]
        assert NOTHING_LISTENS not in said + str(told.value)
        assert said.startswith("get")


async def test_a_provider_with_a_lower_limit_is_asked_for_less() -> None:
    """It says what it allows; the next page asks for that."""
    async with placed(options=Options(rpc_limit=3)) as place:
        for _ in range(7):
            place.pay()
        place.close()
        with pytest.raises(Unavailable, match="limit must not exceed 3"):
            await place.rpc.payments(place.beginning)
        assert len((await everything(place.rpc, place.beginning))[0]) == 7


async def test_another_service_is_not_taken_for_rpc() -> None:
    """A Horizon's address in RPC_URL says so at the first question."""
    async with placed() as place:
        wrong = Rpc(
            place.rpc._http._session,
            f"{place.server.url}/",
            network=Network.TESTNET,
            asset=place.asset,
            budget=Budget(0),
            readiness=Readiness(),
        )
        with pytest.raises(Unavailable):
            await wrong.history()


async def test_an_rpc_that_does_not_tell_of_classic_operations_is_refused() -> None:
    """Its core must be told to: without that it would show contract calls and no payment, and nobody would notice. As
    long as nothing happens that cannot be told.
    """
    async with placed(options=Options(rpc_classic_events=False)) as place:
        await place.rpc.history()
        place.pay()
        place.close()
        with pytest.raises(Fatal, match="EMIT_CLASSIC_EVENTS"):
            await place.rpc.history()
    async with placed() as place:
        place.pay()
        place.close()
        await place.rpc.history()


async def test_a_ledger_of_another_network_is_not_believed() -> None:
    """A replica a million ledgers ahead is another network's: nothing of it is used."""
    async with placed() as place:
        await place.rpc.history()
        place.rpc._http.newest = Ledger(1_000)
        with pytest.raises(Unavailable, match="another network"):
            await place.rpc.state(place.wallet(), place.asset)
