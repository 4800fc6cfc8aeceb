"""A random world to compare: a chain that keeps everything, replicas that are behind, a database that follows."""

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from producers.reconcile.differences import Row
from producers.reconcile.store import Rows
from producers.source import History, Page, State, Unavailable
from schema.stellar import AccountId, Asset, Cursor, Ledger, Network, Stroops
from tests.people import account_id
from tests.unit.producers.partial import PartialSource

FIRST = 1_000
PAGE = 5
USDC = Asset("USDC", account_id("issuer"))

Held = tuple[int, bool, int] | None  # stroops, authorized, version; None: no trustline


@dataclass(frozen=True, kw_only=True)
class Weather:
    """What may happen, and how often."""

    change: float = 0.3  # a wallet changes, per ledger
    silent: float = 0.4  # of the changes: no payment shows it
    lag: int = 3
    failing: float = 0.1
    malformed: float = 0.0  # of the records
    tampered: float = 0.0  # of the rows
    keeps: int = 10_000  # ledgers, in the history
    others: float = 0.7  # a record of somebody else, per ledger and history


@dataclass
class World:
    """The chain, its replicas, and a database that follows it a little behind."""

    rng: random.Random
    weather: Weather
    wallets: int
    held: list[list[Held]] = field(default_factory=list)  # ledger by ledger, wallet by wallet
    records: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"payments": [], "changes": []})
    recorded: list[dict[int, Row]] = field(default_factory=list)  # per wallet its facts by version
    rows: list[Row] = field(default_factory=list)
    tampered: set[int] = field(default_factory=set)
    stuck: set[int] = field(default_factory=set)  # nobody tells these any more

    def __post_init__(self) -> None:
        first: list[Held] = []
        for _ in range(self.wallets):
            first.append(self.rng.choice([None, (5, True, FIRST - 50), (7, True, FIRST - 20), (0, False, FIRST - 9)]))
            self.recorded.append({})
            self.rows.append(Row(version=None, balance_stroops=None, authorized=False))
        self.held.append(first)
        for wallet in range(self.wallets):
            self.record(wallet)

    @property
    def newest(self) -> int:
        return FIRST + len(self.held) - 1

    @property
    def elder(self) -> int:
        return max(FIRST, self.newest - self.weather.keeps)

    def close(self) -> None:
        """The next ledger."""
        before, ledger = self.held[-1], self.newest + 1
        after = list(before)
        for wallet in range(self.wallets):
            if self.rng.random() >= self.weather.change / self.wallets:
                continue
            kind = self.rng.choice(["balance", "balance", "balance", "authorized", "close", "quiet"])
            now = before[wallet]
            if kind == "close":
                after[wallet] = None
            elif kind == "quiet":
                after[wallet] = now and (now[0], now[1], ledger)
                continue  # an offer placed: no record
            elif kind == "authorized":
                after[wallet] = (now[0] if now else 0, not (now and now[1]), ledger)
            else:
                after[wallet] = (self.rng.randrange(100), True, ledger)
            is_silent = kind != "balance" or self.rng.random() < self.weather.silent
            for name in ("changes",) if is_silent else ("payments", "changes"):
                self.records[name].append(self.write(name, wallet, ledger))
        for name in ("payments", "changes"):  # the rest of the network
            if self.rng.random() < self.weather.others:
                self.records[name].append(self.write(name, -1, ledger))
        self.held.append(after)

    def write(self, name: str, wallet: int, ledger: int) -> dict[str, Any]:
        """As Horizon would; a malformed one names the wallet somewhere, or nobody."""
        number = (ledger << 32) + len(self.records[name]) + 1
        who = name_of(wallet) if wallet >= 0 else account_id("somebody")
        asset = {"asset_type": "credit_alphanum4", "asset_code": "USDC", "asset_issuer": USDC.issuer}
        common = {"id": str(number), "created_at": "2026-01-31T12:00:00Z", **asset}
        is_malformed = self.rng.random() < self.weather.malformed
        if name == "payments":
            record = {
                **common,
                "paging_token": str(number),
                "transaction_successful": True,
                "type": "payment",
                "transaction_hash": "0" * 64,
                "from": account_id("payer"),
                "to": who,
                "amount": "1.0000000",
            }
            return record | ({"amount": "1.00000001"} if is_malformed else {})
        record = {**common, "paging_token": f"{number}-1", "type": "account_credited", "account": who}
        return record | ({"account": self.rng.choice([None, f"muxed {who} or so"])} if is_malformed else {})

    def record(self, wallet: int) -> None:
        """The consumer records what a producer read of this wallet just now; tampered and stuck ones it leaves."""
        if wallet in self.tampered or wallet in self.stuck:
            return
        held = self.held[-1][wallet]
        row = Row(
            version=Ledger(held[2] if held else self.newest),
            balance_stroops=Stroops(held[0] if held else 0),
            authorized=bool(held and held[1]),
        )
        stored = self.rows[wallet]
        if stored.version is not None and row.version is not None and row.version <= stored.version:
            return
        if row.is_absence and stored.is_absence:
            return
        self.rows[wallet] = row
        if row.version is not None:
            self.recorded[wallet][row.version] = row

    def tamper(self, wallet: int) -> None:
        self.tampered.add(wallet)
        self.rows[wallet] = Row(version=self.rows[wallet].version, balance_stroops=Stroops(999), authorized=True)

    async def live(self) -> None:
        """Ledgers close, and what changed is recorded soon after."""
        while True:
            await asyncio.sleep(self.rng.uniform(0.2, 6.0))
            self.close()
            for wallet in range(self.wallets):
                if self.held[-1][wallet] != self.held[-2][wallet] or self.rng.random() < 0.1:
                    asyncio.get_running_loop().call_later(self.rng.uniform(0.0, 8.0), self.record, wallet)

    def answered_at(self) -> int:
        """The newest ledger of the replica that answers now; Unavailable when it does not."""
        if self.rng.random() < self.weather.failing:
            raise Unavailable("nobody answers")
        behind: int = self.rng.choice([0, 0, *range(self.weather.lag + 1)])
        return max(FIRST, self.newest - behind)


