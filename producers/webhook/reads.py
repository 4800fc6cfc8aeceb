"""Reading wallets that hints name: one read serves every hint that came before it began, and none that came after.

A hint says that something has happened by now, so a read that is under way may have missed it: the next one serves.
Reads go on side by side; what they found is told by one, in portions, and a hint is served when its facts are acked.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import structlog

from producers.facts import Verdict
from producers.parts import Parts
from producers.reader import Sighting
from producers.source import Unavailable
from producers.store import Away
from producers.telling import Teller
from producers.wallet import Touch
from schema.balance_event import SnapshotType
from schema.stellar import AccountId, Ledger

log = structlog.get_logger(__name__)

READ_WITHIN_S: Final = 60.0
TOLD_AT_ONCE: Final = 200
WAITING_MAX: Final = 10_000  # wallets; more are refused, and their senders say it again


class Served(Enum):
    """What became of a wallet that was hinted at."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"  # what it holds was told before
    REFUSED = "refused"  # its state makes no sense: a dead letter
    AWAY = "away"  # not done: Horizon was


@dataclass(slots=True, kw_only=True)
class _Round:
    """The next read of a wallet, and who waits for it."""

    ledger: Ledger
    served: asyncio.Future[Served] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Busy(Exception):
    """Too many wallets wait."""


class Reads:
    """Reads and tells wallets for whoever asks."""

    def __init__(self, parts: Parts, *, reads_at_once: int) -> None:
        self._parts = parts
        self._teller = Teller(parts)
        self._reads_at_once = reads_at_once
        self._rounds: dict[AccountId, _Round] = {}  # not begun
        self._in_hand: set[AccountId] = set()
        self._due: asyncio.Queue[AccountId] = asyncio.Queue()
        self._seen: asyncio.Queue[tuple[Sighting, asyncio.Future[Served]]] = asyncio.Queue()

    async def run(self) -> None:
        """Read and tell, for ever. What escapes is Fatal, or a bug."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell())
            for _ in range(self._reads_at_once):
                tasks.create_task(self._read())

    async def serve(self, account_ids: Collection[AccountId], *, ledger: Ledger) -> Mapping[AccountId, Served]:
        """What became of each wallet, read in this ledger or later, when everything is acked. Whoever stops waiting
        leaves the reads to go on. Busy when there is no room to wait.
        """
        if len(self._rounds) + len(account_ids) > WAITING_MAX:
            raise Busy(f"{len(self._rounds)} wallets wait to be read")
        rounds = {account_id: self._round(account_id, ledger) for account_id in account_ids}
        if rounds:
            await asyncio.wait([each.served for each in rounds.values()])
        return {account_id: each.served.result() for account_id, each in rounds.items()}

    def _round(self, account_id: AccountId, ledger: Ledger) -> _Round:
        waiting = self._rounds.get(account_id)
        if waiting is None:
            waiting = self._rounds[account_id] = _Round(ledger=ledger)
            if account_id not in self._in_hand:
                self._due.put_nowait(account_id)
        waiting.ledger = max(waiting.ledger, ledger)
        return waiting

    async def _read(self) -> None:
        while True:
            account_id = await self._due.get()
            this = self._rounds.pop(account_id)
            self._in_hand.add(account_id)
            touch = Touch(at_least=this.ledger, snapshot_type=SnapshotType.WEBHOOK, drain=0)
            try:
                [sighting] = await self._teller.read([(account_id, touch)], seconds=READ_WITHIN_S)
            except Unavailable as unavailable:
                log.warning("wallet not read", account_id=account_id, reason=str(unavailable))
                this.served.set_result(Served.AWAY)
            else:
                self._seen.put_nowait((sighting, this.served))
                await asyncio.wait([this.served])
            self._in_hand.discard(account_id)
            if account_id in self._rounds:
                self._due.put_nowait(account_id)

    async def _tell(self) -> None:
        """One portion at a time: facts of one wallet leave in the order of their reads."""
        await self._parts.publisher.connect()
        while True:
            portion = [await self._seen.get()]
            while not self._seen.empty() and len(portion) < TOLD_AT_ONCE:
                portion.append(self._seen.get_nowait())
            served = await self._told([sighting for sighting, _ in portion])
            for sighting, waiting in portion:
                waiting.set_result(served.get(sighting.account_id, Served.REFUSED))

    async def _told(self, sightings: list[Sighting]) -> dict[AccountId, Served]:
        try:
            told = await self._teller.tell(sightings)
        except (Unavailable, Away) as error:
            log.warning("facts not told", wallets=len(sightings), reason=str(error))
            return {each.account_id: Served.AWAY for each in sightings}
        return {each.state.account_id: _SERVED[each.verdict] for each in told}


_SERVED: Final = {
    Verdict.FACT: Served.PUBLISHED,
    Verdict.DUPLICATE: Served.UNCHANGED,
    Verdict.LATER: Served.AWAY,
}
