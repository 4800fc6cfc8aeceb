"""A chain with Stellar RPC and Horizon before it, for tests that read it by RPC."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from producers import payments
from producers.asking import open_session
from producers.budget import Budget
from producers.horizon import Horizon
from producers.rpc.source import Rpc
from producers.source import Page, Source
from sandbox import world
from sandbox.chain import Chain
from sandbox.horizon import Horizon as Server
from sandbox.horizon_faults import Fault
from sandbox.horizon_instance import Options
from sandbox.traffic import Mix, actions
from sandbox.world import Cast
from schema.service.readiness import Readiness
from schema.stellar import AccountId, Asset, Cursor, Ledger, Network, Stroops, cursor_after_ledger

UNIT = 10_000_000
WALLETS = 6


@dataclass(kw_only=True)
class Place:
    """A chain, and both ways to read it."""

    server: Server
    rpc: Rpc
    horizon: Horizon
    readiness: Readiness

    @property
    def chain(self) -> Chain:
        return self.server.chain

    @property
    def people(self) -> Cast:
        return self.server.people

    @property
    def asset(self) -> Asset:
        return self.people.asset

    def wallet(self, number: int = 0) -> AccountId:
        return self.people.wallets[number].account_id

    def pay(self, wallet: int = 0, stroops: int = UNIT) -> None:
        world.pay(self.chain, self.people, self.wallet(wallet), stroops)

    def close(self, times: int = 1) -> Ledger:
        for _ in range(times):
            header = self.server.close_ledger()
        return Ledger(header.sequence)

    def fault(self, method: str, **fields: Any) -> None:
        """Trouble for a method of RPC."""
        self.server.faults.add(Fault(path_prefix=f"/rpc/{method}", method="POST", **fields))

    @property
    def beginning(self) -> Cursor:
        return cursor_after_ledger(Ledger(self.chain.history.elder_ledger))


@asynccontextmanager
async def placed(*, url: str = "", options: Options | None = None, seed: int = 3) -> AsyncIterator[Place]:
    chain, people = world.build(
        seed=seed, wallets=WALLETS, started_at=datetime.now(UTC), wallet_stroops=Stroops(100 * UNIT)
    )
    readiness = Readiness()
    async with Server(chain, people, options=options or Options()) as server, open_session() as session:
        rpc = Rpc(
            session,
            url or f"{server.url}/rpc",
            network=Network.TESTNET,
            asset=people.asset,
            budget=Budget(0),
            readiness=readiness,
            poll_s=0.02,
        )
        horizon = Horizon(session, server.url, budget=Budget(0), readiness=readiness)
        yield Place(server=server, rpc=rpc, horizon=horizon, readiness=readiness)


async def everything(source: Source, cursor: Cursor) -> tuple[list[Any], list[Page]]:
    """Page after page, to the end."""
    records: list[Any] = []
    pages = []
    while True:
        page = await source.payments(cursor)
        records += page.records
        pages.append(page)
        if not page.full:
            return records, pages
        assert page.cursor is not None
        cursor = page.cursor


def moves(records: Sequence[object], asset: Asset) -> list[tuple[str, str, int]]:
    """Wallet, operation and stroops of every movement, in order."""
    return [
        (account_id, movement.operation_id, int(movement.amount_stroops))
        for record in records
        for account_id, movement in payments.movements(record, asset)
    ]


async def tell_a_story(place: Place, *, seed: int, ledgers: int = 8) -> None:
    """Every kind of change, in ledgers of differing size."""
    rng = random.Random(seed)  # noqa: S311 - a story
    story = actions(place.people, seed=seed, mix=Mix(crossed=10, path=20, contract=20))
    for _ in range(ledgers):
        for _ in range(rng.randint(0, 12)):
            action = next(story)
            place.chain.enqueue(*action.operations, source=action.source)
        place.close()
