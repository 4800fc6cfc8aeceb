"""The stream: follows the network's payments and tells every followed wallet's balance.

One cycle: look which wallets there are, drain the history, read the states of the wallets it touched, drain again up to
the newest version that was read, tell the facts, wait for the brokers' acks, and only then save the cursors. Nothing is
saved before its effect: after a crash anywhere the same payments are read again, and the same facts collapse.

Beside the cycles: `changes.py` touches wallets that changed without a payment, `census.py` reads very many at once,
`waking.py` begins the next cycle. A wallet's touch stays in memory until its fact is acked; the cursors that are saved
are those before the oldest drain with a touch still open.
"""

import contextlib
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

import structlog

from producers.census import Census
from producers.changes import Changes, changes_of
from producers.clock import now_s
from producers.cursors import Cursors
from producers.dead_letters import state_letter
from producers.facts import Facts, Told, Verdict
from producers.history import Reading, ledgers
from producers.marks import publish
from producers.parts import Pace, Parts
from producers.reader import Reader, Sighting
from producers.source import Unavailable
from producers.start import Begin, Wish, begin, check_network, check_position
from producers.store import Away
from producers.together import together
from producers.waking import AGAIN_S, AGAIN_S_MAX, Waking, pause
from producers.wallet import Touch
from producers.wallet_feed import WalletFeed
from producers.wallets import CHANGED_AT_ONCE, UNREAD_AT_ONCE, Wallets
from schema.stellar import AccountId, Ledger, Malformed

log = structlog.get_logger(__name__)

ROUND_S: Final = 5.0  # how long one cycle drains, and how long it reads, before the rest has its turn
CHECK_S: Final = 60.0  # how often the source's ledgers are compared with the cursor
OVERDUE_S_MIN: Final = 30.0
SHARE_WAIT_S: Final = 1.0  # until the changes' share may pay for more reads


