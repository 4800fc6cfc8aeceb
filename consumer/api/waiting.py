"""Waiting until a read request is settled: told by a producer and recorded by the consumer, or refused.

The database says when a request is told; that its version is recorded nobody says, so it is looked up, for all who wait
together, quickly at first and then ever slower.
"""

import asyncio
from collections import Counter
from typing import Final
from uuid import UUID

import structlog

from consumer.api import metrics
from consumer.api.store import ApiStore, Busy, hear_done
from schema.service.database import TRANSIENT
from schema.service.readiness import Readiness

log = structlog.get_logger(__name__)

RECORDED_AGAIN_S: Final = 0.02
RECORDED_AGAIN_S_MAX: Final = 0.5
TOLD_AGAIN_S: Final = 2.0  # in case a notification was lost
LISTEN_AGAIN_S: Final = 0.5


class Waiting:
    """Everyone of this process who waits for a request."""

    def __init__(self, store: ApiStore, *, url: str, readiness: Readiness) -> None:
        self._store = store
        self._url = url
        self._readiness = readiness
        self._news = asyncio.Event()
        self._settled: dict[UUID, asyncio.Event] = {}
        self._waiters: Counter[UUID] = Counter()
        self._is_over = False
        readiness.down("notifications", "not heard yet")

    async def until_settled(self, request_id: UUID, *, seconds: float) -> None:
        """Return when it is settled or gone, when the seconds are over, or when the process ends."""
        if self._is_over:
            return
        settled = self._settled.setdefault(request_id, asyncio.Event())
        self._waiters[request_id] += 1
        metrics.WAITING.inc()
        self._news.set()
        try:
            async with asyncio.timeout(seconds):
                await settled.wait()
        except TimeoutError:
            return
        finally:
            metrics.WAITING.dec()
            self._waiters[request_id] -= 1
            if not self._waiters[request_id]:
                del self._waiters[request_id], self._settled[request_id]

    def end(self) -> None:
        """Let everyone go: the process ends."""
        self._is_over = True
        for settled in self._settled.values():
            settled.set()

    async def listen(self) -> None:
        """Hear what the database says, for ever."""
        while True:
            try:
                await hear_done(self._url, self._note, self._readiness)
            except TRANSIENT as error:
                self._readiness.down("notifications", f"{type(error).__name__}: {error}")
            await asyncio.sleep(LISTEN_AGAIN_S)

    async def look(self) -> None:
        """Look after those who wait, for ever: when there is news, and from time to time."""
        again_s = RECORDED_AGAIN_S
        while True:
            self._news.clear()
            try:
                is_any_told = await self._look()
            except (Busy, *TRANSIENT) as error:
                log.warning("those who wait go on waiting", reason=f"{type(error).__name__}: {error}"[:300])
                is_any_told = False
            again_s = min(2 * again_s, RECORDED_AGAIN_S_MAX) if is_any_told else RECORDED_AGAIN_S
            try:
                async with asyncio.timeout(again_s if is_any_told else TOLD_AGAIN_S):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _look(self) -> bool:
        """Wake those whose request is settled; whether any of the others is told, so that it can be any moment."""
        waiting = [request_id for request_id, settled in self._settled.items() if not settled.is_set()]
        if not waiting:
            return False
        still_open = await self._store.still_open(waiting)
        for request_id in waiting:
            settled = self._settled.get(request_id)
            if settled is not None and request_id not in still_open:
                settled.set()
        return any(still_open.values())

    def _note(self, payload: str) -> None:
        try:
            is_ours = UUID(payload) in self._settled
        except ValueError:
            is_ours = True
        if is_ours:
            self._news.set()
