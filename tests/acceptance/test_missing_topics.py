"""A process whose topics nobody has made is not ready, and says what makes them; made, it goes on by itself."""

import uuid
from pathlib import Path

import pytest

from sandbox.children import Child
from schema import topics
from schema.service.settings import KafkaSettings
from tests.acceptance.conftest import House, readiness_of
from tests.waiting import until

NAMES = ("BALANCE_EVENTS_TOPIC", "DEPOSIT_COMMANDS_TOPIC", "DEPOSIT_RESULTS_TOPIC", "DEAD_LETTERS_TOPIC")


@pytest.mark.kafka
async def test_missing_topics_are_named_until_they_are_made(
    kafka_house: House, resting_horizon: dict[str, str], tmp_path: Path
) -> None:
    """The consumer names both that it reads, the stream the one it writes; after `schema topics` both are ready."""
    named = {name: f"late.{name.lower()}.{uuid.uuid4()}" for name in NAMES}
    environment = {**kafka_house.environment(), **resting_horizon, **named}
    consumer = Child("consumer", ["consumer"], environment, tmp_path)
    stream = Child("stream", ["producers", "stream"], environment, tmp_path)
    expected = {
        consumer: (named["BALANCE_EVENTS_TOPIC"], named["DEPOSIT_RESULTS_TOPIC"]),
        stream: (named["BALANCE_EVENTS_TOPIC"],),
    }
    try:
        for child, missing in expected.items():
            await child.start()
            for each in (*missing, "python -m schema topics"):
                await until(lambda child=child, each=each: _says(child, each), f"{child.name} names {each}")  # type: ignore[misc]
        settings = KafkaSettings.model_validate(
            {"kafka_bootstrap_servers": environment["KAFKA_BOOTSTRAP_SERVERS"]}
            | {name.lower(): topic for name, topic in named.items()}
        )
        await topics.ensure(settings, partitions=1, say=lambda _: None)
        for child in expected:
            await until(lambda child=child: _says(child, "ready\n"), f"{child.name} is ready")  # type: ignore[misc]
    finally:
        await stream.stop()
        await consumer.stop()


async def _says(child: Child, words: str) -> bool:
    return words in await readiness_of(child.log)
