"""One small world: a database, a broker, a chain, an executor, and the errands that make everything happen in it."""

import asyncio
import contextlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

from sandbox import broker, ledger_book, ledger_evidence
from sandbox.stage import Stage
from schema import balance_event, deposit_command
from schema.balance_event import SnapshotType
from schema.service import database, kafka
from schema.service.settings import KafkaSettings
from schema.stellar import AccountId, Address, Ledger, Network, parse_stroops
from tests.crash_points.nursery import Life, Nursery
from tests.waiting import until

JUDGED: Final = 48
PAID_AT_ONCE: Final = 4
PAID_IN_A_ROW: Final = 10  # and then not for long: a wallet's next payment would make a lost fact good
CROSSABLE: Final = 8  # change without a payment, too; no replica of theirs lags: one read must show it
PARTITIONS: Final = 3
GROUP: Final = "crash-points"
LEDGER_S: Final = 0.25
PAYMENTS_PER_S: Final = 0.5  # of every kind, to anybody
UNLUCKY_EACH: Final = 0.3  # a record that the database refuses costs its batch many transactions
ASKED_EACH: Final = 0.5
MIN_DEPOSIT: Final = "1"
SESSION_MS: Final = 1_000
ERRAND_EVERY_S: Final = 0.15
LEDGER_NEVER_SEEN: Final = 60_000_000
PROGRAMS: Final[Mapping[str, list[str]]] = {"stream": ["producers", "stream"], "consumer": ["consumer"]}


