"""`python -m schema topics` on either broker."""

import asyncio
import os
import subprocess
import sys
import uuid

import pytest

from sandbox.apache_kafka import ApacheKafka
from sandbox.broker import EmbeddedBroker
from schema import topics
from schema.service import kafka
from schema.service.settings import KafkaSettings
from tests.contracts.clients import Clients
from tests.fixtures_brokers import Broker, need_apache_kafka

NAMES = ("balance_events_topic", "deposit_commands_topic", "deposit_results_topic", "dead_letters_topic")


def settings_of(node: EmbeddedBroker | ApacheKafka) -> KafkaSettings:
    """The broker, with four topics that nobody else has."""
    names = {name: f"{name}.{uuid.uuid4()}" for name in NAMES}
    return KafkaSettings.model_validate({"kafka_bootstrap_servers": node.bootstrap_servers, **names})


def names_of(settings: KafkaSettings) -> list[str]:
    """Its four topics."""
    return [getattr(settings, name) for name in NAMES]


@pytest.mark.kafka
async def test_missing_topics_are_made_once(apache_kafka: ApacheKafka) -> None:
    """The first run makes the four as asked, with room for our largest message; the second makes nothing."""
    settings = settings_of(apache_kafka)
    made = await topics.ensure(settings, partitions=4, wait_s=10, say=print)
    assert [(topic.name, topic.partitions, topic.made_now) for topic in made] == [
        (name, 4, True) for name in names_of(settings)
    ]
    again = await topics.ensure(settings, partitions=12, wait_s=10, say=print)
    assert [(topic.name, topic.partitions, topic.made_now) for topic in again] == [
        (name, 4, False) for name in names_of(settings)
    ]
    assert {topic.batch_bytes_max for topic in again} == {kafka.BATCH_BYTES_MAX}
    assert "left so" in topics.describe(again[0], partitions=12)
    assert topics.describe(again[0], partitions=4).endswith("there already, 4 partitions")


@pytest.mark.kafka
async def test_a_topic_too_narrow_for_our_messages_is_named(apache_kafka: ApacheKafka) -> None:
    """A topic that somebody made with Kafka's own limit of 1 MiB is reported with what to raise."""
    narrow = await Broker(node=apache_kafka).new_topic(6, batch_bytes_max=1_048_588)
    settings = settings_of(apache_kafka).model_copy(update={"balance_events_topic": narrow})
    first, *others = await topics.ensure(settings, wait_s=10, say=print)
    assert "max.message.bytes is 1048588: raise it to" in topics.describe(first, partitions=6)
    assert len(others) == 3
    assert all("raise" not in topics.describe(other, partitions=6) for other in others)


@pytest.mark.kafka
async def test_more_replicas_than_brokers_is_refused_with_the_reason(apache_kafka: ApacheKafka) -> None:
    """The broker's own reason reaches the person."""
    with pytest.raises(topics.NotMade, match="replication factor"):
        await topics.ensure(settings_of(apache_kafka), replication_factor=3, wait_s=10, say=print)


async def test_the_embedded_broker_is_only_asked(embedded_broker: EmbeddedBroker) -> None:
    """Where all four exist the command is content; it asks without making them, and says so where one is missing."""
    settings = settings_of(embedded_broker)
    with pytest.raises(topics.NotMade, match="cannot create topics"):
        await topics.ensure(settings, wait_s=10, say=print)
    for name in names_of(settings):
        embedded_broker.create_topic(name, 6)  # refused if the question had made it
    found = await topics.ensure(settings, wait_s=10, say=print)
    assert [(topic.name, topic.partitions, topic.made_now) for topic in found] == [
        (name, 6, False) for name in names_of(settings)
    ]


@pytest.mark.kafka
async def test_it_waits_for_a_broker_that_comes_later() -> None:
    """A broker that is not there yet is waited for and said; the topics are made as soon as it is."""
    need_apache_kafka()
    node = ApacheKafka()
    try:
        said: list[str] = []
        ensuring = asyncio.create_task(topics.ensure(settings_of(node), wait_s=120, say=said.append))
        await asyncio.to_thread(node.start)
        made = await ensuring
    finally:
        await asyncio.to_thread(node.remove)
    assert [topic.made_now for topic in made] == [True] * 4
    assert node.bootstrap_servers in said[0]


def test_the_command_without_a_broker(unused_address: str) -> None:
    """`--wait-s` over, it ends with status 1 and the address; without the address it names the variable, status 2."""

    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "schema", "topics", "--wait-s", "1"],
            env={"PATH": os.environ["PATH"], **variables},
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )

    alone = run(KAFKA_BOOTSTRAP_SERVERS=unused_address)
    assert alone.returncode == 1
    assert f"no broker answered at {unused_address} within 1 s" in alone.stderr
    assert f"no broker answers at {unused_address} yet" in alone.stdout
    unset = run()
    assert unset.returncode == 2
    assert "KAFKA_BOOTSTRAP_SERVERS is not set" in unset.stderr


@pytest.fixture
def unused_address() -> str:
    """Where nobody listens: a broker that has ended."""
    broker = EmbeddedBroker.start()
    broker.kill()
    return broker.bootstrap_servers


@pytest.mark.kafka
async def test_the_made_topics_carry_our_records(apache_kafka: ApacheKafka) -> None:
    """What the command made takes a record and gives it back."""
    settings = settings_of(apache_kafka)
    await topics.ensure(settings, wait_s=10, say=print)
    clients = Clients(settings)
    await clients.send(settings.dead_letters_topic, [b"value"])
    [record] = await clients.read(settings.dead_letters_topic, 1)
    await clients.close()
    assert record.value == b"value"
