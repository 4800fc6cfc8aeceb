"""When the stream's next cycle begins: at once, or when a payment, a wallet, a request or a change wakes it."""

import asyncio
import contextlib
from typing import Final

from producers.clock import now_s, wait_about
from producers.history import Reading
from producers.source import Source, Unavailable
from producers.store import Away
from producers.wallet_feed import WalletFeed
from producers.wallets import Wallets

AGAIN_S: Final = 0.25
AGAIN_S_MAX: Final = 5.0
WAIT_S_MIN: Final = 5.0  # a wait that the source ends sooner is not begun again at once
AWAY_S_MAX: Final = 1.0  # for the database: it is ours, and nobody counts the questions


class Waking:
    """The rest between two cycles, and who ends it."""

    def __init__(self, source: Source, reading: Reading, feed: WalletFeed, wallets: Wallets) -> None:
        self._source = source
        self._reading = reading
        self._feed = feed
        self._wallets = wallets
        self._is_resting = asyncio.Event()

    async def rest(self, *, until_s: float) -> None:
        """Until something is due: a payment, a wallet, a request, a change, or the loop's time `until_s`."""
        waiting = self._wallets.waiting
        self._is_resting.set()
        try:
            while self._wallets.waiting == waiting and (left_s := until_s - now_s()) > 0:
                try:
                    async with asyncio.timeout(min(left_s, self._feed.next_look_s())):  # wait_for can lose a cancel
                        await self._feed.wake.wait()
                except TimeoutError:
                    await self._feed.look()
                else:
                    return
        finally:
            self._is_resting.clear()

    async def watch(self) -> None:
        """Wake the resting stream when the source has a payment behind the cursor, for ever."""
        again_s, woken_at = AGAIN_S, None
        while True:
            await self._is_resting.wait()
            cursor, began_s = self._reading.position.cursor, now_s()
            is_there = None
            with contextlib.suppress(Unavailable):
                is_there = await self._source.payment_after(cursor)
            if not is_there or cursor == woken_at:  # no hurry: it failed, it ended, or the pages do not show it yet
                is_calm = is_there is False and now_s() - began_s >= WAIT_S_MIN
                again_s = await pause(AGAIN_S if is_calm else again_s)
            else:
                again_s = AGAIN_S
            if is_there:
                woken_at, self._reading.is_awaited = cursor, True
                self._is_resting.clear()
                self._feed.wake.set()


async def pause(again_s: float, error: Unavailable | Away | None = None) -> float:
    """Wait about this long; the next wait."""
    longest_s = AWAY_S_MAX if isinstance(error, Away) else AGAIN_S_MAX
    await wait_about(min(again_s, longest_s))
    return min(2 * again_s, longest_s)
