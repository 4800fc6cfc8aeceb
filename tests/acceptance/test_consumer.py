"""The consumer as a real process between real topics and a real PostgreSQL, on both brokers."""

import asyncio
from pathlib import Path

import aiohttp
import asyncpg
import orjson
import pytest
from aiokafka import ConsumerRecord

from sandbox.children import Child
from sandbox.database import PostgresServer
from schema import balance_event, deposit_command, migrate
from tests.acceptance.conftest import PARTITIONS, House, count, facts
from tests.people import add_person
from tests.unit.consumer.worlds import USDC
from tests.unit.consumer.worlds import balance_event as event_of
from tests.waiting import until


async def test_a_fact_goes_in_a_command_comes_out_and_its_result_ends_it(
    house: House, connection: asyncpg.Connection
) -> None:
    """Through Kafka alone: the bytes on the topic are the stored ones, under CloudEvents headers, keyed by account."""
    person = await add_person(connection)
    await house.start_consumer()
    await house.publish(facts([person], (1, 2)))
    record = (await house.said("DEPOSIT_COMMANDS_TOPIC", 1))[0]
    command = deposit_command.decode(record.value or b"")
    headers = dict(record.headers)
    assert record.key == person.account_id.encode()
    assert headers["ce_id"] == str(command.command_id).encode()
    assert headers["ce_type"] == deposit_command.TYPE.encode()
    assert command.caused_by.replace("-", "").encode() in headers["traceparent"]
    assert await connection.fetchval("select payload from deposit_commands") == record.value
    await house.report(command, 3)

    async def ended() -> bool:
        return bool(await connection.fetchval("select status = 'succeeded' from deposit_commands"))

    await until(ended, "the command has succeeded")
    types = await connection.fetch("select snapshot_type from balance_snapshots order by ledger, created_at")
    assert [row["snapshot_type"] for row in types] == ["webhook", "webhook", "auto_deposit_trigger"]


async def test_poison_goes_to_the_dead_letters_and_the_partition_goes_on(
    house: House, connection: asyncpg.Connection
) -> None:
    """What cannot be decoded is published with its place, bytes and reason; what comes behind it is recorded."""
    person = await add_person(connection)
    await house.start_consumer()
    await house.publish_raw("BALANCE_EVENTS_TOPIC", person.account_id.encode(), b"\xff not JSON")
    await house.publish(facts([person], (1, 2)))
    record = (await house.said("DEAD_LETTERS_TOPIC", 1))[0]
    headers = dict(record.headers)
    assert record.value == b"\xff not JSON"
    assert headers["dead_letter_reason"] == b"malformed"
    assert headers["dead_letter_topic"] == house.topics["BALANCE_EVENTS_TOPIC"].encode()
    assert headers["dead_letter_offset"] == b"0"
    await house.said("DEPOSIT_COMMANDS_TOPIC", 1)


async def test_killed_at_any_time_it_records_each_fact_once_and_sends_each_command_as_stored(
    house: House, connection: asyncpg.Connection
) -> None:
    """Kill -9 five times amid 1,200 facts: one snapshot per version, one content per id, nothing missing."""
    people = [await add_person(connection) for _ in range(30)]
    child = await house.start_consumer()
    for first in range(1, 41, 8):
        await house.publish(facts(people, range(first, first + 8)))
        enough = 30 * (first + 3)

        async def amid() -> bool:
            return await count(connection, "balance_snapshots") >= enough  # noqa: B023 - asked before the next round

        await until(amid, "some of it is recorded")
        await child.kill()
        await child.start()

    async def complete() -> bool:
        waiting = await connection.fetchval("select count(*) from deposit_commands where status = 'pending'")
        return await count(connection, "balance_snapshots") == 30 * 40 and waiting == 0

    await until(complete, "every version has its snapshot, every command is sent")
    stored = {
        str(row["command_id"]): row["payload"] for row in await connection.fetch("select * from deposit_commands")
    }
    said = await house.said("DEPOSIT_COMMANDS_TOPIC", len(stored), ids=stored)
    assert {_command_id(record) for record in said} == set(stored)
    assert all(stored[_command_id(record)] == record.value for record in said)
    for person in people:
        rows = await connection.fetch(
            "select command_id::text from deposit_commands where wallet_id = $1 order by position", person.wallet_id
        )
        first_said = dict.fromkeys(_command_id(record) for record in said if record.key == person.account_id.encode())
        assert list(first_said) == [row["command_id"] for row in rows], "each wallet's commands in their order"
    assert await connection.fetchval("select sum(amount) from deposit_commands") == 30 * (20 * 40 - 20)


def _command_id(record: ConsumerRecord[bytes, bytes]) -> str:
    command_id = str(deposit_command.decode(record.value or b"").command_id)
    assert dict(record.headers)["ce_id"] == command_id.encode()
    return command_id


