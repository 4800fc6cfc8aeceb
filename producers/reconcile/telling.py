"""Telling the states that were read of many wallets, in portions, until the brokers have acked them."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from producers.command import OPEN_S_MIN
from producers.facts import Verdict
from producers.parts import Parts
from producers.patience import Patience
from producers.reader import Sighting
from producers.reconcile.states import Read
from producers.telling import Teller
from producers.wallet import Touch
from schema.balance_event import SnapshotType
from schema.stellar import AccountId, Ledger

TOLD_AT_ONCE: Final = 200  # a few minutes' requests of the public Horizon's, where each needs its movements
_TOUCH: Final = Touch(at_least=Ledger(1), snapshot_type=SnapshotType.POLL, drain=0)


class Telling:
    """Counts what became of them."""

    def __init__(self, parts: Parts, *, patience_s: float) -> None:
        self.published = 0
        self.stored_already = 0
        self.refused = 0
        self._parts = parts
        self._patience_s = patience_s
        self._teller = Teller(parts, acks_within_s=max(patience_s, OPEN_S_MIN))

    async def tell(self, reads: Sequence[Read]) -> list[AccountId]:
        """Returns when every fact is acked; those of which nothing can be told yet. Unavailable or Away when something
        stays away for longer than the patience: nothing is lost, what was told may be told again.
        """
        later: list[AccountId] = []
        for start in range(0, len(reads), TOLD_AT_ONCE):
            later += await self._tell(reads[start : start + TOLD_AT_ONCE])
        return later

    async def _tell(self, reads: Sequence[Read]) -> list[AccountId]:
        sightings = [
            Sighting(
                account_id=read.account_id,
                touch=_TOUCH,
                read_at=self._parts.clock(),
                state=read.state,
                fault=read.fault,
            )
            for read in reads
        ]
        told = await Patience(self._patience_s).answer(partial(self._teller.tell, sightings))
        self.published += sum(each.verdict is Verdict.FACT for each in told)
        self.stored_already += sum(each.verdict is Verdict.DUPLICATE for each in told)
        self.refused += sum(read.fault is not None for read in reads)
        return [each.state.account_id for each in told if each.verdict is Verdict.LATER]
