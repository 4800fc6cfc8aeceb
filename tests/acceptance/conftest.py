"""Consumers as real processes, and the topics they live between."""

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Iterable
from pathlib import Path

import aiohttp
import asyncpg
import pytest
from aiokafka import ConsumerRecord

from sandbox.apache_kafka import ApacheKafka
from sandbox.children import Child
from schema import balance_event, cloud_events, deposit_command, deposit_result
from schema.balance_event import BalanceEvent
from schema.deposit_command import DepositCommand
from schema.deposit_result import DepositResult, ResultStatus
from schema.service import kafka
from schema.service.kafka import Record
from schema.stellar import Ledger
from tests.fixtures_brokers import Broker
from tests.people import Person
from tests.topics import acked
from tests.unit.consumer.worlds import FIRST_LEDGER, USDC, close_time
from tests.unit.consumer.worlds import balance_event as event_of
from tests.waiting import until

PARTITIONS = 6
SEND_DEADLINE_S = 30.0


class House:
    """The topics and the database of one test, and the consumers that run on them."""

    def __init__(self, broker: Broker, database_url: str, folder: Path, topics: dict[str, str]) -> None:
        self.topics = topics
        self.children: list[Child] = []
        self.broker = broker
        self._folder = folder
        self._database_url = database_url
        self.producer = kafka.producer(broker.settings, client_id="test")

    def environment(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self._database_url,
            "KAFKA_BOOTSTRAP_SERVERS": self.broker.node.bootstrap_servers,
            "STELLAR_NETWORK": "testnet",
            "ASSET_ISSUER": USDC.issuer,
            "AUTO_DEPOSIT_ENABLED": "true",
            "AUTO_DEPOSIT_MIN_DEPOSIT": "10",
            "AUTO_DEPOSIT_COMMAND_TTL_S": "86400",
            "GROUP_SESSION_TIMEOUT_MS": "6000",
            "CONSUMER_GROUP": f"group.{self.topics['BALANCE_EVENTS_TOPIC']}",
            **self.topics,
        }

    async def start_consumer(self, **changed: str) -> Child:
        """One more `python -m consumer`."""
        name = f"consumer-{len(self.children)}"
        child = Child(name, ["consumer"], self.environment() | changed, self._folder)
        self.children.append(child)
        await child.start()
        return child

    async def publish(self, events: Iterable[BalanceEvent]) -> None:
        """Say these facts, as a producer does."""
        await self._send(
            Record(
                topic=self.topics["BALANCE_EVENTS_TOPIC"],
                key=balance_event.key(event),
                value=balance_event.encode(event),
                headers=cloud_events.headers(
                    type_=balance_event.TYPE, id_=str(event.event_id), source="/test", trace=event.event_id
                ),
            )
            for event in events
        )

    async def publish_raw(self, name: str, key: bytes, value: bytes) -> None:
        await self._send([Record(topic=self.topics[name], key=key, value=value)])

    async def report(self, command: DepositCommand, ledger: int) -> None:
        """The executor's word that it deposited."""
        result = DepositResult(
            command_id=command.command_id,
            status=ResultStatus.SUCCEEDED,
            amount_stroops=command.amount_stroops,
            transaction_hash=f"{ledger:064x}",
            ledger=Ledger(FIRST_LEDGER + ledger),
            error=None,
            completed_at=close_time(ledger),
        )
        await self.publish_raw("DEPOSIT_RESULTS_TOPIC", deposit_command.key(command), deposit_result.encode(result))

    async def said(self, name: str, count: int, *, ids: Collection[str] = ()) -> list[ConsumerRecord[bytes, bytes]]:
        """A topic from its beginning, until it has so many records, and one of each of these `ce_id`s: some repeat."""
        consumer = kafka.consumer(self.broker.settings, self.topics[name], client_id="test", group_id=None)
        await consumer.start()
        found: list[ConsumerRecord[bytes, bytes]] = []

        async def enough() -> bool:
            found.extend(await acked(consumer))
            seen = {value.decode() for record in found for header, value in record.headers if header == "ce_id"}
            return len(found) >= count and seen.issuperset(ids)

        try:
            await until(enough, f"{count} records on {name}")
        finally:
            await kafka.stop_consumer(consumer, deadline_s=10)
        return found

    async def close(self) -> None:
        await asyncio.gather(*(child.kill() for child in self.children))
        await kafka.stop(self.producer, deadline_s=10)

    async def _send(self, records: Iterable[Record]) -> None:
        await kafka.send_all(self.producer, list(records), deadline_s=SEND_DEADLINE_S)


async def open_house(broker: Broker, database_url: str, folder: Path) -> House:
    """Fresh topics on this broker."""
    names = ("BALANCE_EVENTS_TOPIC", "DEPOSIT_COMMANDS_TOPIC", "DEPOSIT_RESULTS_TOPIC", "DEAD_LETTERS_TOPIC")
    topics = {name: await broker.new_topic(PARTITIONS) for name in names}
    house = House(broker, database_url, folder, topics)
    await house.producer.start()
    return house


@pytest.fixture
async def house(broker: Broker, database_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """On each broker in turn."""
    house = await open_house(broker, database_url, tmp_path)
    yield house
    await house.close()


@pytest.fixture
async def kafka_house(apache_kafka: ApacheKafka, database_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """On the real Apache Kafka only."""
    house = await open_house(Broker(node=apache_kafka), database_url, tmp_path)
    yield house
    await house.close()


async def count(connection: asyncpg.Connection, table: str) -> int:
    number: int = await connection.fetchval(f"select count(*) from {table}")  # noqa: S608
    return number


def facts(people: Iterable[Person], ledgers: Iterable[int], *, units_a_ledger: int = 20) -> list[BalanceEvent]:
    """Each person's balance growing by so much with each ledger, ledger by ledger."""
    everyone = list(people)
    return [
        event_of(ledger, units_a_ledger * ledger, account_id=person.account_id)
        for ledger in ledgers
        for person in everyone
    ]


@pytest.fixture
async def resting_horizon(tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """A Horizon of a chain without payments, as the producers' environment."""
    chain = Child("horizon", ["sandbox.horizon", "--wallets", "1", "--ledger-s", "0.2"], {}, tmp_path)
    await chain.start()
    said = await chain.first_line()
    yield {"HORIZON_URL": said["url"], "ASSET_ISSUER": said["asset"].split(":")[1]}
    await chain.stop()


async def readiness_of(log: Path) -> str:
    """What the readiness page of the process with this log says; nothing while there is no page."""
    page = re.search(
        r'"address": "(http://[^"]+)", "event": "health page is up"', await asyncio.to_thread(log.read_text)
    )
    if page is None:
        return ""
    async with aiohttp.ClientSession() as session, session.get(f"{page[1]}/readyz") as answer:
        return await answer.text()
