"""How the two brokers of the sandbox start and end, and where the embedded one's limits are."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from sandbox.apache_kafka import ApacheKafka, KafkaFailed
from sandbox.broker import BrokerFailed, EmbeddedBroker, start
from tests.contracts.clients import Clients, new_group
from tests.contracts.polling import until
from tests.fixtures_brokers import Broker, need_apache_kafka

MIB = 1024 * 1024

PARENT = """
import sys
from sandbox.{module} import {name}
node = {name}.{begin}()
print(node.{process}.pid, flush=True)
sys.stdin.read()  # for ever, or until the test is gone
"""


async def test_it_has_the_topics_it_was_started_with() -> None:
    """The topics named at the start are there with their partitions, and a later one when create_topic() returns."""
    async with start({"first": 6, "second": 1}) as broker:
        broker.create_topic("third", 3)
        clients = Clients(Broker(node=broker).settings)
        consumer = await clients.consumer("first", "second", "third")
        counts = {topic: len(consumer.partitions_for_topic(topic) or ()) for topic in ("first", "second", "third")}
        await clients.close()
    assert counts == {"first": 6, "second": 1, "third": 3}


def test_a_topic_cannot_be_made_twice() -> None:
    """A topic that exists is refused by name, and the broker goes on."""
    broker = EmbeddedBroker.start({"first": 1})
    with pytest.raises(BrokerFailed, match="first"):
        broker.create_topic("first", 1)
    broker.create_topic("second", 1)
    broker.stop()


def test_a_broker_that_ended_says_so() -> None:
    """Asking a dead broker for a topic is BrokerFailed, not a wait."""
    broker = EmbeddedBroker.start()
    broker.kill()
    with pytest.raises(BrokerFailed):
        broker.create_topic("late", 1)


@pytest.mark.parametrize("topics", ["no-partitions", "zero:0", ":3", "name:x"])
def test_malformed_topics_are_refused(topics: str) -> None:
    """`--topics` takes name:partitions, and says so."""
    ended = subprocess.run(
        [sys.executable, "-m", "sandbox.broker", "--topics", topics],
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert "is not name:partitions" in ended.stderr


@pytest.mark.parametrize(
    ("module", "name", "begin", "process"),
    [
        ("broker", "EmbeddedBroker", "start", "_child"),
        pytest.param("apache_kafka", "ApacheKafka", "started", "_node", marks=pytest.mark.kafka),
    ],
)
async def test_a_broker_ends_with_its_parent(module: str, name: str, begin: str, process: str, tmp_path: Path) -> None:
    """When the program that started a broker is killed (SIGKILL), the broker ends too: nothing is left running."""
    if module == "apache_kafka":
        need_apache_kafka()
    program = PARENT.format(module=module, name=name, begin=begin, process=process)
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    os.kill(child, 0)
    parent.kill()
    await parent.wait()

    def gone() -> bool:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return True
        return Path(f"/proc/{child}/stat").exists() and " Z " in Path(f"/proc/{child}/stat").read_text()

    await until(gone, what="the broker has ended")


async def test_the_embedded_broker_forgets_beyond_five_mebibytes(embedded_broker: EmbeddedBroker) -> None:
    """A partition keeps 5 MiB: then its oldest batches go, and who is that far behind never reads them."""
    broker = Broker(node=embedded_broker)
    topic = await broker.new_topic()
    clients = Clients(broker.settings)
    await clients.send(topic, [os.urandom(MIB) for _ in range(8)])
    consumer = await clients.consumer(topic, group_id=new_group())
    place = TopicPartition(topic, 0)
    oldest = (await consumer.beginning_offsets([place]))[place]
    await clients.close()
    assert oldest == 4  # 4 MiB and their headers are left


async def test_the_embedded_broker_loses_a_large_record_that_pushes_out_all_others(
    embedded_broker: EmbeddedBroker,
) -> None:
    """A batch that needs the whole 5 MiB is acked and gone at once, unless the partition was empty: a mock's fault."""
    broker = Broker(node=embedded_broker)
    topic = await broker.new_topic()
    clients = Clients(broker.settings)
    await clients.send(topic, [b"small"])
    await clients.send(topic, [os.urandom(5 * MIB)])
    consumer = await clients.consumer(topic)
    place = TopicPartition(topic, 0)
    begin, end = (await consumer.beginning_offsets([place]))[place], (await consumer.end_offsets([place]))[place]
    await clients.close()
    assert (begin, end) == (2, 2)


@pytest.mark.kafka
def test_apache_kafka_says_why_it_does_not_start() -> None:
    """A node that ends at once is an error with its own last words, long before the deadline."""
    need_apache_kafka()
    node = ApacheKafka()
    try:
        settings = node.folder / "server.properties"
        settings.write_text(settings.read_text().replace("node.id=1", "node.id=none"))
        with pytest.raises(KafkaFailed, match=r"node\.id|broker\.id"):
            node.start()
    finally:
        node.remove()
