"""The poller: reads every wallet's state on a schedule and tells what is newer than what is stored.

It needs no stream: what it finds has its movements from the account's own history, so that the consumer decides as it
would on the stream's fact. Beside a stream it finds what no payment and no effect showed, and says so. Rounds never
overlap; what cannot wait for the next one is served in between (`producers/poll/desk.py`).
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Final

import structlog

from producers.clock import now_s
from producers.command import OPEN_S_MIN
from producers.parts import Parts
from producers.patience import Patience
from producers.poll.compare import TellingMemory
from producers.poll.desk import Desk
from producers.poll.gaps import Gaps
from producers.poll.metrics import PollMetrics
from producers.poll.report import Report
from producers.poll.round import Round
from producers.poll.store import PollStore
from producers.progress import Steps
from producers.source import Unavailable
from producers.start import check_network
from producers.store import Away
from producers.together import together
from producers.waking import AGAIN_S, pause

log = structlog.get_logger(__name__)

OVERDUE_S_MIN: Final = 120.0
UNDERWAY_S: Final = 30.0  # how long one round alone waits for the consumer, to say what it found


@dataclass(frozen=True, slots=True, kw_only=True)
class PollPace:
    """How often, and how fast. `requests_per_hour` 0: no limit."""

    interval_s: float = 300.0
    reads_at_once: int = 16
    requests_per_hour: int = 0


class Poll:
    """Rounds, for ever or once."""

    def __init__(self, parts: Parts, store: PollStore, pace: PollPace, steps: Steps) -> None:
        self._parts, self._store, self._pace, self._steps = parts, store, pace, steps
        self._metrics = PollMetrics(parts.metrics.registry)
        self._memory = TellingMemory()
        self._gaps = Gaps(store, parts.network, self._metrics)
        self._sweep_due = asyncio.Event()
        self._desk = Desk(parts, store, sweep=self._sweep_due.set, reads_at_once=pace.reads_at_once)
        self._ended_s, self._expected_s = now_s(), 0.0

    async def run(self) -> None:
        """Round after round until cancelled. Fatal when a person must decide; anything else that escapes is a bug."""
        self._parts.readiness.watch(self._overdue)
        async with together() as tasks:
            for work in (
                self._desk.listen(),
                self._desk.run(),
                self._gaps.watch(),
                self._parts.publisher.watch(),
                self._sweeps(),
                self._rounds(),
            ):
                tasks.create_task(work)

    async def once(self, *, patience_s: float) -> Mapping[str, Any]:
        """One round, and the read requests that are open: what was done. Unavailable or Away when something stayed away
        for longer than the patience.
        """
        began_s = now_s()
        within_s = max(patience_s, OPEN_S_MIN)
        try:
            async with asyncio.timeout(within_s):
                await self._parts.publisher.connect()
        except TimeoutError:
            raise Unavailable(f"the brokers did not answer within {within_s:g} s") from None
        patience = Patience(patience_s)
        while True:
            try:
                check_network(await self._parts.source.history(), self._parts.network)
                await self._desk.serve(at_once=True)
            except (Unavailable, Away) as error:
                await patience.wait(error)
                continue
            break
        report = await self._round(patience_s=patience_s)
        await self._gaps.decided(UNDERWAY_S)
        return report.summary(self._gaps.counts, seconds=now_s() - began_s)

    async def _rounds(self) -> None:
        await self._parts.publisher.connect()
        await self._desk.listening()
        while True:
            began_s = now_s()
            await self._begin()
            report = await self._round(patience_s=inf)
            self._ended_s = now_s()
            took_s = self._ended_s - began_s
            self._metrics.rounds.inc()
            self._metrics.round_seconds.set(took_s)
            self._metrics.ended_at.set(time.time())
            log.info("round ended", **report.summary(self._gaps.counts, seconds=took_s))
            if took_s > self._pace.interval_s:
                log.warning("a round took longer than POLL_INTERVAL_S", **self._too_long(took_s))
            self._expected_s = took_s
            await asyncio.sleep(max(0.0, began_s + self._pace.interval_s - now_s()))

    async def _begin(self) -> None:
        """Say what the round is going to cost, when the source is there and the right one."""
        again_s = AGAIN_S
        while True:
            try:
                check_network(await self._parts.source.history(), self._parts.network)
                wallets = await self._store.count(self._parts.network, every=True)
                requests = await self._parts.source.states_requests(wallets, self._parts.asset)
            except (Unavailable, Away) as error:
                self._parts.readiness.down("round", f"{type(error).__name__}: {error}")
                again_s = await pause(again_s, error)
                continue
            break
        self._parts.readiness.up("round")
        per_hour = self._pace.requests_per_hour
        at_least_s = 3600 * requests / per_hour if per_hour else 0.0
        log.info("round begins", wallets=wallets, requests=requests, seconds_at_least=round(at_least_s))
        if not self._expected_s and at_least_s > self._pace.interval_s:
            log.warning("a round will take longer than POLL_INTERVAL_S", **self._too_long(at_least_s))
        self._expected_s = max(self._expected_s, at_least_s)

    def _too_long(self, seconds: float) -> Mapping[str, Any]:
        return {
            "seconds": round(seconds),
            "interval_s": self._pace.interval_s,
            "requests_per_hour": self._pace.requests_per_hour,
            "do": "the next round begins at once; raise POLL_INTERVAL_S to what a round takes, or let more requests an "
            "hour through (a Horizon or a Stellar RPC of your own): docs/operations.md",
        }

    async def _sweeps(self) -> None:
        """Wallets without a fact, whenever too many came to be named."""
        while True:
            await self._sweep_due.wait()
            self._sweep_due.clear()
            report = await self._round(patience_s=inf, every=False)
            log.info("new wallets read", wallets=report.wallets, told=report.told, left=report.left)

    async def _round(self, *, patience_s: float, every: bool = True) -> Report:
        round_ = Round(
            self._parts,
            self._store,
            memory=self._memory,
            gaps=self._gaps,
            metrics=self._metrics,
            steps=self._steps if every else None,
            patience_s=patience_s,
            reads_at_once=self._pace.reads_at_once,
        )
        report = await round_.run(every=every)
        self._metrics.left.inc(report.left)
        return report

    def _overdue(self) -> Mapping[str, str]:
        """A round that takes hours for want of requests is not overdue before twice of that."""
        since_s = now_s() - self._ended_s
        if since_s <= max(OVERDUE_S_MIN, 3 * self._pace.interval_s, 2 * self._expected_s):
            return {}
        return {"rounds": f"none ended for {since_s:.0f} s"}
