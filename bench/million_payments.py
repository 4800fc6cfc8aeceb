"""Payments to some of a million wallets while something else is measured, and how late each was recorded."""

import asyncio
import time
from datetime import datetime
from random import Random
from statistics import median
from typing import Any, Final

import asyncpg

from bench.million_world import LOOK_S, World

PAID_AT_ONCE: Final = 10
PAY_EVERY_S: Final = 2.0
RECORDED_WITHIN_S: Final = 120.0


class Payments:
    """Pays wallets while something else is measured, each of them once; then says how late they were recorded."""

    def __init__(self, world: World, seed: int) -> None:
        self._world, self._random = world, Random(seed)
        self._paid: dict[str, None] = {}
        self.first_ledger = 0

    async def run(self) -> None:
        while True:
            await self.pay(PAID_AT_ONCE)
            await asyncio.sleep(PAY_EVERY_S)

    async def pay(self, count: int) -> None:
        """In the next ledger."""
        people = self._world.people
        chosen: list[str] = []
        while len(chosen) < count:
            number = self._random.randrange(people.count)
            account_id = people.account_id(number)
            if not people.is_absent(number) and account_id not in self._paid:
                self._paid[account_id] = None
                chosen.append(account_id)
        await self._world.ask("/sandbox/pay", [{"to": each, "amount": "1.0000000"} for each in chosen])

    async def closed(self) -> None:
        """Return when the ledger that they are in has closed."""
        first = (await self._world.ask("/"))["history_latest_ledger"]
        while (await self._world.ask("/"))["history_latest_ledger"] == first:  # noqa: ASYNC110 - Horizon's, not ours
            await asyncio.sleep(LOOK_S)

    async def end(self) -> None:
        """Return when all of them are recorded."""
        ends_at = time.monotonic() + RECORDED_WITHIN_S
        while len(await self._rows()) < len(self._paid):
            assert time.monotonic() < ends_at, f"{len(await self._rows())} of {len(self._paid)} payments are recorded"
            await asyncio.sleep(LOOK_S)

    async def late(self) -> dict[str, Any]:
        """Seconds from the close of the payment's ledger until it was recorded, those that were told of one by one, and
        those that came before the wallet's baseline and are in it.
        """
        rows = await self._rows()
        closed = {
            int(each): datetime.fromisoformat(at) for each, at in (await self._world.ask("/sandbox/ledgers")).items()
        }
        late_s = sorted((row[1] - closed[row[0]]).total_seconds() for row in rows)
        return {
            "paid": len(self._paid),
            "recorded": len(late_s),
            "by_baseline": sum(row[2] == "poll" for row in rows),
            "median_s": round(median(late_s), 2),
            "p99_s": round(late_s[int(0.99 * (len(late_s) - 1))], 2),
            "longest_s": round(late_s[-1], 2),
        }

    async def _rows(self) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self._world.connection.fetch(
            "select s.ledger, s.created_at, s.snapshot_type from public.balance_snapshots s "
            "join public.stellar_wallets w on w.id = s.wallet_id "
            "where w.public_key = any($1::text[]) and s.ledger > $2",
            list(self._paid),
            self.first_ledger,
        )
        return rows

    async def begin(self) -> None:
        """Payments are looked for behind this ledger."""
        self.first_ledger = (await self._world.ask("/"))["history_latest_ledger"]
