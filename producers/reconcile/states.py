"""The states of many wallets, each at least as new as it must be, in the way that costs the fewest requests."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from producers.patience import Patience
from producers.source import Source, State, Unavailable
from schema.stellar import AccountId, Asset, Ledger, Malformed

AT_ONCE: Final = 10_000  # given to the source together: enough for whole pages of holders, few enough for memory
UNREAD_MAX: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A wallet's state; or, instead, what made no sense about it; or why it alone cannot be read."""

    account_id: AccountId
    state: State | None = None
    fault: Malformed | None = None
    away: Unavailable | None = None


async def read_states(
    source: Source, asset: Asset, wanted: Mapping[AccountId, Ledger], *, patience_s: float
) -> AsyncGenerator[Read, None]:
    """Each of these once, in no order, in its ledger or later: what a replica tells that is behind is asked for again.
    Unavailable when the source stays away, or behind, for longer than the patience. A few wallets that cannot be read
    while all others can do not end it: they come last, each with the reason.
    """
    left = dict(wanted)
    patience = Patience(patience_s)
    while left:
        try:
            async with aclosing(_read_once(source, asset, left)) as found:
                async for read in found:
                    del left[read.account_id]
                    patience.restore()
                    yield read
            reason = Unavailable(f"{len(left)} wallets are not shown as of ledger {max(left.values(), default=0)} yet")
        except Unavailable as unavailable:
            reason = unavailable
        if left and patience.is_over() and len(left) <= UNREAD_MAX and await _answers(source):
            break
        if left:
            await patience.wait(reason)
    for account_id in left:
        yield Read(account_id=account_id, away=reason)


async def _read_once(source: Source, asset: Asset, wanted: Mapping[AccountId, Ledger]) -> AsyncGenerator[Read, None]:
    """Those of these that can be had now, and are new enough."""
    told: set[AccountId] = set()
    async for state in source.states(sorted(wanted), asset):
        told.add(state.account_id)
        if state.account_id in wanted and state.observed >= wanted[state.account_id]:
            yield Read(account_id=state.account_id, state=state)
    for account_id in [each for each in wanted if each not in told]:
        read = await _read_one(source, account_id, asset)
        if read.state is None or read.state.observed >= wanted[account_id]:
            yield read


async def _answers(source: Source) -> bool:
    try:
        await source.history()
    except Unavailable:
        return False
    return True


async def _read_one(source: Source, account_id: AccountId, asset: Asset) -> Read:
    """One that was left out among many: asked alone, it is said what makes no sense about it."""
    try:
        return Read(account_id=account_id, state=await source.state(account_id, asset))
    except Malformed as malformed:
        return Read(account_id=account_id, fault=malformed)
