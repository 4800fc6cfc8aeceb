"""From what was read to what is told: which sightings are facts, and what their movements may claim.

| the wallet                        | what is told                                                                 |
|-----------------------------------|------------------------------------------------------------------------------|
| no stored fact                    | its baseline: no movements claimed, whatever the version                     |
| a version beyond what was drained | nothing yet: its payments are not all read                                   |
| an older version than the floor   | nothing yet: a replica that is behind; nothing at all if it is not           |
| the floor's version, or absent as before | nothing, it is a duplicate; unless somebody asked                     |
| a newer version                   | the fact, with every movement after the floor: those the stream collected    |
|                                   | and, for ledgers it did not see, those of the account's own history, which   |
|                                   | must add up to the change or be shown to be whole; nothing yet if not        |
"""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Final

import structlog

from producers import answers
from producers.account_history import Filling
from producers.answers import Answer
from producers.parts import Parts
from producers.reader import Sighting
from producers.source import State, Unavailable
from producers.wallet import Stored, Wallet
from producers.wallets import MOVEMENTS_MAX
from schema import balance_event
from schema.balance_event import BalanceEvent, Movement, SnapshotType
from schema.stellar import AccountId, Ledger

log = structlog.get_logger(__name__)


class Verdict(Enum):
    """What becomes of a sighting."""

    FACT = "fact"
    DUPLICATE = "duplicate"
    LATER = "later"  # it stays due


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A sighting and what becomes of it."""

    sighting: Sighting
    state: State
    verdict: Verdict
    event: BalanceEvent | None = None

    @property
    def answer(self) -> Answer:
        """What a request for this read is answered with, once the fact is acked."""
        if self.event is not None:
            return answers.told(self.event)
        return answers.refused(f"ledger {self.state.version} is older than what was told of this wallet before")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """Every movement in ledgers after `since`; None: not known."""

    since: Ledger | None
    movements: tuple[Movement, ...] | None
    filled: bool = False
    baseline: bool = False


_NO_CLAIM: Final = _Claim(since=None, movements=None)
_BASELINE: Final = _Claim(since=None, movements=None, baseline=True)


def judge(state: State, wallet: Wallet, stored: Stored | None, *, forced: bool, drained: Ledger) -> Verdict:
    """Which row of the table above. `stored` is given where the floor was just taken from it."""
    floor = wallet.floor
    if floor is None:
        return Verdict.FACT
    if state.version < floor:
        return Verdict.LATER if state.observed < floor else Verdict.DUPLICATE
    same = wallet.absent if state.is_absence else state.version == floor
    contradicts = stored is not None and not state.is_absence and stored.balance_stroops != state.balance_stroops
    if same and not forced and not contradicts:
        return Verdict.DUPLICATE
    return Verdict.FACT if state.version <= drained else Verdict.LATER


class Facts:
    """Turns sightings into facts; asks the database for floors, and the source for what the stream did not see."""

    def __init__(self, parts: Parts, *, movements_max: int = MOVEMENTS_MAX) -> None:
        self._source, self._store = parts.source, parts.store
        self._network, self._asset = parts.network, parts.asset
        self._metrics = parts.metrics
        self._movements_max = movements_max
        self._filling = Filling(parts.source, parts.asset, movements_max=movements_max)

    async def tell(self, sightings: Sequence[tuple[Sighting, State, Wallet]], *, drained: Ledger) -> list[Told]:
        """What becomes of each. Sets the floors of wallets that this process tells of for the first time. Unavailable
        or Away when the source or the database is: nothing is lost, ask again.
        """
        rows = await self._stored(sightings)
        found: list[Told] = []
        claims: list[Awaitable[_Claim | None]] = []
        for sighting, state, wallet in sightings:
            row = rows.get(sighting.account_id)
            is_first = wallet.floor is None
            if is_first and row is None:
                found.append(Told(sighting=sighting, state=state, verdict=Verdict.DUPLICATE))  # nobody's wallet now
                continue
            if is_first and row is not None and row.version is not None:
                wallet.floor, wallet.absent = row.version, row.absent
            forced = sighting.touch.is_forced
            verdict = judge(state, wallet, row if is_first else None, forced=forced, drained=drained)
            found.append(Told(sighting=sighting, state=state, verdict=verdict))
            if verdict is Verdict.FACT:
                claims.append(self._claim(state, wallet, row))
        claimed = iter(await self._still_true(await asyncio.gather(*claims)))
        return [await self._with_event(told, next(claimed)) if told.verdict is Verdict.FACT else told for told in found]

    async def _stored(self, sightings: Sequence[tuple[Sighting, State, Wallet]]) -> dict[AccountId, Stored]:
        """What is stored of the wallets whose floor or whose fill rests on it."""
        wanted = [
            sighting.account_id
            for sighting, _, wallet in sightings
            if wallet.floor is None or wallet.floor < wallet.complete_since
        ]
        return await self._store.stored(wanted, self._network) if wanted else {}

    async def _with_event(self, told: Told, claim: _Claim | None) -> Told:
        if claim is None:
            return replace(told, verdict=Verdict.LATER)
        closed_at = await self._source.closed_at(told.state.observed)
        return replace(told, event=self._event(told.sighting, told.state, closed_at, claim))

    async def _claim(self, state: State, wallet: Wallet, stored: Stored | None) -> _Claim | None:
        """None: the source did not answer, or is behind."""
        since = wallet.floor
        if since is None:
            return _BASELINE
        collected_after = max(since, wallet.complete_since)
        collected = [each for each in wallet.pending if collected_after < each.ledger <= state.version]
        filled: tuple[Movement, ...] | None = ()
        up_to = min(wallet.complete_since, state.version)
        if since < up_to:
            change_stroops = None
            if stored is not None and stored.version == since:
                change_stroops = state.balance_stroops - stored.balance_stroops
                change_stroops -= sum(each.amount_stroops for each in collected)
            try:
                filled = await self._filling.movements(
                    state.account_id, after=since, up_to=up_to, change_stroops=change_stroops
                )
            except Unavailable as unavailable:
                log.warning("movements not known yet", account_id=state.account_id, reason=str(unavailable)[:300])
                return None
        if filled is None or len(filled) + len(collected) > self._movements_max:
            self._metrics.claims_unknown.inc()
            return _NO_CLAIM
        try:
            sourced = await self._source.sourced(state.account_id, (*filled, *collected))
        except Unavailable as unavailable:
            log.warning("sources not known yet", account_id=state.account_id, reason=str(unavailable)[:300])
            return None
        if sourced is None:
            self._metrics.claims_unknown.inc()
            return _NO_CLAIM
        return _Claim(since=since, movements=tuple(sourced), filled=since < up_to)

    async def _still_true(self, claims: Sequence[_Claim | None]) -> list[_Claim | None]:
        """What was filled is whole only if the history still had its first ledger when it had been read: an older
        cursor is silently moved to where the history begins.
        """
        if not any(claim is not None and claim.filled for claim in claims):
            return list(claims)
        elder = (await self._source.history()).elder
        kept: list[_Claim | None] = []
        for claim in claims:
            lost = claim is not None and claim.filled and claim.since is not None and claim.since + 1 < elder
            self._metrics.claims_unknown.inc(int(lost))
            kept.append(_NO_CLAIM if lost else claim)
        return kept

    def _event(self, sighting: Sighting, state: State, observed_at: datetime, claim: _Claim) -> BalanceEvent:
        snapshot_type = sighting.touch.snapshot_type
        if claim.baseline and snapshot_type is SnapshotType.WEBHOOK:
            snapshot_type = SnapshotType.POLL  # a first sight is no answer to the payment that happened to come first
        return balance_event.fact(
            snapshot_type=snapshot_type,
            network=self._network,
            account_id=state.account_id,
            asset=self._asset,
            balance_stroops=state.balance_stroops,
            authorized=state.authorized,
            ledger=state.version,
            observed_ledger=state.observed,
            observed_at=observed_at,
            movements_since=claim.since,
            movements=claim.movements,
        )
