"""Reading chosen wallets and telling what they hold, for every producer that is not the stream.

Nothing is remembered from one telling to the next: what may be claimed follows from what the database holds, and the
movements come from the account's own history, after the stored version. So a poll, a webhook and the stream say the
same fact of the same state, whoever is first.
"""

import asyncio
from collections.abc import Sequence
from math import inf, isinf
from typing import Final

from producers import answers
from producers.clock import wait_about
from producers.dead_letters import state_letter
from producers.facts import Facts, Told, Verdict
from producers.marks import publish
from producers.parts import Parts
from producers.patience import OutOfPatience
from producers.reader import READS_AT_ONCE, Reader, Sighting
from producers.source import Unavailable
from producers.wallet import Touch, Wallet
from schema.stellar import LEDGER_MAX, AccountId, Ledger

LAGGING_ASKED_MAX: Final = 6
LAGGING_WAIT_S: Final = 0.1


class Teller:
    """Reads, tells, and returns only when every fact is acked. Unavailable or Away: ask again, nothing is lost. The
    brokers are waited for as long as it takes, or for `acks_within_s`: OutOfPatience.
    """

    def __init__(
        self, parts: Parts, *, reads_at_once: int = READS_AT_ONCE, faults_max: int = 0, acks_within_s: float = inf
    ) -> None:
        self._parts = parts
        self._reads_at_once = reads_at_once
        self._faults_max = faults_max
        self._acks_within_s = acks_within_s
        self._latest = Ledger(0)  # the newest ledger of which the source's history was seen
        self._facts = Facts(parts)

    async def read(self, wanted: Sequence[tuple[AccountId, Touch]], *, seconds: float) -> list[Sighting]:
        """The states of these wallets, each at least as new as its touch asks for; Unavailable when one is missing."""
        sightings = await self.read_some(wanted, seconds=seconds)
        if len(sightings) < len(wanted):
            raise Unavailable(f"{len(wanted) - len(sightings)} of {len(wanted)} wallets could not be read")
        return sightings

    async def read_some(self, wanted: Sequence[tuple[AccountId, Touch]], *, seconds: float) -> list[Sighting]:
        """The same, of as many as can be read in the time."""
        reader = Reader(
            self._parts, wake=asyncio.Event(), reads_at_once=self._reads_at_once, faults_max=self._faults_max
        )
        try:
            return await reader.read(wanted, seconds=seconds)
        finally:
            reader.close()

    async def tell(self, sightings: Sequence[Sighting]) -> list[Told]:
        """What became of each sighting that has a state; facts are acked. Those without one are dead letters. The
        requests that the sightings answer are done.
        """
        seen = [(each, each.state, Wallet(complete_since=Ledger(LEDGER_MAX))) for each in sightings if each.state]
        await self._await_history(max((state.version for _, state, _ in seen), default=Ledger(0)))
        told = await self._facts.tell(seen, drained=Ledger(LEDGER_MAX))
        await self._publish(told)
        await self._keep_faults(sightings)
        await self._answer(told, sightings)
        return told

    async def _publish(self, told: Sequence[Told]) -> None:
        try:
            async with asyncio.timeout(None if isinf(self._acks_within_s) else self._acks_within_s):
                await publish(told, self._parts)
        except TimeoutError:
            raise OutOfPatience(f"the brokers acked nothing for {self._acks_within_s:g} s") from None

    async def _answer(self, told: Sequence[Told], sightings: Sequence[Sighting]) -> None:
        said = {
            request: each.answer
            for each in told
            if each.verdict is not Verdict.LATER  # not done: it stays open, and is asked for again
            for request in each.sighting.touch.requests
        }
        said |= {
            request: answers.refused(each.fault)
            for each in sightings
            if each.fault is not None
            for request in each.touch.requests
        }
        if said:
            await self._parts.store.finish_requests(said)

    async def _await_history(self, ledger: Ledger) -> None:
        """Return when the history has the ledger: an account's payments up to it can be read then."""
        wait_s = LAGGING_WAIT_S
        for _ in range(LAGGING_ASKED_MAX):
            if ledger <= self._latest:
                return
            self._latest = max(self._latest, (await self._parts.source.history()).latest)
            if ledger > self._latest:
                await wait_about(wait_s)
                wait_s *= 2
        if ledger > self._latest:
            raise Unavailable(f"the history ends with ledger {self._latest}, and a state is of {ledger}")

    async def _keep_faults(self, sightings: Sequence[Sighting]) -> None:
        letters = [
            state_letter(each.account_id, network=self._parts.network, fault=each.fault)
            for each in sightings
            if each.fault is not None
        ]
        if letters:
            self._parts.metrics.refused.inc(len(letters))
            await self._parts.store.keep_dead_letters(letters)
