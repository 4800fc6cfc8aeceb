"""Stellar RPC as a source: what is asked of it, and what its answers mean. How it is asked is in http.py.

The payments are the events of the asset's own contract, which tell of every change of a trustline's balance, whatever
caused it (`events.py`): there are no other changes to look for. An answer says which ledgers RPC has, so each one
proves how far it looked, an empty one too. RPC looks through 10,000 ledgers at a time and remembers some days; it has
no way to wait for an event, so the newest ledgers are asked for about once a second.

Events say what moved between whom, not why. For a payment they are all there is to know; of a trade the other side is
no source of money. So what moved between accounts is looked up, once a wallet that is followed was touched by it:
`sourced` asks for its transaction, and tells what Horizon's payments would.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import aiohttp
import structlog

from producers.budget import Budget
from producers.clock import now_s
from producers.rpc import events as rpc_events
from producers.rpc import places as rpc_places
from producers.rpc import wire as rpc_wire
from producers.rpc import xdr as rpc_xdr
from producers.rpc.http import RpcHttp
from producers.rpc.states import CALLS_AT_ONCE, KEYS_MAX, RpcStates
from producers.rpc.transactions import RpcTransactions
from producers.rpc.wire import Event, Events, Refused
from producers.source import Fatal, History, Page, State, Unavailable, making_sense
from schema.balance_event import Movement
from schema.service.readiness import Readiness
from schema.stellar import AccountId, Asset, Cursor, Ledger, Malformed, Network, cursor_after_ledger

log = structlog.get_logger(__name__)

EVENTS_MAX: Final = 1_000  # of one answer; RPC's own limit is 10,000, a provider may have a lower one
ANSWERS_MAX: Final = 200  # of one page: the longest history, or the largest operation, takes fewer
CLOSE_TIMES_MAX: Final = 1_000
FEES_LEDGERS: Final = 50  # some five minutes
POLL_S: Final = 1.0  # a ledger takes five: seen half a second late, for one call a second
WAIT_S: Final = 55.0  # as long as a stream of Horizon's lasts

Topics = list[list[str]]


class Rpc:
    """A Source, for one asset of one network."""

    payments_show_every_change = True

    def __init__(  # noqa: PLR0913 - what a source is made of
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        network: Network,
        asset: Asset,
        budget: Budget,
        readiness: Readiness,
        poll_s: float = POLL_S,
    ) -> None:
        self._http = RpcHttp(session, url, budget=budget, readiness=readiness)
        self._states = RpcStates(self._read_states)
        self._transactions = RpcTransactions(self._http)
        self._asset = asset
        self._contract = rpc_xdr.contract_of(asset, network)
        self._native_contract = rpc_xdr.native_contract(network)
        self._poll_s = poll_s
        self._events_max = EVENTS_MAX
        self._closed: dict[Ledger, datetime] = {}

    async def history(self) -> History:
        passphrase, health = await asyncio.gather(self._http.call("getNetwork"), self._http.call("getHealth"))
        with making_sense("RPC_URL does not answer as a Stellar RPC does"):
            elder, latest = rpc_wire.ledger_range(health)
            history = History(
                passphrase=rpc_wire.passphrase(passphrase), elder=elder, latest=latest, asked_at="RPC_URL"
            )
        self._http.newest = max(self._http.newest, latest)
        await self._check_classic_events(history)
        return history

    async def _check_classic_events(self, history: History) -> None:
        """Every transaction has a fee, and an event of it, where the core behind RPC tells of classic operations. One
        that does not would hide every ordinary payment.
        """
        start = max(history.elder, history.latest - FEES_LEDGERS + 1)
        if await self._fees({"startLedger": start}):
            return
        asked = {"startLedger": start, "pagination": {"limit": 1}}
        with making_sense("getTransactions"):
            ledger = rpc_wire.first_transaction(await self._http.call("getTransactions", asked))
        if ledger is None or await self._fees({"startLedger": ledger, "endLedger": ledger + 1}):
            return
        raise Fatal(
            f"RPC_URL shows a transaction in ledger {ledger} and no event of its fee: the stellar-core behind it does "
            "not tell of classic operations, and payments would not be seen. Set EMIT_CLASSIC_EVENTS=true there, use "
            "another RPC, or set BALANCE_SOURCE=horizon"
        )

    async def _fees(self, asked: Mapping[str, Any]) -> bool:
        """Whether there are any events of fees."""
        fees = {"contractIds": [self._native_contract], "topics": [[rpc_xdr.symbol("fee"), "**"]]}
        answer = await self._http.call("getEvents", {**asked, "filters": [fees], "pagination": {"limit": 1}})
        with making_sense("getEvents"):
            return bool(rpc_wire.entries(answer, "events"))

    async def payments(self, cursor: Cursor) -> Page:
        try:
            return await self._page(cursor, rpc_events.topics())
        except _Outside as outside:
            if outside.is_too_old:  # the stream looks at the history by itself, and says what to do
                raise Unavailable(f"getEvents: RPC has forgotten what comes behind {cursor}") from outside
            return Page(records=[], cursor=None, full=False)  # a replica that is behind

    async def ledger_payments(self, ledger: Ledger, cursor: Cursor | None) -> Page | None:
        begin = cursor or cursor_after_ledger(Ledger(ledger - 1))
        try:
            page = await self._page(begin, rpc_events.topics(), up_to=ledger)
        except _Outside:
            return None
        return page if page.full or page.complete == ledger else None

    async def account_payments(self, account_id: AccountId, cursor: Cursor) -> Page | None:
        try:
            return await self._page(cursor, rpc_events.topics_of(account_id))
        except _Outside as outside:
            if outside.is_too_old:
                return None
            raise Unavailable(f"getEvents: what comes behind {cursor} is not there yet") from outside

    async def sourced(self, account_id: AccountId, movements: Sequence[Movement]) -> Sequence[Movement] | None:
        return await self._transactions.sourced(account_id, movements, self._asset)

    async def state(self, account_id: AccountId, asset: Asset, *, in_bulk: bool = False) -> State:
        del in_bulk  # one call reads very many
        return await self._states.read(account_id, asset)

    async def states(
        self, account_ids: Collection[AccountId], asset: Asset, *, known_absent: Collection[AccountId] = ()
    ) -> AsyncIterator[State]:
        del known_absent  # an absence costs no more than a state
        wanted = list(dict.fromkeys(account_ids))
        portions = [wanted[start : start + KEYS_MAX] for start in range(0, len(wanted), KEYS_MAX)]
        for start in range(0, len(portions), CALLS_AT_ONCE):
            calls = [self._read_states(each, asset) for each in portions[start : start + CALLS_AT_ONCE]]
            for found in await asyncio.gather(*calls):
                for account_id, state in found.items():
                    if isinstance(state, State):
                        yield state
                    else:
                        log.warning("a wallet's state makes no sense", account_id=account_id, reason=str(state)[:300])

    async def states_requests(self, accounts: int, asset: Asset) -> int:
        del asset
        return -(-accounts // KEYS_MAX)

    async def _read_states(
        self, account_ids: Sequence[AccountId], asset: Asset
    ) -> Mapping[AccountId, State | Malformed]:
        keys = [rpc_xdr.trustline_key(account_id, asset) for account_id in account_ids]
        answer = await self._http.call("getLedgerEntries", {"keys": keys})
        with making_sense("getLedgerEntries"):
            found = rpc_wire.states(answer, account_ids, asset)
        for state in found.values():
            if isinstance(state, State):
                self._http.check_newest("getLedgerEntries", state.observed)
                break
        return found

    async def closed_at(self, ledger: Ledger) -> datetime:
        if ledger not in self._closed:
            await self._ask({"startLedger": ledger}, rpc_events.topics(), limit=1)  # it tells of the newest one's, too
        if ledger not in self._closed:
            answer = await self._http.call("getLedgers", {"startLedger": ledger, "pagination": {"limit": 1}})
            with making_sense("getLedgers"):
                self._remember({ledger: rpc_wire.closed_at(answer, ledger)})
        return self._closed[ledger]

    async def payment_after(self, cursor: Cursor) -> bool:
        ends_at_s = now_s() + WAIT_S
        while now_s() < ends_at_s:
            with contextlib.suppress(_Outside):  # a replica that is behind
                found = await self._ask(await self._behind(cursor), rpc_events.topics(), limit=1)
                if found.events:
                    return True
                cursor = cursor_after_ledger(found.scanned)
            await asyncio.sleep(self._poll_s)
        return False

    async def changes(self, cursor: Cursor) -> Page:
        return Page(records=[], cursor=cursor, full=False)

    async def change_after(self, cursor: Cursor) -> bool:
        del cursor
        await asyncio.sleep(WAIT_S)
        return False

    # -- events

    async def _page(self, cursor: Cursor, topics: Topics, *, up_to: Ledger | None = None) -> Page:
        """The records of the operations behind the cursor, each whole, and what the answers prove. The next answer is
        asked for where one shows nothing yet and is not at the end, or ends within its first operation.
        """
        limit, asked = self._events_max, await self._behind(cursor, up_to=up_to)
        found: list[Event] = []
        for _ in range(ANSWERS_MAX):
            answer = await self._ask(asked, topics, limit=limit)
            events = [event for event in answer.events if up_to is None or event.ledger <= up_to]
            found += events
            if len(events) >= limit:
                last = found[-1]
                whole = [event for event in found if event.operation_id != last.operation_id]
                if whole:
                    place = Cursor(str(whole[-1].operation_id))
                    return self._told(whole, cursor=place, full=True, complete=Ledger(last.ledger - 1))
                asked = {"cursor": last.raw["id"]}
                continue
            end = answer.latest if up_to is None else up_to
            scanned = min(answer.scanned, end) if len(events) == len(answer.events) else end
            if found or scanned >= end or up_to is not None:
                place = cursor_after_ledger(scanned)
                return self._told(found, cursor=place, full=up_to is None and scanned < end, complete=scanned)
            asked = await self._behind(cursor_after_ledger(scanned))
        raise Unavailable(f"getEvents: no end behind {cursor} in {ANSWERS_MAX} answers")

    def _told(self, events: Sequence[Event], *, cursor: Cursor, full: bool, complete: Ledger) -> Page:
        return Page(records=rpc_events.records(events, self._asset), cursor=cursor, full=full, complete=complete)

    async def _behind(self, cursor: Cursor, *, up_to: Ledger | None = None) -> dict[str, Any]:
        """How RPC is asked for what comes behind a cursor. What it has must be known before."""
        if not self._http.newest:
            await self.history()
        asked = rpc_places.start_behind(cursor, newest=self._http.newest)
        if up_to is not None and "startLedger" in asked:
            asked["endLedger"] = up_to + 1
        return asked

    async def _ask(self, asked: Mapping[str, Any], topics: Topics, *, limit: int) -> Events:
        """One answer. _Outside when RPC does not have the ledger that it begins with."""
        ledgers = {name: value for name, value in asked.items() if name != "cursor"}
        pagination = {name: value for name, value in asked.items() if name == "cursor"} | {"limit": limit}
        filters = [{"type": "contract", "contractIds": [self._contract], "topics": topics}]
        try:
            answer = await self._http.call("getEvents", {**ledgers, "filters": filters, "pagination": pagination})
        except Refused as refused:
            if refused.limit_max is not None:  # the next page asks for no more than that
                self._events_max = max(1, min(self._events_max, refused.limit_max))
            if refused.ledgers is None:
                raise
            raise _Outside(is_too_old=rpc_places.first_ledger(asked) < refused.ledgers[0]) from refused
        with making_sense("getEvents"):
            events = rpc_wire.events(answer, limit=limit)
        self._http.check_newest("getEvents", events.latest)
        self._remember(events.closed)
        return events

    def _remember(self, closed: Mapping[Ledger, datetime]) -> None:
        self._closed |= closed
        while len(self._closed) > CLOSE_TIMES_MAX:
            del self._closed[next(iter(self._closed))]


class _Outside(Unavailable):
    """RPC does not have the ledger: not any more, or not yet."""

    def __init__(self, *, is_too_old: bool) -> None:
        super().__init__("getEvents: RPC does not have the ledger {}".format("any more" if is_too_old else "yet"))
        self.is_too_old = is_too_old
