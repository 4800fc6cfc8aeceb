"""Keeps the followed wallets in step with the database: by what it says, and by looking in case it does not.

The callbacks only note what is due and wake the stream; the stream's loop takes it in, between its cycles.
"""

import asyncio
from collections.abc import Collection, Iterable
from typing import Final
from uuid import UUID

import structlog

from producers import answers
from producers.answers import Answer
from producers.store import Away, Store
from producers.wallet_reload import WalletReload
from producers.wallets import Wallets
from schema.service.readiness import Readiness
from schema.stellar import AccountId, Malformed, Network, parse_account_id

log = structlog.get_logger(__name__)

REQUESTS_POLL_S: Final = 5.0
GONE: Final = "gone:"
CHANGED_MAX: Final = 10_000  # more wallets by name than this: read them all instead


class WalletFeed:
    """New wallets and read requests, on their way from the database into memory."""

    def __init__(self, store: Store, wallets: Wallets, *, network: Network, refresh_s: float) -> None:
        self.wake = asyncio.Event()
        self._store = store
        self._wallets = wallets
        self._network = network
        self._reload = WalletReload(store, wallets, network=network, refresh_s=refresh_s)
        self._listening = asyncio.Event()
        self._changed: set[UUID] = set()
        self._gone: set[AccountId] = set()
        self._requests_due = True
        self._asked_at = 0.0
        self._answered: dict[UUID, Answer] = {}

    async def listen(self, readiness: Readiness) -> None:
        """Hear what the database says, for ever."""
        await self._store.listen(on_wallet=self._note_wallet, on_request=self._note_request, readiness=readiness)

    async def listening(self) -> None:
        """Return when it is heard: what is read before that could miss a wallet."""
        await self._listening.wait()

    def next_look_s(self) -> float:
        """How long nothing needs to be looked up."""
        now_s = asyncio.get_running_loop().time()
        return min(max(0.0, self._asked_at + REQUESTS_POLL_S - now_s), self._reload.next_look_s())

    async def look(self) -> None:
        """Take in what is due. Away: it stays due."""
        await self._look_for_wallets()
        await self._look_for_requests()

    def answered(self, requests: Iterable[UUID], answer: Answer) -> None:
        """The fact that answers these requests is acked, or refused for good."""
        self._answered.update(dict.fromkeys(requests, answer))

    def refused(self, requests: Iterable[UUID], fault: Malformed) -> None:
        """Nothing can be told for these requests."""
        self.answered(requests, answers.refused(fault))

    async def finish(self) -> None:
        """Mark what was answered as done."""
        if self._answered:
            await self._store.finish_requests(self._answered)
            self._answered.clear()

    async def _look_for_wallets(self) -> None:
        if self._wallets.are_loaded:
            changed, self._changed = self._changed, set()
            gone, self._gone = self._gone, set()
            try:
                await self._take(changed, gone)
            except Away:
                self._changed |= changed
                self._gone |= gone
                raise
        await self._reload.look()

    async def _take(self, changed: Collection[UUID], gone: Collection[AccountId]) -> None:
        """What was said. An address that is gone may have another row by now."""
        if gone:
            there = await self._store.stored(list(gone), self._network)
            self._wallets.forget(account_id for account_id in gone if account_id not in there)
        if changed:
            self._wallets.arrive(await self._store.wallets_by_id(changed, self._network))

    async def _look_for_requests(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if not self._requests_due and now_s - self._asked_at < REQUESTS_POLL_S:
            return
        self._requests_due = False
        try:
            requests = await self._store.open_requests(self._network)
        except Away:
            self._requests_due = True
            raise
        self._asked_at = now_s
        for request in requests:
            if request.id in self._answered:
                continue
            try:
                account_id = parse_account_id(request.account_id)
            except Malformed as malformed:  # no such wallet is ever followed: it would be asked for in vain, for ever
                self.refused([request.id], malformed)
            else:
                self._wallets.request(account_id, request.id, request.snapshot_type)

    def _note_wallet(self, payload: str) -> None:
        """A wallet's id; `gone:` and an address that a row had; or anything else: too many, read them all."""
        try:
            if payload.startswith(GONE):
                self._gone.add(AccountId(payload.removeprefix(GONE)))
            else:
                self._changed.add(UUID(payload))
        except ValueError:
            self._reload.ask()
        if len(self._changed) + len(self._gone) > CHANGED_MAX:
            self._changed.clear()
            self._gone.clear()
            self._reload.ask()
        self._listening.set()
        self.wake.set()

    def _note_request(self) -> None:
        self._requests_due = True
        self.wake.set()
