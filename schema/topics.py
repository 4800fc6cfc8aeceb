"""The four topics, made where they are missing. What exists is reported and never changed: keys would move."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

import stamina
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import IncompatibleBrokerVersion, KafkaConnectionError, TopicAlreadyExistsError, for_code

from schema.service import kafka
from schema.service.settings import KafkaSettings

PARTITIONS: Final = 6  # as many consumers can share the work; more cost nothing but files
_DAY_MS: Final = 24 * 60 * 60 * 1000
_EVENTS_KEPT_DAYS: Final = 14  # a fact can be read again from the chain; two weeks bridge any outage
_RECORDS_KEPT_DAYS: Final = 365  # commands, results and dead letters: whoever must explain a deposit needs them
_NEWS_S: Final = 30.0  # from the controller to every broker: milliseconds, unless one is busy
_REPLICAS_FOR_TWO_ACKS: Final = 3  # from here on one broker may die and every record still has two copies


class NotMade(Exception):
    """The broker refused a topic, or there was none in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic as it stands now. `batch_bytes_max` is null where the broker does not say."""

    name: str
    partitions: int
    made_now: bool
    batch_bytes_max: int | None


async def ensure(
    settings: KafkaSettings,
    *,
    partitions: int = PARTITIONS,
    replication_factor: int = 1,
    wait_s: float = 60.0,
    say: Callable[[str], None],
) -> list[Topic]:
    """Make the missing topics; NotMade when no broker answers within `wait_s` or the broker refuses."""
    wanted = _wanted(settings, partitions=partitions, replication_factor=replication_factor)
    admin = await _connect(settings, wait_s=wait_s, say=say)
    try:
        found = await _partitions(admin, wanted)
        missing = [topic for name, topic in wanted.items() if name not in found]
        made = await _make(admin, missing) if missing else set()
        found = await _all_partitions(admin, wanted) if missing else found
        limits = await _batch_limits(admin, wanted)
    finally:
        await admin.close()
    return [
        Topic(
            name=name,
            partitions=found[name],
            made_now=name in made,
            batch_bytes_max=limits.get(name),
        )
        for name in wanted
    ]


def describe(topic: Topic, *, partitions: int) -> str:
    """One line for a person: what is there, and what to mind about it."""
    line = f"{topic.name}: {'made now' if topic.made_now else 'there already'}, {topic.partitions} partitions"
    if topic.partitions != partitions:
        line += f" (not {partitions}, and left so: another number would move every key to another partition)"
    if topic.batch_bytes_max is not None and topic.batch_bytes_max < kafka.BATCH_BYTES_MAX:
        line += f"; max.message.bytes is {topic.batch_bytes_max}: raise it to {kafka.BATCH_BYTES_MAX}"
    return line


def _wanted(settings: KafkaSettings, *, partitions: int, replication_factor: int) -> dict[str, NewTopic]:
    kept_days = {
        settings.balance_events_topic: _EVENTS_KEPT_DAYS,
        settings.deposit_commands_topic: _RECORDS_KEPT_DAYS,
        settings.deposit_results_topic: _RECORDS_KEPT_DAYS,
        settings.dead_letters_topic: _RECORDS_KEPT_DAYS,
    }
    return {
        name: NewTopic(
            name,
            partitions,
            replication_factor,
            topic_configs={
                "cleanup.policy": "delete",
                "max.message.bytes": str(kafka.BATCH_BYTES_MAX),
                "min.insync.replicas": "2" if replication_factor >= _REPLICAS_FOR_TWO_ACKS else "1",
                "retention.ms": str(days * _DAY_MS),
            },
        )
        for name, days in kept_days.items()
    }


async def _connect(settings: KafkaSettings, *, wait_s: float, say: Callable[[str], None]) -> AIOKafkaAdminClient:
    where = settings.kafka_bootstrap_servers
    try:
        async for attempt in stamina.retry_context(
            on=KafkaConnectionError, attempts=None, timeout=wait_s, wait_initial=0.5, wait_max=5.0, wait_jitter=0.5
        ):
            with attempt:
                admin = AIOKafkaAdminClient(**kafka.connection(settings))
                try:
                    await admin.start()
                except KafkaConnectionError:
                    say(f"no broker answers at {where} yet (attempt {attempt.num}, for {wait_s:g} s at most)")
                    await admin.close()
                    raise
    except KafkaConnectionError as error:
        raise NotMade(f"no broker answered at {where} within {wait_s:g} s") from error
    return admin


async def _partitions(admin: AIOKafkaAdminClient, names: Collection[str]) -> dict[str, int]:
    """Those of these topics that exist, with their partitions. Asks for all: asking by name would make them."""
    described = await admin.describe_topics()
    found = {topic["topic"]: len(topic["partitions"]) for topic in described if topic["error_code"] == 0}
    return {name: found[name] for name in names if name in found}


async def _make(admin: AIOKafkaAdminClient, topics: list[NewTopic]) -> set[str]:
    """The names that were made: someone else may have been as quick with the others."""
    try:
        response = await admin.create_topics(topics)
    except IncompatibleBrokerVersion as error:
        raise NotMade("this broker cannot create topics on request (the embedded one cannot)") from error
    for name, code, message in response.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise NotMade(f"{name}: {message or for_code(code).__name__}")
    return {name for name, code, _message in response.topic_errors if code == 0}


async def _all_partitions(admin: AIOKafkaAdminClient, names: Collection[str]) -> dict[str, int]:
    """All of these topics, as soon as the brokers have heard of them."""
    async for attempt in stamina.retry_context(on=NotMade, attempts=None, timeout=_NEWS_S, wait_initial=0.05):
        with attempt:
            found = await _partitions(admin, names)
            if len(found) < len(names):
                raise NotMade(f"made, but not seen within {_NEWS_S} s: {', '.join(set(names) - set(found))}")
    return found


async def _batch_limits(admin: AIOKafkaAdminClient, names: Collection[str]) -> dict[str, int]:
    """`max.message.bytes` of each topic, where the broker tells."""
    asked = [ConfigResource(ConfigResourceType.TOPIC, name, configs={"max.message.bytes": ""}) for name in names]
    try:
        responses = await admin.describe_configs(asked)
    except IncompatibleBrokerVersion:
        return {}
    return {
        name: int(entry[1])
        for response in responses
        for code, _message, _kind, name, entries in response.resources
        for entry in entries
        if code == 0
    }
