"""Reading very many wallets beside the stream's cycles: after a first start, a gap, or a large import.

The source chooses the cheapest way (pages of holders, many keys a call). What it gives waits, bounded, until a cycle
takes it; a cycle drains the payments first, so that nobody who is paid waits for a census.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

import structlog

from producers.reader import Sighting
from producers.source import Source, State, Unavailable
from producers.waking import AGAIN_S, pause
from producers.wallets import Wallets
from schema.stellar import AccountId, Asset

log = structlog.get_logger(__name__)

SINGLY_MAX: Final = 1_000  # so many are read one by one, in the cycles
PORTION: Final = 500  # of one cycle: each drains the payments, which costs a request, and pages of holders have 200
BESIDE_OTHERS: Final = 100  # of a cycle that reads wallets which were paid: they are told with all that it tells
WAITING_MAX: Final = 2 * PORTION
NEIGHBOURS: Final = 5_000  # wallets that are read by one plan: some 20 ms of the loop
BEGINNING_CHARACTERS: Final = 4  # of an address: 4,096 of them, some 250 wallets of a million each


class Census:
    """Reads what is unread while there is very much of it. Otherwise the cycles do, one by one."""

    def __init__(
        self, source: Source, wallets: Wallets, *, asset: Asset, clock: Callable[[], datetime], wake: asyncio.Event
    ) -> None:
        self.is_at_work = False
        self._source = source
        self._wallets = wallets
        self._asset = asset
        self._clock = clock
        self._wake = wake
        self._asked = asyncio.Event()
        self._found: asyncio.Queue[Sighting] = asyncio.Queue(WAITING_MAX)
        self._taken = 0

    def look(self) -> None:
        """Begin when there is enough to do."""
        if not self.is_at_work and len(self._wallets.unread) > SINGLY_MAX:
            self.is_at_work = True
            self._asked.set()

    @property
    def is_full(self) -> bool:
        """Whether there is a portion for the next cycle. Less than that waits: cycles that drain for every page would
        cost more requests than the pages do.
        """
        return self._found.qsize() >= PORTION

    def take(self, *, beside_others: bool = False) -> list[Sighting]:
        """What was read, a portion at most. Call `taken` when it is dealt with; not called, it stays unread."""
        self.taken()
        portion = BESIDE_OTHERS if beside_others else PORTION
        found = [self._found.get_nowait() for _ in range(min(portion, self._found.qsize()))]
        self._taken += len(found)
        return found

    def taken(self) -> None:
        """What `take` gave is dealt with."""
        for _ in range(self._taken):
            self._found.task_done()
        self._taken = 0

    async def run(self) -> None:
        """Work whenever asked to, for ever."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            log.info("reading every wallet", wallets=len(self._wallets.unread))
            await self._work()
            log.info("every wallet is read, the rest one by one", wallets=len(self._wallets.unread))
            self.is_at_work = False
            self._wake.set()

    async def _work(self) -> None:
        """Pass after pass until there is little left, or only what makes no sense: that is left out of each pass."""
        again_s = AGAIN_S
        while (before := len(self._wallets.unread)) > SINGLY_MAX:
            try:
                await self._pass()
            except Unavailable as error:
                log.warning("reading every wallet is interrupted", reason=str(error)[:300], wallets=before)
                again_s = await pause(again_s)
                continue
            await self._found.join()
            if len(self._wallets.unread) == before:
                return
            again_s = AGAIN_S

    async def _pass(self) -> None:
        drain = self._wallets.drain
        try:
            for account_ids in await self._neighbours():
                async for state in self._source.states(account_ids, self._asset):
                    await self._take_in(state, drain)
        finally:
            self._wake.set()  # what waits is less than a portion

    async def _neighbours(self) -> list[list[AccountId]]:
        """All that is unread, those together that are near each other by address: they are on one page of holders. Not
        a million at once, for how such a group is read is planned in one go.
        """
        by_beginning: dict[str, list[AccountId]] = {}
        for number, account_id in enumerate(self._wallets.unread.account_ids(), 1):
            by_beginning.setdefault(account_id[:BEGINNING_CHARACTERS], []).append(account_id)
            if number % NEIGHBOURS == 0:
                await asyncio.sleep(0)
        groups: list[list[AccountId]] = [[]]
        for beginning in sorted(by_beginning):
            if len(groups[-1]) >= NEIGHBOURS:
                groups.append([])
            groups[-1] += by_beginning[beginning]
        return groups

    async def _take_in(self, state: State, drain: int) -> None:
        found = self._wallets.unread.find(state.account_id)
        if found is None or state.account_id in self._wallets.touched:
            return  # read by somebody else meanwhile, or about to be: who was paid is not told as if on a schedule
        at_least, first_sight = found
        if state.observed < at_least:
            raise Unavailable(f"a state of ledger {state.observed}, and {at_least} was read before")
        touch = replace(self._wallets.unread_touch(at_least, first_sight=first_sight), taken_in=drain)
        sighting = Sighting(account_id=state.account_id, touch=touch, read_at=self._clock(), state=state)
        await self._found.put(sighting)
        if self.is_full:
            self._wake.set()
