"""Progress comes after the effect: offsets after the transaction, marks after the acks; the stored bytes are sent."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from sandbox import apache_kafka as apache
from schema.service import kafka
from tests.acceptance.conftest import House, count, facts, open_house
from tests.fixtures_brokers import Broker, need_apache_kafka
from tests.people import Person, add_person
from tests.waiting import until

pytestmark = pytest.mark.kafka


@asynccontextmanager
async def held(person: Person, database_url: str) -> AsyncIterator[None]:
    """Somebody else holds the wallet's row: a batch with its facts waits."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute("select from stellar_wallets where id = $1 for update", person.wallet_id)
            yield
    finally:
        await connection.close()


async def until_waiting(connection: asyncpg.Connection) -> None:
    """Until a batch waits for that row."""

    async def waits() -> bool:
        query = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        return bool(await connection.fetchval(query))

    await until(waits, "a batch waits for the wallet's row")


async def offsets(house: House) -> list[int]:
    """What the group has committed of the facts."""
    admin = AIOKafkaAdminClient(**kafka.connection(house.broker.settings))
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(house.environment()["CONSUMER_GROUP"])
    finally:
        await admin.close()
    topic = house.topics["BALANCE_EVENTS_TOPIC"]
    return [place.offset for partition, place in found.items() if partition.topic == topic and place.offset >= 0]


async def test_no_offset_is_committed_before_the_transaction(
    kafka_house: House, connection: asyncpg.Connection, database_url: str
) -> None:
    """While the transaction waits the group's place is where it was; then it is behind the last record."""
    person = await add_person(connection)
    async with held(person, database_url):
        await kafka_house.start_consumer()
        await kafka_house.publish(facts([person], (1, 2, 3)))
        await until_waiting(connection)
        assert await offsets(kafka_house) == []

    async def is_committed() -> bool:
        return await offsets(kafka_house) == [3]

    await until(is_committed, "the offset behind the last record")
    assert await count(connection, "balance_snapshots") == 3


async def test_nothing_is_marked_as_sent_before_its_ack(
    connection: asyncpg.Connection, database_url: str, tmp_path: Path
) -> None:
    """A broker that fell silent took the command or not: it stays pending until there is an ack."""
    need_apache_kafka()
    with apache.running() as node:
        house = await open_house(Broker(node=node), database_url, tmp_path)
        try:
            person = await add_person(connection)
            child = await house.start_consumer()
            async with held(person, database_url):
                await house.publish(facts([person], (1, 2)))
                await until_waiting(connection)
                node.pause()

            async def gave_up() -> bool:
                return b"nothing marked as sent" in child.log.read_bytes()

            await until(gave_up, "the relay waited for an ack in vain")
            assert await connection.fetchval("select status from deposit_commands") == "pending"
            node.resume()

            async def is_marked() -> bool:
                return bool(await connection.fetchval("select status = 'published' from deposit_commands"))

            await until(is_marked, "the command is marked as sent")
            said = await house.said("DEPOSIT_COMMANDS_TOPIC", 1)
            assert {record.value for record in said} == {
                await connection.fetchval("select payload from deposit_commands")
            }
        finally:
            node.resume()
            await house.close()


async def test_the_stored_bytes_are_sent_as_they_are(kafka_house: House, connection: asyncpg.Connection) -> None:
    """To the last space: an id never stands for two contents, also when another version would write them otherwise."""
    await connection.execute(
        "create function other_bytes() returns trigger language plpgsql as $$ begin"
        " new.payload = convert_to(replace(convert_from(new.payload, 'UTF8'), ',', ' ,  '), 'UTF8');"
        " return new; end $$;"
        "create trigger other_bytes before insert on deposit_commands for each row execute function other_bytes()"
    )
    person = await add_person(connection)
    await kafka_house.start_consumer()
    await kafka_house.publish(facts([person], (1, 2)))
    [record] = await kafka_house.said("DEPOSIT_COMMANDS_TOPIC", 1)
    assert record.value == await connection.fetchval("select payload from deposit_commands")
    assert record.value != orjson.dumps(orjson.loads(record.value or b""))