async def test_a_signal_ends_it_in_order(house: House, connection: asyncpg.Connection) -> None:
    """SIGTERM: the batch in hand is finished, the exit is clean, the log says so."""
    person = await add_person(connection)
    child = await house.start_consumer()
    await house.publish(facts([person], (1, 2)))
    await house.said("DEPOSIT_COMMANDS_TOPIC", 1)
    await child.stop()
    assert "consumer has stopped" in child.last_words()
    assert "bug" not in child.last_words()


@pytest.mark.kafka
async def test_three_consumers_share_the_work_and_hand_over_when_one_dies(
    kafka_house: House, connection: asyncpg.Connection
) -> None:
    """On a real Kafka: three members, one killed without goodbye, the others take its partitions; nothing is missed."""
    house = kafka_house
    people = [await add_person(connection) for _ in range(40)]
    children = [await house.start_consumer() for _ in range(3)]

    async def shared_by(*members: Child) -> bool:
        held = [_partitions(child) for child in members]
        return all(held) and sum(map(len, held)) == 2 * PARTITIONS

    async def recorded(number: int) -> bool:
        return await count(connection, "balance_snapshots") == number

    await until(lambda: shared_by(*children), "each of the three holds partitions, and together all of them")
    await house.publish(facts(people, range(1, 11)))
    await until(lambda: recorded(400), "the first half is recorded")
    await children[1].kill()
    await house.publish(facts(people, range(11, 21)))
    await until(lambda: recorded(800), "the second half is recorded by those who are left")
    await until(lambda: shared_by(children[0], children[2]), "the two hold all partitions")


def _partitions(child: Child) -> set[str]:
    """What the log says a consumer was given last."""
    lines = [orjson.loads(line) for line in child.log.read_bytes().splitlines() if b'"partitions assigned"' in line]
    return set(lines[-1]["partitions"]) if lines else set()


async def test_without_its_environment_it_names_every_variable(tmp_path: Path) -> None:
    """One error with all that is missing or malformed, exit code 2."""
    child = Child("bare", ["consumer"], {"STELLAR_NETWORK": "moonnet", "AUTO_DEPOSIT_MIN_DEPOSIT": "1e3"}, tmp_path)
    await child.start()
    assert child._running is not None
    assert await asyncio.wait_for(child._running.wait(), 60) == 2
    words = child.last_words()
    for name in (
        "DATABASE_URL",
        "KAFKA_BOOTSTRAP_SERVERS",
        "ASSET_ISSUER",
        "STELLAR_NETWORK",
        "AUTO_DEPOSIT_MIN_DEPOSIT",
    ):
        assert name in words


async def test_a_database_and_a_broker_that_are_not_there_yet_are_waited_for(
    tmp_path: Path,
) -> None:
    """It starts before either, says so, and is alive and not ready, with the reason."""
    server = PostgresServer(durable=False)
    try:
        server.start()
        url = server.url()
        server.stop()
        environment = {
            "DATABASE_URL": url,
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
            "STELLAR_NETWORK": "testnet",
            "ASSET_ISSUER": USDC.issuer,
        }
        child = Child("early", ["consumer"], environment, tmp_path)
        await child.start()

        async def says(words: str) -> bool:
            return child.log.exists() and words in child.log.read_text()

        await until(lambda: says("database is away"), "it says that the database is away")
        address = orjson.loads(next(line for line in child.log.read_bytes().splitlines() if b"health page" in line))
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{address['address']}/healthz") as answer:
                assert answer.status == 200
            async with http.get(f"{address['address']}/readyz") as answer:
                assert answer.status == 503
                assert "database" in await answer.text()
            server.start()
            await until(lambda: says("not migrated"), "it says that the tables are missing")
            async with http.get(f"{address['address']}/readyz") as answer:
                assert "python -m schema migrate" in await answer.text()
            await migrate.migrate(url, dry_run=False, wait_s=60, say=lambda _: None)
            await until(lambda: says("broker is away"), "it says that the broker is away")
            async with http.get(f"{address['address']}/readyz") as answer:
                assert answer.status == 503
                assert "kafka: away" in await answer.text()
        assert child.is_running
        await child.stop()
    finally:
        server.remove()


async def test_what_the_database_refuses_is_kept_apart_and_the_rest_is_recorded(
    house: House, connection: asyncpg.Connection
) -> None:
    """One record among many that breaks a constraint: it alone is a dead letter, whatever batch it came in."""
    people = [await add_person(connection) for _ in range(20)]
    await connection.execute("alter table balance_snapshots add constraint unlucky check (usdc_balance <> 13)")
    unlucky = event_of(2, 13, account_id=people[7].account_id)
    await house.publish([*facts(people, (1,)), unlucky, *facts(people, (3,))])
    await house.start_consumer()
    record = (await house.said("DEAD_LETTERS_TOPIC", 1))[0]
    assert dict(record.headers)["dead_letter_reason"] == b"refused_by_database"
    assert b"unlucky" in dict(record.headers)["dead_letter_detail"]
    assert record.value == balance_event.encode(unlucky)
    assert len({_command_id(command) for command in await house.said("DEPOSIT_COMMANDS_TOPIC", 20)}) == 20
    assert await count(connection, "balance_snapshots") == 40