class Stream:
    """One stream, by its name. `run` begins and follows until it is cancelled."""

    def __init__(self, name: str, parts: Parts, pace: Pace) -> None:
        self._name = name
        self._parts = parts
        self._pace = pace
        self._readiness, self._metrics = parts.readiness, parts.metrics
        self._wallets = Wallets(movements_max=pace.movements_max)
        self._feed = WalletFeed(parts.store, self._wallets, network=parts.network, refresh_s=pace.wallets_refresh_s)
        self._reader = Reader(parts, wake=self._feed.wake, reads_at_once=pace.reads_at_once)
        self._facts = Facts(parts, movements_max=pace.movements_max)
        self._census = Census(parts.source, self._wallets, asset=parts.asset, clock=parts.clock, wake=self._feed.wake)
        follows_changes = pace.changes and not parts.source.payments_show_every_change
        self._cursors = Cursors(
            parts.store, name, network=parts.network, follows_changes=follows_changes, metrics=parts.metrics
        )
        self._reading: Reading
        self._waking: Waking
        self._changes: Changes | None = None
        self._drained_at_s = self._checked_at_s = now_s()

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
        self._waking = Waking(self._parts.source, self._reading, self._feed, self._wallets)
        if beginning.changes is not None:
            self._changes = changes_of(
                self._parts, self._pace, self._wallets, position=beginning.changes, wake=self._feed.wake
            )
            self._readiness.watch(self._changes.overdue)
        log.info(
            "stream begins",
            stream=self._name,
            cursor=beginning.position.cursor,
            ledger=beginning.position.ledger,
            changes_ledger=beginning.changes.ledger if beginning.changes else None,
            every_wallet_is_read=beginning.missed or None,
        )
        self._readiness.watch(self._overdue)
        try:
            async with together() as tasks:
                tasks.create_task(self._feed.listen(self._readiness))
                tasks.create_task(self._parts.publisher.watch())
                tasks.create_task(self._waking.watch())
                tasks.create_task(self._census.run())
                if self._changes:
                    tasks.create_task(self._changes.follow())
                tasks.create_task(self._follow(is_missed=bool(beginning.missed)))
        finally:
            self._reader.close()

    async def _begin(self, wish: Wish) -> Begin:
        """Where to begin, once the database and the source both answer."""
        again_s = AGAIN_S
        while True:
            try:
                saved = await self._cursors.load()
                history = await ledgers(self._parts.source, saved.payments.position if saved.payments else None)
            except (Unavailable, Away) as error:
                self._readiness.down("start", f"{type(error).__name__}: {error}")
                again_s = await pause(again_s, error)
                continue
            self._readiness.up("start")
            return begin(history=history, network=self._parts.network, saved=saved, stream_name=self._name, wish=wish)

    async def _follow(self, *, is_missed: bool) -> None:
        """Cycles, for ever: at once while there is work, else at the next wake-up."""
        await self._parts.publisher.connect()
        await self._feed.listening()
        again_s = AGAIN_S
        while True:
            self._feed.wake.clear()
            try:
                progress = await self._cycle(is_missed=is_missed)
                is_missed = False
                self._say_how(progress)
                if progress is not _Progress.MORE:
                    await self._waking.rest(until_s=self._rests_until_s(progress, again_s))
                again_s = min(2 * again_s, AGAIN_S_MAX) if progress is _Progress.STUCK else AGAIN_S
            except (Unavailable, Away) as error:
                self._readiness.down("cycle", f"{type(error).__name__}: {error}")
                again_s = await pause(again_s, error)

    async def _cycle(self, *, is_missed: bool) -> "_Progress":
        await self._check_history()
        await self._look_for_wallets(is_missed=is_missed)
        is_drained = await self._reading.drain(seconds=ROUND_S)
        if is_drained:
            self._drained_at_s = now_s()
        due = await self._due(is_drained=is_drained)
        seen = self._census.take(beside_others=bool(due)) + await self._reader.read(due, seconds=ROUND_S)
        sightings = [each for each in seen if not self._is_of_before(each)]
        told = await self._tell(sightings, is_drained=is_drained)
        await publish(told, self._parts)
        self._settle(sightings, told)
        await self._save()
        self._census.taken()
        is_any_settled = len(seen) > sum(each.verdict is Verdict.LATER for each in told)
        if is_any_settled or not is_drained:
            return _Progress.MORE if self._is_more_to_read() or not is_drained else _Progress.DONE
        if due:
            return _Progress.STUCK
        return _Progress.SHORT if self._wallets.changed else _Progress.DONE

    def _is_more_to_read(self) -> bool:
        """What a census is at comes a portion at a time, and wakes us."""
        if self._census.is_at_work:
            return bool(self._wallets.touched) or self._census.is_full
        return self._wallets.waiting > 0

    async def _look_for_wallets(self, *, is_missed: bool) -> None:
        await self._feed.look()
        if is_missed:
            await self._wallets.miss_all()
        if self._changes:
            self._changes.wallets_are_known()
        self._census.look()

    async def _due(self, *, is_drained: bool) -> list[tuple[AccountId, Touch]]:
        """Whom to read now. What a census is at is left to it."""
        changed_max = CHANGED_AT_ONCE  # few: what Stellar RPC shows beside what moved
        if self._changes:
            changed_max = await self._changes.affordable_reads() if is_drained else 0
        unread_max = 0 if self._census.is_at_work else UNREAD_AT_ONCE
        return self._wallets.due(drained=is_drained, changed_max=changed_max, unread_max=unread_max)

    def _is_of_before(self, sighting: Sighting) -> bool:
        """Whether it was read for a row that was deleted since, and the wallet has come again: its baseline would lack
        what came before the new row. Not that of a row that was paid while it was read: the payment is new money.
        """
        touch = self._wallets.touched.get(sighting.account_id)
        first = self._wallets.unread.baselines.get(sighting.account_id)
        if touch is not None and touch.first_sight:
            first = touch.row_since
        return first is not None and sighting.state is not None and sighting.state.observed < first

    def _rests_until_s(self, progress: "_Progress", again_s: float) -> float:
        idle_until_s = self._drained_at_s + self._pace.idle_drain_s
        if progress is _Progress.DONE:
            return idle_until_s
        return min(idle_until_s, now_s() + (again_s if progress is _Progress.STUCK else SHARE_WAIT_S))

    async def _check_history(self) -> None:
        if now_s() - self._checked_at_s < CHECK_S:
            return
        history = await ledgers(self._parts.source, self._reading.position)
        check_network(history, self._parts.network)
        check_position(history, self._reading.position)
        if self._changes:
            await self._changes.check(history)
        self._checked_at_s = now_s()

    async def _tell(self, sightings: Sequence[Sighting], *, is_drained: bool) -> list[Told]:
        """What becomes of the sightings, once every payment up to the newest version among them is read. A first sight
        claims no payments and does not ask for that.
        """
        seen = [(each, each.state, self._wallets.active(each.account_id)) for each in sightings if each.state]
        newest = max(
            (state.version for each, state, wallet in seen if wallet.floor or not each.touch.first_sight),
            default=Ledger(0),
        )
        self._wallets.saw(max((state.observed for _, state, _ in seen), default=Ledger(0)))
        if is_drained and newest > self._reading.position.ledger:
            with contextlib.suppress(Unavailable):  # those wallets wait, the others are told
                await self._reading.drain_up_to(newest, seconds=ROUND_S)
        return await self._facts.tell(seen, drained=self._reading.position.ledger)

    def _settle(self, sightings: Sequence[Sighting], told: Sequence[Told]) -> None:
        for each in told:
            if each.verdict is Verdict.LATER:
                continue
            is_fact = each.verdict is Verdict.FACT
            touch = each.sighting.touch
            self._wallets.settle(each.state, touch, told=is_fact, now_s=now_s())
            self._feed.answered(touch.requests, each.answer)
            self._metrics.duplicates.inc(int(not is_fact))
        for sighting in sightings:
            if sighting.fault is not None:
                self._refuse(sighting, sighting.fault)

    def _refuse(self, sighting: Sighting, fault: Malformed) -> None:
        """A state that makes no sense goes to the dead letters; asking for it for ever would hold up the others."""
        letter = state_letter(sighting.account_id, network=self._parts.network, fault=fault)
        self._reading.refused.append(letter)
        self._metrics.refused.inc()
        self._wallets.give_up(sighting.account_id)
        self._feed.refused(sighting.touch.requests, fault)
        log.warning("state refused", account_id=sighting.account_id, reason=letter.reason, detail=letter.detail)

    async def _save(self) -> None:
        """Progress, last of all: what is told is acked, what was refused is stored. Changes come in meanwhile: how far
        may be saved is decided before, with all that was refused until then.
        """
        open_drain = self._wallets.oldest_drain()
        payments = self._reading.told_up_to(open_drain)
        changes = self._changes.told_up_to(open_drain) if self._changes else None
        for refused in (self._reading.refused, self._changes.refused if self._changes else []):
            letters = list(refused)
            if letters:
                await self._parts.store.keep_dead_letters(letters)
                del refused[: len(letters)]
        await self._feed.finish()
        await self._cursors.save(payments=payments, changes=changes)

    def _overdue(self) -> Mapping[str, str]:
        since_s = now_s() - self._drained_at_s
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
        self._metrics.baselines.set(len(self._wallets.unread.baselines))
        self._metrics.missed.set(len(self._wallets.unread.missed))


class _Progress(Enum):
    """How a cycle ended."""

    DONE = "done"  # nothing is left to do, but for what a census is at
    MORE = "more"
    SHORT = "short"  # changes wait for their share of the requests
    STUCK = "stuck"  # there is more, but the source or the database is behind: not at once
