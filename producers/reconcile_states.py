"""The states of many wallets, each at least as new as it must be, in the way that costs the fewest requests."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from producers.reconcile_patience import Patience
from producers.source import Source, State, Unavailable
from schema.stellar import AccountId, Asset, Ledger, Malformed

AT_ONCE: Final = 10_000  # given to the source together: enough for whole pages of holders, few enough for memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A wallet's state; or, instead, what made no sense about it."""

    account_id: AccountId
    state: State | None
    fault: Malformed | None = None


async def read_states(
    source: Source, asset: Asset, wanted: Mapping[AccountId, Ledger], *, patience_s: float
) -> AsyncIterator[Read]:
    """Each of these once, in no order, in its ledger or later: what a replica tells that is behind is asked for again.
    Unavailable when the source stays away, or behind, for longer than the patience: what did not come is left to ask.
    """
    left = dict(wanted)
    patience = Patience(patience_s)
    while left:
        behind: set[AccountId] = set()
        try:
            async for state in source.states(sorted(left), asset):
                if state.observed < left.get(state.account_id, state.observed):
                    behind.add(state.account_id)
                elif left.pop(state.account_id, None) is not None:
                    patience.restore()
                    yield Read(account_id=state.account_id, state=state)
            for account_id in [each for each in left if each not in behind]:
                found = await _read_one(source, account_id, asset)
                if found.state is not None and found.state.observed < left[account_id]:
                    continue
                del left[account_id]
                yield found
        except Unavailable as unavailable:
            await patience.wait(unavailable)
            continue
        if left:
            newest = max(left.values())
            await patience.wait(Unavailable(f"{len(left)} wallets are not shown as of ledger {newest} or later yet"))


async def _read_one(source: Source, account_id: AccountId, asset: Asset) -> Read:
    """One that was left out among many: asked alone, it is said what makes no sense about it."""
    try:
        return Read(account_id=account_id, state=await source.state(account_id, asset))
    except Malformed as malformed:
        return Read(account_id=account_id, state=None, fault=malformed)
