"""What cannot wait for the next round: read requests, and wallets whose row has just come.

A stream that runs serves them, too. So while one is alive they are given a few seconds to be done by it; what is still
open then is done here. Where there is no stream they are done at once.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

import structlog

from producers import answers
from producers.facts import Verdict
from producers.parts import Parts
from producers.poll.store import PollStore
from producers.source import Unavailable
from producers.store import Away
from producers.telling import Teller
from producers.waking import AGAIN_S, pause
from producers.wallet import Touch
from producers.wallet_feed import GONE
from schema.balance_event import SnapshotType
from schema.stellar import AccountId, Ledger, Malformed, parse_account_id

log = structlog.get_logger(__name__)

LOOK_S: Final = 5.0  # in case a notification was lost
STREAMS_TURN_S: Final = 5.0  # what a stream that is alive has the time to do first
READ_WITHIN_S: Final = 60.0
AT_ONCE: Final = 200
ARRIVED_MAX: Final = 10_000  # more wallets by name than this: look for all without a fact instead


class Desk:
    """Serves whoever comes. `sweep` has every wallet without a fact read."""

    def __init__(self, parts: Parts, store: PollStore, *, sweep: Callable[[], None], reads_at_once: int) -> None:
        self._parts, self._store, self._sweep = parts, store, sweep
        self._teller = Teller(parts, reads_at_once=reads_at_once)
        self._wake, self._listening = asyncio.Event(), asyncio.Event()
        self._rows: set[UUID] = set()
        self._is_sweep_due = False
        self._asked: dict[UUID, float] = {}  # requests, and since when each is known
        self._arrived: dict[AccountId, float] = {}
        self._newest = Ledger(0)

    async def listen(self) -> None:
        """Hear what the database says, for ever."""
        await self._parts.store.listen(
            on_wallet=self._note_wallet, on_request=self._wake.set, readiness=self._parts.readiness
        )

    async def listening(self) -> None:
        """Return when it is heard: what is read before that could miss a wallet."""
        await self._listening.wait()

    async def run(self) -> None:
        """Serve, for ever."""
        again_s = AGAIN_S
        while True:
            self._wake.clear()
            try:
                open_ = await self.serve()
            except (Unavailable, Away) as error:
                log.warning("requests wait", reason=f"{type(error).__name__}: {error}"[:300])
                again_s = await pause(again_s, error)
                continue
            again_s = AGAIN_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0 if open_ else LOOK_S):
                    await self._wake.wait()

    async def serve(self, *, at_once: bool = False) -> bool:
        """Do what is due; whether something is open still. `at_once`: leave no turn to a stream."""
        turn_s = STREAMS_TURN_S
        if at_once or not (await self._store.streams(self._parts.network)).any_alive:
            turn_s = 0.0
        await self._take_rows()
        if self._is_sweep_due and not turn_s:  # where a stream is alive it reads them
            self._sweep()
        self._is_sweep_due = False
        wanted = [*await self._requests(turn_s), *await self._arrivals(turn_s)]
        for start in range(0, len(wanted), AT_ONCE):
            await self._tell(wanted[start : start + AT_ONCE])
        return bool(self._asked or self._arrived)

    async def _requests(self, turn_s: float) -> list[tuple[AccountId, Touch]]:
        now_s = asyncio.get_running_loop().time()
        requests = await self._parts.store.open_requests(self._parts.network)
        self._asked = {each.id: self._asked.get(each.id, now_s) for each in requests}
        due = []
        for request in requests:
            try:
                parse_account_id(request.account_id)
            except Malformed as malformed:  # nobody could ever read it
                await self._parts.store.finish_requests({request.id: answers.refused(malformed)})
                continue
            if now_s - self._asked[request.id] >= turn_s:
                due.append(request)
        if not due:
            return []
        newest = await self._seen()  # a read from before the request would be no answer
        return [
            (
                each.account_id,
                Touch(at_least=newest, snapshot_type=each.snapshot_type, drain=0, requests=frozenset((each.id,))),
            )
            for each in due
        ]

    async def _arrivals(self, turn_s: float) -> list[tuple[AccountId, Touch]]:
        now_s = asyncio.get_running_loop().time()
        due = [account_id for account_id, since_s in self._arrived.items() if now_s - since_s >= turn_s]
        if not due:
            return []
        stored = await self._parts.store.stored(due, self._parts.network)
        wanted = [account_id for account_id, row in stored.items() if row.version is None]
        for account_id in set(due).difference(wanted):  # its row is gone, or somebody was quicker
            del self._arrived[account_id]
        if not wanted:
            return []
        newest = await self._seen()  # what came before the row is baseline
        touch = Touch(at_least=newest, snapshot_type=SnapshotType.POLL, drain=0, first_sight=True)
        return [(account_id, touch) for account_id in wanted]

    async def _seen(self) -> Ledger:
        """The newest ledger, whichever replica is behind it."""
        self._newest = max(self._newest, (await self._parts.source.history()).latest)
        return self._newest

    async def _tell(self, wanted: Sequence[tuple[AccountId, Touch]]) -> None:
        merged: dict[AccountId, Touch] = {}
        for account_id, touch in wanted:
            merged[account_id] = merged[account_id].and_also(touch) if account_id in merged else touch
        sightings = await self._teller.read_some(list(merged.items()), seconds=READ_WITHIN_S)
        told = await self._teller.tell(sightings)
        for sighting in sightings:
            if sighting.fault is not None:  # a dead letter by now; the next round looks again
                self._arrived.pop(sighting.account_id, None)
        for each in told:
            if each.verdict is not Verdict.LATER:
                self._arrived.pop(each.state.account_id, None)
            log.info("read on demand", account_id=each.state.account_id, outcome=each.verdict.value)

    async def _take_rows(self) -> None:
        """The wallets that were inserted, or changed their address, by name."""
        rows, self._rows = self._rows, set()
        if not rows:
            return
        try:
            found = await self._parts.store.wallets_by_id(rows, self._parts.network)
        except Away:
            self._rows |= rows
            raise
        now_s = asyncio.get_running_loop().time()
        for public_key, version in found:
            with contextlib.suppress(Malformed):  # nobody can follow it
                if version is None:
                    self._arrived.setdefault(parse_account_id(public_key), now_s)

    def _note_wallet(self, payload: str) -> None:
        if payload.startswith(GONE):
            return
        try:
            self._rows.add(UUID(payload))
        except ValueError:  # too many, or a new connection: after the first one comes the first round
            self._is_sweep_due = self._listening.is_set()
        if len(self._rows) > ARRIVED_MAX:
            self._rows.clear()
            self._is_sweep_due = True
        self._listening.set()
        self._wake.set()