def name_of(wallet: int) -> AccountId:
    return account_id(f"wallet {wallet}")


class RandomSource(PartialSource):
    """The world behind a balancer."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers = {name_of(wallet): wallet for wallet in range(world.wallets)}

    async def history(self) -> History:
        await self._pause()
        latest = Ledger(self._world.answered_at())
        return History(passphrase=Network.TESTNET.passphrase, elder=Ledger(self._world.elder), latest=latest)

    async def payments(self, cursor: Cursor) -> Page:
        return await self._page("payments", cursor)

    async def changes(self, cursor: Cursor) -> Page:
        return await self._page("changes", cursor)

    async def ledger_payments(self, ledger: Ledger, cursor: Cursor | None) -> Page | None:  # noqa: ARG002
        await self._pause()
        if not self._world.elder <= ledger <= self._world.answered_at():
            return None
        found = [each for each in self._world.records["payments"] if int(each["id"]) >> 32 == ledger]
        return Page(records=found, cursor=Cursor(found[-1]["paging_token"]) if found else None, full=False)

    async def state(self, account_id: AccountId, asset: Asset, *, in_bulk: bool = False) -> State:  # noqa: ARG002
        await self._pause()
        return self._state(account_id, self._world.answered_at())

    async def states(
        self,
        account_ids: Collection[AccountId],
        asset: Asset,
        *,
        known_absent: Collection[AccountId] = (),  # noqa: ARG002
    ) -> AsyncIterator[State]:
        for each in account_ids:
            yield await self.state(each, asset)

    async def states_requests(self, accounts: int, asset: Asset) -> int:  # noqa: ARG002
        return accounts

    def _state(self, account_id: AccountId, observed: int) -> State:
        held = self._world.held[observed - FIRST][self._numbers[account_id]]
        balance, authorized, version = held or (0, False, observed)
        return State(
            account_id=account_id,
            balance_stroops=Stroops(balance),
            authorized=authorized,
            version=Ledger(version),
            observed=Ledger(observed),
        )

    async def _page(self, name: str, cursor: Cursor) -> Page:
        await self._pause()
        newest = self._world.answered_at()
        after = max(int(cursor.partition("-")[0]), self._world.elder << 32)  # silently
        found = [
            each for each in self._world.records[name] if after < int(each["id"]) and int(each["id"]) >> 32 <= newest
        ]
        page = found[:PAGE]
        return Page(records=page, cursor=Cursor(page[-1]["paging_token"]) if page else None, full=len(page) == PAGE)

    async def _pause(self) -> None:
        await asyncio.sleep(self._world.rng.choice([0.0, 0.05, 0.3, 2.0]))


class RandomRows:
    """The world's database."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers = {name_of(wallet): wallet for wallet in range(world.wallets)}

    async def rows(self, network: Network) -> AsyncIterator[Rows]:  # noqa: ARG002
        yield [(key, self._world.rows[self._numbers[key]]) for key in sorted(self._numbers)]

    async def rows_of(self, account_ids: Sequence[AccountId], network: Network) -> dict[AccountId, Row]:  # noqa: ARG002
        await asyncio.sleep(0.01)
        return {each: self._world.rows[self._numbers[each]] for each in account_ids}

    async def facts_up_to(self, wanted: Mapping[AccountId, Ledger], network: Network) -> dict[AccountId, Row]:  # noqa: ARG002
        found = {}
        for each, ledger in wanted.items():
            facts = self._world.recorded[self._numbers[each]]
            up_to = [version for version in facts if version <= ledger]
            if up_to and self._world.rows[self._numbers[each]] in facts.values():
                found[each] = facts[max(up_to)]
        return found
