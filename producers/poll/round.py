"""One round: every wallet's state beside what is stored of it, in portions, and what is newer told.

No more than a portion of wallets is in memory, however many there are. What is away is waited for, and asked again
where it broke off; a wallet that cannot be read while others can is left to the next round, and counted.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

import structlog

from producers.clock import now_s
from producers.command import OPEN_S_MIN
from producers.facts import Verdict
from producers.history import REPLICA_LAG_LEDGERS, Position, ledgers
from producers.parts import Parts
from producers.patience import Patience
from producers.poll.compare import Compared, TellingMemory, find
from producers.poll.gaps import Gaps
from producers.poll.metrics import PollMetrics
from producers.poll.report import NAMED_MAX, Report
from producers.poll.store import PollStore
from producers.progress import Steps
from producers.reader import Sighting
from producers.source import Fatal, State, Unavailable
from producers.store import Away
from producers.telling import Teller
from producers.wallet import Stored, Touch
from schema.balance_event import SnapshotType
from schema.stellar import AccountId, Ledger, Malformed, cursor_after_ledger, parse_account_id

log = structlog.get_logger(__name__)

PORTION_WALLETS: Final = 10_000
ROWS_AT_ONCE: Final = 2_500  # of these: some 30 ms in which nothing else has its turn
TELL_AT_ONCE: Final = 200
TELL_AFTER_S: Final = 2.0  # what was found does not wait for the rest of the portion, whose reading may take an hour
FAILURES_MAX: Final = 3  # readings in a row that brought nothing
READ_WITHIN_S: Final = 60.0
TRIES_MAX: Final = 3
T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class _Portion:
    """Wallets that are being read, and what was found of them so far."""

    left: dict[AccountId, Stored]
    passed: Mapping[str, Ledger]
    newest: Ledger  # what is in it is there at the first sight, whichever replica is asked
    before: dict[AccountId, Stored] = field(default_factory=dict)  # what was stored of those that are to be told
    sightings: list[Sighting] = field(default_factory=list)
    since_s: float = 0.0


class Round:
    """Goes once through the wallets."""

    def __init__(  # noqa: PLR0913 - what a round is made of
        self,
        parts: Parts,
        store: PollStore,
        *,
        memory: TellingMemory,
        gaps: Gaps,
        metrics: PollMetrics,
        steps: Steps | None,
        patience_s: float,
        reads_at_once: int,
    ) -> None:
        self.report = Report()
        self._parts, self._store = parts, store
        self._memory, self._gaps, self._metrics, self._steps = memory, gaps, metrics, steps
        self._patience_s = patience_s
        self._teller = Teller(parts, reads_at_once=reads_at_once, acks_within_s=max(patience_s, OPEN_S_MIN))
        self._latest = Ledger(0)
        self._read_last: AccountId | None = None

    async def run(self, *, every: bool = True) -> Report:
        """Read and tell; only the wallets without a fact unless `every`. Unavailable or Away when the patience is at
        its end: what was told is told, run it again.
        """
        total = await self._answered(lambda: self._store.count(self._parts.network, every=every))
        if self._steps is not None:
            self._steps.begin("reading wallets", total)
            self._metrics.wallets.set(total)
        async for rows in self._portions(every=every):
            await self._read(rows)
        return self.report

    async def _portions(self, *, every: bool) -> AsyncIterator[dict[AccountId, Stored]]:
        ask = partial(
            self._store.portion, self._parts.network, every=every, wallets_max=min(ROWS_AT_ONCE, PORTION_WALLETS)
        )
        portion: dict[AccountId, Stored] = {}
        after = ""
        while rows := await self._answered(partial(ask, after=after)):
            after = rows[-1][0]
            self.report.wallets += len(rows)
            before = len(portion)
            for public_key, stored in rows:
                with contextlib.suppress(Malformed):  # nobody can follow it; the stream says so in its log
                    portion[parse_account_id(public_key)] = stored
            self.report.unchanged += len(rows) - (len(portion) - before)
            if len(portion) >= PORTION_WALLETS:
                yield portion
                portion = {}
        if portion:
            yield portion

    async def _read(self, rows: dict[AccountId, Stored]) -> None:
        """One portion: its states as they come, what is newer told in between."""
        await self._check_ledgers(max((each.version or Ledger(0) for each in rows.values()), default=Ledger(0)))
        streams = await self._answered(lambda: self._store.streams(self._parts.network))
        portion = _Portion(left=rows, passed=streams.passed, newest=await self._newest(rows))
        behind: dict[AccountId, Stored] = {}
        patience, failures = self._patience(), 0
        while portion.left:
            before = len(portion.left)
            try:
                async for state in self._states(portion.left):
                    await self._take(state, portion, behind)
                break
            except Unavailable as unavailable:
                if len(portion.left) < before:
                    patience, failures = self._patience(), -1
                failures += 1
                if failures >= FAILURES_MAX and await self._others_answer():
                    log.warning("wallets left to the next round", wallets=len(portion.left), reason=str(unavailable))
                    self.report.leave(list(portion.left))
                    portion.left.clear()
                    break
                await patience.wait(unavailable)
        self._parts.readiness.up("round")
        await self._flush(portion)
        absent = [each for each in portion.left.values() if each.absent]  # in no page, and known to hold nothing
        self.report.read += len(absent)
        self.report.unchanged += len(absent)
        senseless = {each: row for each, row in portion.left.items() if not row.absent}
        await self._reread(portion, {**senseless, **behind})
        self._at()

    async def _check_ledgers(self, newest: Ledger) -> None:
        """Fatal when the source cannot have the newest ledger that is stored."""
        if newest <= self._latest + REPLICA_LAG_LEDGERS:
            return
        position = Position(cursor=cursor_after_ledger(newest), ledger=newest)
        self._latest = (await self._answered(lambda: ledgers(self._parts.source, position))).latest
        if newest > self._latest + REPLICA_LAG_LEDGERS:
            raise Fatal(
                f"a stored balance is of ledger {newest}, but the source's newest is {self._latest}: the network was "
                "reset, as the test network is at times, or this is the wrong address. After a reset the stored "
                "balances and commands are of a network that is gone: docs/operations.md (a network that was reset) "
                "says what to clear"
            )

    async def _newest(self, rows: Mapping[AccountId, Stored]) -> Ledger:
        """The source's newest ledger, where a first sight is among these."""
        if all(each.version is not None for each in rows.values()):
            return Ledger(1)
        self._latest = max(self._latest, (await self._answered(self._parts.source.history)).latest)
        return self._latest

    def _states(self, left: Mapping[AccountId, Stored]) -> AsyncIterator[State]:
        absent = frozenset(account_id for account_id, stored in left.items() if stored.absent)
        return self._parts.source.states(sorted(left), self._parts.asset, known_absent=absent)

    async def _take(self, state: State, portion: _Portion, behind: dict[AccountId, Stored]) -> None:
        stored = portion.left.pop(state.account_id, None)
        if stored is None:
            return
        self._read_last = state.account_id
        compared = self._memory.compare(state, stored, now_s())
        is_early = compared is Compared.TELL and stored.version is None and state.observed < portion.newest
        if compared is Compared.BEHIND or is_early:
            behind[state.account_id] = stored
            return
        self.report.read += 1
        self.report.unchanged += compared is Compared.SAME
        self.report.waiting += compared is Compared.WAITING
        if compared is Compared.IMPOSSIBLE:
            self.report.impossible += 1
            self._metrics.impossible.inc()
            log.warning(
                "a state older than what is stored",
                account_id=state.account_id,
                stored_ledger=stored.version,
                ledger=state.version,
                observed_ledger=state.observed,
            )
        elif compared is Compared.TELL:
            portion.since_s = portion.since_s if portion.sightings else now_s()
            portion.before[state.account_id] = stored
            touch = _touch(stored, portion.newest)
            portion.sightings.append(
                Sighting(account_id=state.account_id, touch=touch, read_at=self._parts.clock(), state=state)
            )
        if len(portion.sightings) >= TELL_AT_ONCE or (portion.sightings and now_s() - portion.since_s > TELL_AFTER_S):
            await self._flush(portion)
        self._at()

    async def _flush(self, portion: _Portion) -> None:
        """Tell what was found. From here on the streams may have passed more."""
        sightings, portion.sightings = portion.sightings, []
        if sightings:
            await self._tell(sightings, portion)
            streams = await self._answered(lambda: self._store.streams(self._parts.network))
            portion.passed = streams.passed

    async def _tell(self, sightings: Sequence[Sighting], portion: _Portion) -> None:
        """Tell these; what the history does not show whole yet is read again a few times, then left."""
        for _ in range(TRIES_MAX):
            told = await self._answered(lambda: self._teller.tell(sightings))  # noqa: B023 - awaited at once
            self.report.refused += sum(each.fault is not None for each in sightings)
            for each in told:
                if each.event is not None:
                    self.report.told += 1
                    self._memory.note(each.state, now_s())
                    before = portion.before.get(each.event.account_id)
                    one_cursor = self._parts.source.payments_show_every_change
                    self._gaps.note(find(each.event, before, portion.passed, one_cursor=one_cursor))
                elif each.verdict is Verdict.DUPLICATE:  # somebody else's fact was stored meanwhile
                    self.report.unchanged += 1
            later = [each.sighting for each in told if each.verdict is Verdict.LATER]
            if not later:
                return
            sightings = await self._sighted([(each.account_id, each.touch) for each in later])
        self.report.leave([each.sighting.account_id for each in told if each.verdict is Verdict.LATER])

    async def _reread(self, portion: _Portion, rows: Mapping[AccountId, Stored]) -> None:
        """Read alone what made no sense among others, or came from a replica that is behind what is stored."""
        portion.before |= rows
        for start in range(0, len(rows), TELL_AT_ONCE):
            wanted = list(rows.items())[start : start + TELL_AT_ONCE]
            sightings = await self._sighted(
                [(account_id, _touch(stored, portion.newest)) for account_id, stored in wanted]
            )
            self.report.read += len(sightings)
            if sightings:
                await self._tell(sightings, portion)

    async def _sighted(self, wanted: Sequence[tuple[AccountId, Touch]]) -> Sequence[Sighting]:
        """These, read one by one in their ledger or later; what cannot be is left."""
        sightings = await self._teller.read_some(wanted, seconds=READ_WITHIN_S)
        found = {each.account_id for each in sightings}
        missing = [account_id for account_id, _ in wanted if account_id not in found]
        if missing:
            log.warning("wallets left to the next round", wallets=len(missing), account_ids=missing[:NAMED_MAX])
            self.report.leave(missing)
        return sightings

    async def _others_answer(self) -> bool:
        """Whether the wallet that was read last can still be read."""
        if self._read_last is not None:
            with contextlib.suppress(Unavailable, Malformed):
                await self._parts.source.state(self._read_last, self._parts.asset)
                return True
        return False

    async def _answered(self, ask: Callable[[], Awaitable[T]]) -> T:
        found = await self._patience().answer(ask)
        self._parts.readiness.up("round")
        return found

    def _patience(self) -> Patience:
        return Patience(self._patience_s, on_away=self._down)

    def _down(self, error: Unavailable | Away) -> None:
        self._parts.readiness.down("round", f"{type(error).__name__}: {error}")

    def _at(self) -> None:
        if self._steps is not None:
            self._steps.at(self.report.read, told=self.report.told)
            self._metrics.done.set(self.report.read)


def _touch(stored: Stored, newest: Ledger) -> Touch:
    return Touch(
        at_least=stored.version or newest,
        snapshot_type=SnapshotType.POLL,
        drain=0,
        first_sight=stored.version is None,
    )
