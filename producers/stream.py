"""The stream: follows the network's payments and tells every followed wallet's balance.

One cycle: look which wallets there are, drain the history, read the states of the wallets it touched, drain again up to
the newest version that was read, tell the facts, wait for the brokers' acks, and only then save the cursor. Nothing is
saved before its effect: after a crash anywhere the same payments are read again, and the same facts collapse.

A wallet's touch stays in memory until its fact is acked; the cursor that is saved is the one before the oldest drain
with a touch still open.
"""

import asyncio
import contextlib
import random
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

import structlog

from producers.facts import Facts, Told, Verdict
from producers.history import ACCOUNTS_ORIGIN, Position, Reading, dead_letter, ledgers
from producers.marks import mark_published
from producers.parts import Pace, Parts
from producers.reader import Reader, Sighting
from producers.source import Fatal, Unavailable
from producers.start import Begin, Wish, begin, check_network, check_position
from producers.store import Away
from producers.wallet_feed import WalletFeed
from producers.wallets import Wallets
from schema.stellar import Ledger, Malformed

log = structlog.get_logger(__name__)

ROUND_S: Final = 5.0  # how long one cycle drains, and how long it reads, before the rest has its turn
CHECK_S: Final = 60.0  # how often the source's ledgers are compared with the cursor
AGAIN_S: Final = 0.25
AGAIN_S_MAX: Final = 5.0
WAIT_S_MIN: Final = 5.0  # a wait that the source ends sooner is not begun again at once
AWAY_S_MAX: Final = 1.0  # for the database: it is ours, and nobody counts the questions
OVERDUE_S_MIN: Final = 30.0


