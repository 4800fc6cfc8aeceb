"""A poller over a scene, and what the database and the chain say of its wallets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from producers.parts import Parts
from producers.poll import round as poll_round
from producers.poll.poller import Poll, PollPace
from producers.poll.store import PollStore
from producers.progress import Steps
from tests.integration.producers.scene import UNIT, Scene, until_true

WALLETS = 10
PORTION_WALLETS = 4  # so that a round of them has three portions


@dataclass(kw_only=True)
class Polling:
    """A poller, and what it is made of."""

    poll: Poll
    parts: Parts
    store: PollStore

    async def once(self, *, patience_s: float = 20.0) -> Mapping[str, Any]:
        return await self.poll.once(patience_s=patience_s)


@asynccontextmanager
async def polling(scene: Scene, *, interval_s: float = 3600.0, rpc: bool = False) -> AsyncIterator[Polling]:
    """A poller that nobody runs yet; by Stellar RPC instead of Horizon."""
    with pytest.MonkeyPatch.context() as patch:
        async with scene.parts(rpc=rpc) as parts:
            store = await PollStore.open(scene.database_url)
            patch.setattr(poll_round, "PORTION_WALLETS", PORTION_WALLETS)
            try:
                poll = Poll(parts, store, PollPace(interval_s=interval_s), Steps(console=None))
                yield Polling(poll=poll, parts=parts, store=store)
            finally:
                await store.close()


@asynccontextmanager
async def running(scene: Scene, *, interval_s: float = 3600.0) -> AsyncIterator[Polling]:
    """A poller that runs for the length of the block."""
    async with polling(scene, interval_s=interval_s) as here:
        task = asyncio.create_task(here.poll.run())
        try:
            yield here
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def add_all(scene: Scene) -> None:
    for wallet in range(WALLETS):
        await scene.add_wallet(wallet)


async def balances(scene: Scene) -> dict[str, tuple[int, int]]:
    """What is stored: account to version and stroops."""
    rows = await scene.connection.fetch(
        "select public_key, balance_ledger, previous_usdc_balance from public.stellar_wallets"
    )
    return {row[0]: (row[1], int(row[2] * UNIT)) for row in rows if row[1] is not None}


def on_chain(scene: Scene) -> dict[str, tuple[int, int]]:
    """What the chain has, in the same form."""
    found: dict[str, tuple[int, int]] = {}
    for wallet in range(WALLETS):
        account = scene.chain.state.account(scene.account(wallet))
        assert account is not None
        line = account.trustlines[scene.people.asset]
        found[scene.account(wallet)] = (line.last_modified_ledger, line.balance_stroops)
    return found


async def until_stored(scene: Scene) -> None:
    async def equal() -> bool:
        return await balances(scene) == on_chain(scene)

    await until_true(equal, what="the database equals the chain")


async def commands(scene: Scene) -> list[Decimal]:
    """The amounts that were commanded, in order."""
    rows = await scene.connection.fetch("select amount from public.deposit_commands order by position")
    return [row[0] for row in rows]
