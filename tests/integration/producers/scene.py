"""A small world for one test: a chain behind a Horizon, a database with wallets, a topic, and streams over them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

import aiohttp
import asyncpg
from aiokafka import AIOKafkaConsumer

from producers.answers import Answer
from producers.asking import open_session
from producers.budget import Budget
from producers.horizon import Horizon as Source
from producers.metrics import Metrics
from producers.parts import Pace, Parts
from producers.publisher import Publisher
from producers.rpc.source import Rpc
from producers.start import Wish
from producers.store import Store
from producers.stream import Stream
from sandbox import world
from sandbox.chain import Chain
from sandbox.horizon import Horizon
from sandbox.world import Cast
from schema import balance_event
from schema.balance_event import BalanceEvent
from schema.service.readiness import Readiness
from schema.service.settings import KafkaSettings
from schema.stellar import AccountId, Network
from tests.topics import acked
from tests.waiting import until

UNIT = 10_000_000
DEADLINE_S = 60.0
PACE = Pace(idle_drain_s=20.0, wallets_refresh_s=20.0)


@dataclass(kw_only=True)
class Running:
    """A stream that runs in this process."""

    task: asyncio.Task[None]
    parts: Parts

    async def stop(self) -> None:
        """End it as SIGTERM would; whatever it failed with is raised."""
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


@dataclass(kw_only=True)
class Scene:
    """Everything a stream meets."""

    horizon: Horizon
    connection: asyncpg.Connection
    database_url: str
    kafka: KafkaSettings
    topic: str
    consumer: AIOKafkaConsumer
    facts: list[BalanceEvent] = field(default_factory=list)  # as they lie in the topic
    url: str = ""  # of the Horizon, where the way there is not the direct one

    @property
    def chain(self) -> Chain:
        return self.horizon.chain

    @property
    def people(self) -> Cast:
        return self.horizon.people

    def account(self, wallet: int) -> AccountId:
        return self.people.wallets[wallet].account_id

    def pay(self, wallet: int, units: int, *, payer: int = 0) -> None:
        """Enqueue a payment of whole units to one of the wallets."""
        world.pay(self.chain, self.people, self.account(wallet), units * UNIT, payer=payer)

    def close(self) -> int:
        """Close a ledger; its number."""
        return self.horizon.close_ledger().sequence

    async def add_wallet(self, wallet: int, *, network: str = "testnet") -> UUID:
        """Give one of the chain's wallets a row."""
        return await self.add_account(self.account(wallet), network=network)

    async def add_account(self, account_id: AccountId | None, *, network: str = "testnet") -> UUID:
        """Give an account a row, whether the chain has it or not; None: a row without an address."""
        user_id, wallet_id = uuid4(), uuid4()
        await self.connection.execute("insert into auth.users (id) values ($1)", user_id)
        await self.connection.execute(
            "insert into public.stellar_wallets (id, user_id, public_key, network) values ($1, $2, $3, $4)",
            wallet_id,
            user_id,
            account_id,
            network,
        )
        return wallet_id

    async def store(self, event: BalanceEvent) -> None:
        """Record a fact as the consumer does, as far as producers see it."""
        await self.connection.execute(
            """update public.stellar_wallets
               set balance_ledger = $2, previous_usdc_balance = $3::numeric / 10000000, balance_authorized = $4
               where public_key = $1 and coalesce(balance_ledger, 0) < $2""",
            event.account_id,
            event.ledger,
            event.balance_stroops,
            event.authorized,
        )

    async def request(self, wallet_id: UUID, snapshot_type: str = "manual") -> UUID:
        """Ask for a read, as a person or the consumer does."""
        request_id = uuid4()
        await self.connection.execute(
            "insert into public.read_requests (id, wallet_id, snapshot_type) values ($1, $2, $3)",
            request_id,
            wallet_id,
            snapshot_type,
        )
        return request_id

    async def answer(self, request_id: UUID) -> Answer:
        """What a request was answered with, once it is done."""
        query = """select event_id, ledger, observed_ledger, (balance * 10000000)::bigint as balance_stroops, refused
                   from public.read_requests where id = $1 and done_at is not null"""
        row = await until(lambda: self.connection.fetchrow(query, request_id), "the request is done")
        return Answer(**row)

    async def saved_ledger(self, stream: str = "stream") -> int | None:
        """The ledger of the saved cursor."""
        found: int | None = await self.connection.fetchval(
            "select ledger from public.stream_cursors where stream_name = $1", stream
        )
        return found

    @asynccontextmanager
    async def parts(
        self, *, kafka: KafkaSettings | None = None, silence_s_max: float = 70.0, rpc: bool = False
    ) -> AsyncIterator[Parts]:
        """What a stream is put together from, with this world behind it; by its Stellar RPC instead of its Horizon."""
        readiness = Readiness()
        async with open_session() as session:
            store = await Store.open(self.database_url)
            publisher = Publisher(
                kafka or self.kafka, client_id="test", source="/testnet/test", topic=self.topic, readiness=readiness
            )
            try:
                yield Parts(
                    network=Network.TESTNET,
                    asset=self.people.asset,
                    source=self._rpc(session, readiness) if rpc else self._horizon(session, readiness, silence_s_max),
                    store=store,
                    publisher=publisher,
                    readiness=readiness,
                    metrics=Metrics(),
                    clock=lambda: datetime.now(UTC),
                )
            finally:
                await publisher.close()
                await store.close()

    def _horizon(self, session: aiohttp.ClientSession, readiness: Readiness, silence_s_max: float) -> Source:
        return Source(
            session,
            self.url or self.horizon.url,
            budget=Budget(0),
            readiness=readiness,
            silence_s_max=silence_s_max,
        )

    def _rpc(self, session: aiohttp.ClientSession, readiness: Readiness) -> Rpc:
        return Rpc(
            session,
            f"{self.url or self.horizon.url}/rpc",
            network=Network.TESTNET,
            asset=self.people.asset,
            budget=Budget(0),
            readiness=readiness,
            poll_s=0.05,
        )

    @asynccontextmanager
    async def stream(
        self,
        name: str = "stream",
        *,
        wish: Wish | None = None,
        pace: Pace = PACE,
        silence_s_max: float = 70.0,
        rpc: bool = False,
    ) -> AsyncIterator[Running]:
        """A stream for the length of the block; its failure is the block's."""
        async with self.parts(silence_s_max=silence_s_max, rpc=rpc) as parts:
            task = asyncio.create_task(Stream(name, parts, pace).run(wish or Wish()))
            running = Running(task=task, parts=parts)
            try:
                yield running
            finally:
                await running.stop()

    async def facts_of(self, wallet: int) -> list[BalanceEvent]:
        """The facts told of one wallet so far: every one that was acked before this was asked."""
        await self.read()
        return [event for event in self.facts if event.account_id == self.account(wallet)]

    async def until(self, condition: Callable[[Sequence[BalanceEvent]], bool], *, what: str) -> list[BalanceEvent]:
        """Wait for facts that meet the condition; all facts so far."""
        ends_at = asyncio.get_running_loop().time() + DEADLINE_S
        while not condition(self.facts):
            assert asyncio.get_running_loop().time() < ends_at, f"not within {DEADLINE_S} s: {what}"
            await self.read()
            await asyncio.sleep(0.02)
        return self.facts

    async def until_told(self, wallet: int, *, units: int) -> BalanceEvent:
        """Wait for the fact that a wallet holds so many whole units."""
        account_id = self.account(wallet)

        def found(facts: Sequence[BalanceEvent]) -> list[BalanceEvent]:
            return [each for each in facts if each.account_id == account_id and each.balance_stroops == units * UNIT]

        await self.until(lambda facts: bool(found(facts)), what=f"wallet {wallet} holds {units}")
        return found(self.facts)[0]

    async def read(self) -> list[BalanceEvent]:
        """All facts so far: every one that was acked before this was asked."""
        self.facts += [balance_event.decode(record.value or b"") for record in await acked(self.consumer)]
        return self.facts


async def until_true(condition: Callable[[], object], *, what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait until a condition, plain or awaitable, holds."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + deadline_s
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert loop.time() < ends_at, f"not within {deadline_s} s: {what}"
        await asyncio.sleep(0.02)