class Stream:
    """One stream, by its name. `run` begins and follows until it is cancelled."""

    def __init__(self, name: str, parts: Parts, pace: Pace) -> None:
        self._name = name
        self._parts = parts
        self._pace = pace
        self._readiness, self._metrics = parts.readiness, parts.metrics
        self._wallets = Wallets(movements_max=pace.movements_max)
        self._feed = WalletFeed(parts.store, self._wallets, network=parts.network, refresh_s=pace.wallets_refresh_s)
        self._reader = Reader(
            parts.source,
            asset=parts.asset,
            metrics=parts.metrics,
            clock=parts.clock,
            wake=self._feed.wake,
            reads_at_once=pace.reads_at_once,
        )
        self._facts = Facts(
            parts.source,
            parts.store,
            network=parts.network,
            asset=parts.asset,
            metrics=parts.metrics,
            movements_max=pace.movements_max,
        )
        self._reading: Reading
        self._is_resting = asyncio.Event()
        self._saved: Position | None = None
        self._drained_at_s = self._checked_at_s = _now_s()

    async def run(self, wish: Wish) -> None:
        """Follow until cancelled. Fatal when a person must decide; anything else that escapes is a bug."""
        beginning = await self._begin(wish)
        self._reading = Reading(
            self._parts.source,
            self._wallets,
            network=self._parts.network,
            asset=self._parts.asset,
            position=beginning.position,
            metrics=self._metrics,
            clock=self._parts.clock,
        )
        log.info("stream begins", stream=self._name, cursor=beginning.position.cursor, ledger=beginning.position.ledger)
        self._readiness.watch(self._overdue)
        fatal: Fatal | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._feed.listen(self._readiness))
                tasks.create_task(self._parts.publisher.watch())
                tasks.create_task(self._watch())
                tasks.create_task(self._follow(gap=beginning.gap))
        except* Fatal as group:
            fatal = _first(group)
        finally:
            self._reader.close()
        if fatal is not None:  # raised in there it would be a group again
            raise fatal

    async def _begin(self, wish: Wish) -> Begin:
        """Where to begin, once the database and the source both answer."""
        again_s = AGAIN_S
        while True:
            try:
                saved = await self._parts.store.cursor(self._name)
                history = await ledgers(self._parts.source, saved.position if saved else None)
            except (Unavailable, Away) as error:
                self._readiness.down("start", f"{type(error).__name__}: {error}")
                again_s = await _pause(again_s, error)
                continue
            self._readiness.up("start")
            self._saved = saved.position if saved else None
            return begin(history=history, network=self._parts.network, saved=saved, stream_name=self._name, wish=wish)

    async def _follow(self, *, gap: bool) -> None:
        """Cycles, for ever: at once while there is work, else at the next wake-up."""
        await self._parts.publisher.connect()
        await self._feed.listening()
        again_s = AGAIN_S
        while True:
            self._feed.wake.clear()
            try:
                progress = await self._cycle(gap=gap)
                gap = False
                self._say_how(progress)
                if progress is not _Progress.MORE:
                    await self._rest(again_s if progress is _Progress.STUCK else None)
                again_s = min(2 * again_s, AGAIN_S_MAX) if progress is _Progress.STUCK else AGAIN_S
            except (Unavailable, Away) as error:
                self._readiness.down("cycle", f"{type(error).__name__}: {error}")
                again_s = await _pause(again_s, error)

    async def _cycle(self, *, gap: bool) -> "_Progress":
        await self._check_history()
        await self._feed.look()
        if gap:
            self._wallets.touch_all()
        is_drained = await self._reading.drain(seconds=ROUND_S)
        if is_drained:
            self._drained_at_s = _now_s()
        sightings = await self._reader.read(self._wallets.due(drained=is_drained), seconds=ROUND_S)
        told = await self._tell(sightings, is_drained=is_drained)
        await self._publish(told)
        self._settle(sightings, told)
        await self._save()
        if is_drained and not self._wallets.waiting:
            return _Progress.DONE
        is_any_settled = len(sightings) > sum(each.verdict is Verdict.LATER for each in told)
        return _Progress.MORE if is_any_settled or not is_drained else _Progress.STUCK

    async def _check_history(self) -> None:
        if _now_s() - self._checked_at_s < CHECK_S:
            return
        history = await ledgers(self._parts.source, self._reading.position)
        check_network(history, self._parts.network)
        check_position(history, self._reading.position)
        self._checked_at_s = _now_s()

    async def _tell(self, sightings: Sequence[Sighting], *, is_drained: bool) -> list[Told]:
        """What becomes of the sightings, once every payment up to the newest version among them is read. A first sight
        claims no payments and does not ask for that.
        """
        seen = [(each, each.state, self._wallets.active(each.account_id)) for each in sightings if each.state]
        newest = max(
            (state.version for each, state, wallet in seen if wallet.floor or not each.touch.first_sight),
            default=Ledger(0),
        )
        if is_drained and newest > self._reading.position.ledger:
            with contextlib.suppress(Unavailable):  # those wallets wait, the others are told
                await self._reading.drain_up_to(newest, seconds=ROUND_S)
        return await self._facts.tell(seen, drained=self._reading.position.ledger)

    async def _publish(self, told: Sequence[Told]) -> None:
        facts = [(each.sighting, each.event) for each in told if each.event is not None]
        if facts:
            await self._parts.publisher.publish([event for _, event in facts])
            mark_published(facts, at=self._parts.clock(), metrics=self._metrics)

    def _settle(self, sightings: Sequence[Sighting], told: Sequence[Told]) -> None:
        for each in told:
            if each.verdict is Verdict.LATER:
                continue
            is_fact = each.verdict is Verdict.FACT
            touch = each.sighting.touch
            self._wallets.settle(each.state, touch, told=is_fact, now_s=_now_s())
            self._feed.answered(touch.requests, each.answer)
            self._metrics.duplicates.inc(int(not is_fact))
        for sighting in sightings:
            if sighting.fault is not None:
                self._refuse(sighting, sighting.fault)

    def _refuse(self, sighting: Sighting, fault: Malformed) -> None:
        """A state that makes no sense goes to the dead letters; asking for it for ever would hold up the others."""
        letter = dead_letter(
            ACCOUNTS_ORIGIN,
            network=self._parts.network,
            key=sighting.account_id,
            offset=0,
            value=str(fault).encode(),
            fault=fault,
        )
        self._reading.refused.append(letter)
        self._metrics.refused.inc()
        self._wallets.give_up(sighting.account_id)
        self._feed.refused(sighting.touch.requests, fault)
        log.warning("state refused", account_id=sighting.account_id, reason=letter.reason, detail=letter.detail)

    async def _save(self) -> None:
        """Progress, last of all: what is told is acked, what was refused is stored."""
        letters = list(self._reading.refused)
        if letters:
            await self._parts.store.keep_dead_letters(letters)
            del self._reading.refused[: len(letters)]
        await self._feed.finish()
        position = self._reading.told_up_to(self._wallets.oldest_drain())
        if position is not None and position != self._saved:
            await self._parts.store.save_cursor(self._name, self._parts.network, position)
            self._saved = position
            self._metrics.saved_ledger.set(position.ledger)

    async def _rest(self, seconds: float | None) -> None:
        """Until something is due: a payment, a wallet, a request, the time to drain by itself, or the seconds over."""
        ends_at = self._drained_at_s + self._pace.idle_drain_s
        if seconds is not None:
            ends_at = min(ends_at, _now_s() + seconds)
        waiting = self._wallets.waiting
        self._is_resting.set()
        try:
            while self._wallets.waiting == waiting and (left_s := ends_at - _now_s()) > 0:
                try:
                    async with asyncio.timeout(min(left_s, self._feed.next_look_s())):  # wait_for can lose a cancel
                        await self._feed.wake.wait()
                except TimeoutError:
                    await self._feed.look()
                else:
                    return
        finally:
            self._is_resting.clear()

    async def _watch(self) -> None:
        """Wake the resting stream when the source has a payment behind the cursor."""
        again_s, woken_at = AGAIN_S, None
        while True:
            await self._is_resting.wait()
            cursor, began_s = self._reading.position.cursor, _now_s()
            is_there = None
            with contextlib.suppress(Unavailable):
                is_there = await self._parts.source.payment_after(cursor)
            if not is_there or cursor == woken_at:  # no hurry: it failed, it ended, or the pages do not show it yet
                is_calm = is_there is False and _now_s() - began_s >= WAIT_S_MIN
                again_s = await _pause(AGAIN_S if is_calm else again_s)
            else:
                again_s = AGAIN_S
            if is_there:
                woken_at, self._reading.is_awaited = cursor, True
                self._is_resting.clear()
                self._feed.wake.set()

    def _overdue(self) -> Mapping[str, str]:
        since_s = _now_s() - self._drained_at_s
        if since_s <= max(OVERDUE_S_MIN, 3 * self._pace.idle_drain_s):
            return {}
        return {"history": f"not read to its end for {since_s:.0f} s"}

    def _say_how(self, progress: "_Progress") -> None:
        self._readiness.up("cycle")
        if progress is _Progress.STUCK:
            self._readiness.down("wallets", f"{self._wallets.waiting} wait for the source: it is behind or silent")
        else:
            self._readiness.up("wallets")
        self._metrics.tracked.set(len(self._wallets))
        self._metrics.touched.set(len(self._wallets.touched))
        self._metrics.baselines.set(len(self._wallets.baselines))


class _Progress(Enum):
    """How a cycle ended."""

    DONE = "done"  # nothing is left to do
    MORE = "more"
    STUCK = "stuck"  # there is more, but the source or the database is behind: not at once


def _now_s() -> float:
    return asyncio.get_running_loop().time()


async def _pause(again_s: float, error: Unavailable | Away | None = None) -> float:
    """Wait about this long; the next wait."""
    longest_s = AWAY_S_MAX if isinstance(error, Away) else AGAIN_S_MAX
    await asyncio.sleep(min(again_s, longest_s) * random.uniform(0.7, 1.3))  # noqa: S311 - jitter
    return min(2 * again_s, longest_s)


def _first(group: BaseExceptionGroup[Fatal]) -> Fatal:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