class World:
    """Runs until its block ends. `unlucky` is refused by the database; `meddled` has its state put back by hand."""

    def __init__(self, stage: Stage, nursery: Nursery, environment: Mapping[str, str], rng: random.Random) -> None:
        self.stage = stage
        self.pool = stage.pool
        self.rng = rng
        self.unlucky: tuple[UUID, AccountId]
        self.meddled: tuple[UUID, AccountId]
        self.capped: AccountId  # has a daily cap that is never reached
        self.node: broker.EmbeddedBroker
        self.producer = kafka.producer(KafkaSettings(kafka_bootstrap_servers=stage.bootstrap_servers), client_id="test")
        self._nursery = nursery
        self._environment = environment
        self._garbage = self._bursts = 0

    async def start(
        self,
        role: str,
        *,
        constants: Mapping[str, float],
        environment: Mapping[str, str] | None = None,
        armed: tuple[str, str, int] | None = None,
    ) -> Life:
        """One life of the stream or the consumer."""
        return await self._nursery.start(
            PROGRAMS[role],
            environment={**self._environment, **(environment or {})},
            constants=constants,
            log=self.stage.options.folder / f"{role}.log",
            armed=armed,
        )

    async def run_errands(self) -> None:
        """What happens besides payments, for ever, in a seeded order."""
        errands = (
            self.pay_many,
            self.cross_offer,
            self._send_garbage,
            self.speak_of_wallet,
            self._make_due,
            self._lag,
        )
        weights = (6, 3, 1, 2, 2, 1)
        while True:
            for errand in self.rng.choices(errands, weights, k=len(errands)):
                await asyncio.sleep(ERRAND_EVERY_S)
                with contextlib.suppress(*database.TRANSIENT):  # a scenario ended its connection
                    await errand()

    async def traffic(self, payments_per_s: float) -> None:
        await self.stage.tell_chain("traffic", {"payments_per_s": payments_per_s})

    async def has_baselines(self) -> bool:
        query = "select count(*) from stellar_wallets where previous_usdc_balance is null and id = any($1::uuid[])"
        return bool(await self.pool.fetchval(query, list(self.stage.wallets)) == 0)

    async def judge(self) -> list[str]:
        """What does not add up, by the oracle that knows the chain, the topics and what is stored."""
        evidence = await ledger_evidence.collect(self.stage, minimum_stroops=parse_stroops(MIN_DEPOSIT))
        judged = [
            body for body in evidence.commands_said if deposit_command.decode(body).wallet_id in self.stage.wallets
        ]
        return (await asyncio.to_thread(ledger_book.judge, replace(evidence, commands_said=judged))).discrepancies

    async def request_read(self, wallet_id: UUID) -> None:
        query = "insert into read_requests (wallet_id, snapshot_type) values ($1, 'manual') on conflict do nothing"
        await self.pool.execute(query, wallet_id)

    def _paid(self) -> list[AccountId]:
        first = self._bursts // PAID_IN_A_ROW * PAID_AT_ONCE % (JUDGED - CROSSABLE)
        return list(self.stage.wallets.values())[first : first + PAID_AT_ONCE]

    async def pay_many(self) -> None:
        """Many wallets in one ledger, and one among them that the database refuses."""
        self._bursts += 1
        wallets = self._paid()
        if self.rng.random() < UNLUCKY_EACH:
            wallets.append(self.unlucky[1])
        payments = [{"to": wallet, "amount": f"{self.rng.randint(1, 10**9) / 10**7:.7f}"} for wallet in wallets]
        await self.stage.tell_chain("pay", payments)

    async def pay(self, wallets: Sequence[AccountId], amount: str) -> None:
        await self.stage.tell_chain("pay", [{"to": wallet, "amount": amount} for wallet in wallets])

    async def cross_offer(self) -> None:
        """A change that no payment shows. Half the time somebody asks for it; else only its effects tell of it."""
        wallet_id, account_id = self.rng.choice(list(self.stage.wallets.items())[-CROSSABLE:])
        world = await self.stage.ask_chain("world")
        offer = {
            "operation": "CrossOffer",
            "source": world["market"],
            "maker": account_id,
            "sold": str(self.stage.asset),
            "sold_stroops": "0.5000000",
            "bought": "native",
            "bought_stroops": "0.0000001",
        }
        await self.stage.tell_chain("transactions", {"operations": [offer], "source": None})
        await self.ledgers_close()
        if self.rng.random() < ASKED_EACH:
            await self.request_read(wallet_id)

    async def ledgers_close(self) -> None:
        """What was enqueued is in a ledger afterwards."""
        before = await self.newest_ledger()
        await until(lambda: self._is_closed(before + 2), "two ledgers more")

    async def _is_closed(self, ledger: int) -> bool:
        return await self.newest_ledger() >= ledger

    async def newest_ledger(self) -> Ledger:
        return Ledger((await self.stage.ask_chain(f"accounts/{self.meddled[1]}/history"))["ledger"])

    async def _send_garbage(self) -> None:
        """In one batch: no JSON, a fact that the database refuses, no JSON."""
        self._garbage += 1
        fact = self.fact_by_hand(self.unlucky[1], Ledger(LEDGER_NEVER_SEEN + self._garbage), "0.0000001")
        values = (f"not JSON, number {self._garbage}".encode(), fact.value, b"nor is this")
        await self.send([replace(fact, value=value) for value in values])

    def fact_by_hand(self, account_id: AccountId, ledger: Ledger, balance: str) -> kafka.Record:
        """A fact that no producer told: all of the balance was paid in this ledger."""
        paid = balance_event.Movement(
            operation_id=str(ledger << 32),
            ledger=ledger,
            transaction_hash=f"{ledger:064x}",
            type="payment",
            counterparty=Address(self.unlucky[1]),
            amount_stroops=parse_stroops(balance),
        )
        fact = balance_event.fact(
            snapshot_type=SnapshotType.POLL,
            network=Network.TESTNET,
            account_id=account_id,
            asset=self.stage.asset,
            balance_stroops=paid.amount_stroops,
            authorized=True,
            ledger=ledger,
            observed_ledger=ledger,
            observed_at=datetime.now(UTC),
            movements_since=Ledger(1),
            movements=(paid,),
        )
        return kafka.Record(topic=balance_event.TOPIC, key=account_id.encode(), value=balance_event.encode(fact))

    async def send(self, records: Sequence[kafka.Record]) -> None:
        await kafka.send_all(self.producer, records, deadline_s=30)

    async def speak_of_wallet(self) -> None:
        """As the database does when a row is new or another account's."""
        wallet_id, account_id = self.rng.choice(list(self.stage.wallets.items()))
        for said in (f"gone:{account_id}", str(wallet_id)):
            await self.pool.execute("select pg_notify('stellar_wallets', $1)", said)

    async def _make_due(self) -> None:
        """As an operator who ends a wait."""
        query = "update stellar_wallets set due_at = now() where id = $1"
        await self.pool.execute(query, self.rng.choice(list(self.stage.wallets)))

    async def _lag(self) -> None:
        await self.add_fault(**self.lagging(lag_ledgers=3))

    async def write_dead_letter(self) -> None:
        """Something for the relay to send."""
        query = (
            'insert into dead_letters (id, topic, partition, "offset", key, value, headers, reason, detail)'
            " values ($1, 'test', 0, 0, 'key', 'value', '[]', 'test', 'made for a test')"
        )
        await self.pool.execute(query, uuid4())

    def lagging(self, **fault: Any) -> dict[str, Any]:
        """A replica's lag, for one of the wallets that are being paid."""
        return {"path_prefix": f"/accounts/{self.rng.choice(self._paid())}", **fault}

    async def add_fault(self, **fault: Any) -> None:
        await self.stage.tell_chain("faults", [fault])

    async def clear_faults(self) -> None:
        await self.stage.http.delete(f"{self.stage.horizon_url}/sandbox/faults")
