"""Horizon as a source: what is asked of it, and what its answers mean. How it is asked is in horizon_http.py."""

import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

import aiohttp

from producers import effects, horizon_wire, payments
from producers.budget import Budget
from producers.horizon_holders import HorizonHolders
from producers.horizon_http import SILENCE_S_MAX, HorizonHttp, Parsed
from producers.source import PAGE_RECORDS_MAX, History, Page, State, Unavailable, making_sense
from schema.balance_event import Movement
from schema.service.readiness import Readiness
from schema.stellar import AccountId, Asset, Cursor, Ledger, Malformed

CLOSE_TIMES_MAX: Final = 1_000


class Horizon:
    """A Source. Remembers when the newest ledgers closed, and which is the newest of all."""

    payments_show_every_change = False

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        budget: Budget,
        readiness: Readiness,
        silence_s_max: float = SILENCE_S_MAX,
    ) -> None:
        self._http = HorizonHttp(session, url, budget=budget, readiness=readiness, silence_s_max=silence_s_max)
        self._holders = HorizonHolders(self._http, partial(self.state, in_bulk=True))
        self._closed: dict[Ledger, datetime] = {}
        self._passphrase = ""  # of the network that was asked first

    async def history(self) -> History:
        answer = await self._http.get("/")
        with making_sense(f"{self._http.url} does not answer as a Horizon does"):
            history = horizon_wire.history(answer.body)
        self._passphrase = self._passphrase or history.passphrase
        if history.passphrase == self._passphrase:
            self._http.newest = max(self._http.newest, history.latest)
        return history

    async def payments(self, cursor: Cursor) -> Page:
        page = _page("/payments", await self._http.get("/payments", _next(cursor)))
        ledgers = [ledger for record in page.records if (ledger := self._remember_close(record)) is not None]
        await self._check_newest("/payments", ledgers)
        return page

    async def ledger_payments(self, ledger: Ledger, cursor: Cursor | None) -> Page | None:
        path = f"/ledgers/{ledger}/payments"
        answer = await self._http.get(path, _next(cursor))
        return None if answer.body is None else _page(path, answer)

    async def account_payments(self, account_id: AccountId, cursor: Cursor) -> Page | None:
        path = f"/accounts/{account_id}/payments"
        answer = await self._http.get(path, _next(cursor))
        return None if answer.body is None else _page(path, answer)

    async def sourced(self, account_id: AccountId, movements: Sequence[Movement]) -> Sequence[Movement] | None:
        del account_id
        return movements

    async def state(self, account_id: AccountId, asset: Asset, *, in_bulk: bool = False) -> State:
        path = f"/accounts/{account_id}"
        answer = await self._http.get(path, is_state=True, in_bulk=in_bulk)
        observed = answer.observed
        assert observed is not None
        if answer.body is None:
            return horizon_wire.absence(account_id, observed)
        state = horizon_wire.state(answer.body, account_id, asset, observed)
        if state.version > state.observed:
            raise Unavailable(f"{path}: modified in ledger {state.version}, yet read in {state.observed}")
        return state

    async def closed_at(self, ledger: Ledger) -> datetime:
        if ledger not in self._closed:
            path = f"/ledgers/{ledger}"
            answer = await self._http.get(path, must_be_there=True)
            with making_sense(path):
                self._keep_close(ledger, horizon_wire.closed_at(answer.body))
        return self._closed[ledger]

    async def payment_after(self, cursor: Cursor) -> bool:
        return await self._http.record_after("/payments", cursor, part="stream")

    async def changes(self, cursor: Cursor) -> Page:
        page = _page("/effects", await self._http.get("/effects", _next(cursor)))
        ledgers: list[Ledger] = []
        for record in page.records:
            with contextlib.suppress(Malformed):  # the stream refuses the record, with a reason
                ledgers.append(effects.place_of(record)[1])
        await self._check_newest("/effects", ledgers)
        return page

    async def change_after(self, cursor: Cursor) -> bool:
        return await self._http.record_after("/effects", cursor, part="changes_stream")

    def states(
        self, account_ids: Collection[AccountId], asset: Asset, *, known_absent: Collection[AccountId] = ()
    ) -> AsyncIterator[State]:
        return self._holders.states(account_ids, asset, known_absent)

    async def states_requests(self, accounts: int, asset: Asset) -> int:
        return await self._holders.requests(accounts, asset)

    async def _check_newest(self, path: str, ledgers: Sequence[Ledger]) -> None:
        """Unavailable when these cannot be ledgers of the network that was asked so far."""
        if ledgers:
            if self._http.is_far_beyond(max(ledgers)):  # or we have not looked for very long
                with contextlib.suppress(Unavailable):
                    await self.history()
            self._http.check_newest(path, max(ledgers))

    def _remember_close(self, record: object) -> Ledger | None:
        """A record's created_at is its ledger's close time, and saves asking for it. Its ledger, where it says one."""
        ledger = None
        try:
            ledger = payments.operation_of(record)[1]
            if ledger not in self._closed:
                self._keep_close(ledger, payments.closed_at(record))
        except Malformed:
            pass  # the stream refuses the record, with a reason
        return ledger

    def _keep_close(self, ledger: Ledger, closed_at: datetime) -> None:
        self._closed[ledger] = closed_at
        if len(self._closed) > CLOSE_TIMES_MAX:
            del self._closed[next(iter(self._closed))]


def _next(cursor: Cursor | None) -> Mapping[str, str]:
    limits = {"order": "asc", "limit": str(PAGE_RECORDS_MAX)}
    return limits if cursor is None else {"cursor": cursor, **limits}


def _page(path: str, answer: Parsed) -> Page:
    with making_sense(path):
        return horizon_wire.page(answer.body)
