"""An executor's whole surroundings in one process: a Horizon, its folder, and a list of what it published."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import aiohttp

from sandbox import world
from sandbox.chain_operations import Payment
from sandbox.executor_core import Carrier, Rules
from sandbox.executor_horizon import HorizonClient
from sandbox.executor_signing import signing
from sandbox.executor_store import Acceptance, Store
from sandbox.horizon import Horizon
from sandbox.horizon_instance import Options
from schema import deposit_command
from schema.deposit_command import DepositCommand
from schema.deposit_result import DepositResult
from schema.stellar import AccountId, Ledger, Network, Stroops

UNIT = 10_000_000
LEDGER_S = 0.02
NAMESPACE = UUID("3b0a6a53-52d5-4b0a-8c1f-2f3f0f0f0f01")


class Clock:
    """Time that can be put forward."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += timedelta(seconds=seconds)


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """What outlives the executor: the chain, its folder, the topic of results."""

    horizon: Horizon
    session: aiohttp.ClientSession
    folder: Path
    clock: Clock
    rules: Rules
    published: list[tuple[AccountId, bytes]] = field(default_factory=list)
    commands: int = 0

    def account_id(self, wallet: int) -> AccountId:
        return self.horizon.people.wallets[wallet].account_id

    def command(self, *, wallet: int = 0, units: int = 10, **changed: Any) -> DepositCommand:
        """A command to deposit so much from a wallet, with anything in it changed."""
        self.commands += 1
        issued_at = self.clock()
        fields: dict[str, Any] = {
            "command_id": uuid5(NAMESPACE, str(self.commands)),
            "previous_command_id": None,
            "user_id": uuid4(),
            "wallet_id": uuid4(),
            "account_id": self.account_id(wallet),
            "network": Network.TESTNET,
            "asset": self.horizon.people.asset,
            "vault_address": self.horizon.people.vault.account_id,
            "amount_stroops": Stroops(units * UNIT),
            "balance_stroops": Stroops(100 * UNIT),
            "reserve_stroops": Stroops(0),
            "ledger": Ledger(self.horizon.chain.latest.sequence),
            "caused_by": str(uuid4()),
            "snapshot_id": uuid4(),
            "issued_at": issued_at,
            "expires_at": issued_at + timedelta(seconds=300),
        }
        return DepositCommand(**fields | changed)

    async def publish(self, account_id: AccountId, _result: DepositResult, content: bytes) -> None:
        self.published.append((account_id, content))

    def client(self) -> HorizonClient:
        return HorizonClient(self.session, self.horizon.url)

    def carrier(self, memory: Any, *, chain: Any = None, publish: Any = None) -> Carrier:
        """An executor's core over these surroundings."""
        secrets = {key.account_id: key.secret for key in self.horizon.people.wallets}
        return Carrier(
            memory=memory,
            chain=chain or self.client(),
            sign=signing(self.rules.network, secrets.get),
            publish=publish or self.publish,
            rules=self.rules,
        )

    async def carry_out(self, command: DepositCommand) -> DepositResult:
        """Deliver a command to an executor that starts for it and ends with it."""
        with Store(self.folder) as store:
            acceptance = store.accept(command.command_id, command.account_id, deposit_command.encode(command))
            assert acceptance is not Acceptance.CONTRADICTION
            return await self.carrier(store).carry_out(command.command_id)

    def deposits(self, wallet: int = 0) -> list[int]:
        """What the wallet has paid to the vault, in stroops, oldest first."""
        found = [
            change.entry.operation.stroops
            for change in self.horizon.chain.changes_of(self.account_id(wallet))
            if isinstance(change.entry.operation, Payment)
            and change.entry.operation.to == self.horizon.people.vault.account_id
            and change.posting.stroops < 0
        ]
        return [int(stroops) for stroops in reversed(found)]


@asynccontextmanager
async def surroundings(
    folder: Path, *, wallets: int = 1, submit_timeout_s: float = 30.0, closing: bool = True
) -> AsyncIterator[Surroundings]:
    """A chain whose ledgers close quickly, with wallets that hold 100 each."""
    clock = Clock()
    chain, people = world.build(seed=7, wallets=wallets, started_at=clock(), wallet_stroops=Stroops(100 * UNIT))
    options = Options(stream_check_s=0, submit_timeout_s=submit_timeout_s)
    async with Horizon(chain, people, options=options, clock=clock) as horizon, aiohttp.ClientSession() as session:
        if closing:
            horizon.close_every(LEDGER_S)
        rules = Rules(network=Network.TESTNET, asset=people.asset, vault_address=None, retry_s=0.02)
        yield Surroundings(horizon=horizon, session=session, folder=folder, clock=clock, rules=rules)


async def until(condition: Callable[[], object]) -> None:
    """Return when the condition holds; TimeoutError when it does not in time."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - nobody tells a test when
            await asyncio.sleep(LEDGER_S / 2)


async def ledgers_later(horizon: Horizon, count: int = 1) -> None:
    """Return when so many more ledgers have closed."""
    wanted = horizon.chain.latest.sequence + count
    await until(lambda: horizon.chain.latest.sequence >= wanted)
