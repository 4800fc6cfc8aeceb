"""The two brokers: librdkafka's mock cluster, always; a real Apache Kafka where `make kafka` was run."""

import asyncio
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from sandbox import apache_kafka as apache
from sandbox.apache_kafka import ApacheKafka
from sandbox.broker import EmbeddedBroker
from schema.service import kafka
from schema.service.settings import KafkaSettings

BOTH = ("embedded", pytest.param("apache", marks=pytest.mark.kafka))


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Either broker, and how a test gets a topic of its own on it."""

    node: EmbeddedBroker | ApacheKafka

    @property
    def settings(self) -> KafkaSettings:
        return KafkaSettings.model_validate({"kafka_bootstrap_servers": self.node.bootstrap_servers})

    async def new_topic(self, partitions: int = 1, *, batch_bytes_max: int = kafka.BATCH_BYTES_MAX) -> str:
        """Make a topic that nobody else has; the embedded broker knows no limit to a batch."""
        name = f"test.{uuid.uuid4()}"
        if isinstance(self.node, EmbeddedBroker):
            await asyncio.to_thread(self.node.create_topic, name, partitions)
            return name
        admin = AIOKafkaAdminClient(**kafka.connection(self.settings))
        await admin.start()
        try:
            config = {"max.message.bytes": str(batch_bytes_max)}
            response = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=config)])
        finally:
            await admin.close()
        assert response.topic_errors[0][1] == 0, response.topic_errors
        return name


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[EmbeddedBroker]:
    """One embedded broker for the whole run: take topics with names of your own."""
    broker = EmbeddedBroker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def apache_kafka() -> Iterator[ApacheKafka]:
    """One real Apache Kafka for the whole run: take topics with names of your own, and do not stop it."""
    need_apache_kafka()
    with apache.running() as node:
        yield node


@pytest.fixture(params=BOTH)
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each broker in turn, shared with other tests."""
    name = "embedded_broker" if request.param == "embedded" else "apache_kafka"
    return Broker(node=request.getfixturevalue(name))


@pytest.fixture(params=BOTH)
def mortal_broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """Each broker in turn, of this test alone: it may be frozen or killed."""
    if request.param == "apache":
        need_apache_kafka()
        with apache.running() as node:
            yield Broker(node=node)
        return
    embedded = EmbeddedBroker.start()
    yield Broker(node=embedded)
    embedded.kill()


def need_apache_kafka() -> None:
    """Skip the test where there is no Apache Kafka; fail it in CI."""
    if apache.JARS.is_dir():
        return
    missing = "there is no Apache Kafka here: run `make kafka`"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)
