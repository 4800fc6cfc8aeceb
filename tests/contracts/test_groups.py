"""Several members of one group on a real Kafka: they share, and go on when one dies or freezes."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from sandbox.apache_kafka import ApacheKafka
from schema.service import kafka
from schema.service.kafka import Record
from tests.contracts.clients import SEND_DEADLINE_S, Clients, new_group, partitions
from tests.contracts.polling import until
from tests.fixtures_brokers import Broker

pytestmark = pytest.mark.kafka

PARTITIONS = 6
Place = tuple[int, int]


@dataclass(slots=True)
class Member:
    """A member's process and what it has said so far."""

    process: asyncio.subprocess.Process
    assigned: list[int] = field(default_factory=list)
    read: list[Place] = field(default_factory=list)
    refused: bool = False
    frozen: bool = False

    async def listen(self) -> None:
        """Follow its words until it ends."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            said = json.loads(line)
            if "assigned" in said:
                self.assigned = said["assigned"]
            elif "refused" in said:
                self.refused = True
            elif "frozen" in said:
                self.frozen = True
            else:
                self.read.append((said["partition"], said["offset"]))

    def kill(self) -> None:
        """End it without a goodbye; it holds nothing from now on."""
        self.process.kill()
        self.assigned = []


Start = Callable[..., Coroutine[None, None, Member]]


@pytest.fixture
async def start(apache_kafka: ApacheKafka) -> AsyncIterator[Start]:
    """Starts members, by topic and group; they end with the test."""
    members: list[Member] = []
    listeners: list[asyncio.Task[None]] = []

    async def start(topic: str, group: str, *options: str) -> Member:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.contracts.member",
            apache_kafka.bootstrap_servers,
            topic,
            group,
            *options,
            stdout=asyncio.subprocess.PIPE,
        )
        member = Member(process)
        members.append(member)
        listeners.append(asyncio.create_task(member.listen()))
        return member

    yield start
    for member in members:
        with suppress(ProcessLookupError):
            member.process.kill()
        await member.process.wait()
    await asyncio.gather(*listeners)


@pytest.fixture
async def clients(apache_kafka: ApacheKafka) -> AsyncIterator[Clients]:
    """Clients of the real Kafka."""
    made = Clients(Broker(node=apache_kafka).settings)
    yield made
    await made.close()


async def send(clients: Clients, topic: str, count: int) -> set[Place]:
    """Send records over all partitions; where they lie."""
    records = [Record(topic=topic, key=str(number).encode(), value=b"1") for number in range(count)]
    places = await kafka.send_all(await clients.producer(), records, deadline_s=SEND_DEADLINE_S)
    return {(place.partition, place.offset) for place in places}


def share_everything(members: list[Member]) -> bool:
    """Every partition has exactly one of these members, and every member has some."""
    held = sorted(number for member in members for number in member.assigned)
    return held == list(range(PARTITIONS)) and all(member.assigned for member in members)


@pytest.mark.parametrize("count", [2, 3])
async def test_members_share_and_hand_over(
    apache_kafka: ApacheKafka, clients: Clients, start: Start, count: int
) -> None:
    """Each partition has one member. When one is killed at work the others take its partitions; nothing is left out.

    Read twice is only what the dead one had read and not committed.
    """
    topic = await Broker(node=apache_kafka).new_topic(PARTITIONS)
    group = new_group()
    members = [await start(topic, group) for _ in range(count)]
    await until(lambda: share_everything(members), what="the partitions are shared")
    sent = await send(clients, topic, 300)

    def seen() -> Counter[Place]:
        return Counter(place for member in members for place in member.read)

    await until(lambda: set(seen()) == sent, what="the first records are read")
    assert set(seen().values()) == {1}
    sending = asyncio.create_task(send(clients, topic, 5_000))
    await until(lambda: seen().total() > len(sent), what="the members are at work again")
    victim, *others = members
    victim.kill()
    sent |= await sending
    await until(lambda: share_everything(others), what="the rest share the partitions")
    await until(lambda: set(seen()) == sent, what="all records are read")
    assert not [place for place, times in seen().items() if times > 1 and place not in victim.read]


async def test_a_new_member_gets_its_share(apache_kafka: ApacheKafka, clients: Clients, start: Start) -> None:
    """A member that joins a working group takes partitions over; nothing is left out on the way."""
    topic = await Broker(node=apache_kafka).new_topic(PARTITIONS)
    group = new_group()
    first = await start(topic, group)
    await until(lambda: share_everything([first]), what="the first has all partitions")
    sent = await send(clients, topic, 200)
    second = await start(topic, group)
    await until(lambda: share_everything([first, second]), what="the partitions are shared")
    sent |= await send(clients, topic, 200)
    await until(lambda: {*first.read, *second.read} == sent, what="all records are read")


async def test_a_frozen_member_is_fenced(apache_kafka: ApacheKafka, clients: Clients, start: Start) -> None:
    """A member that slept past its session cannot commit what it read before; what its successor committed stands.

    It then joins again as a new one.
    """
    topic = await Broker(node=apache_kafka).new_topic(PARTITIONS)
    group = new_group()
    sent = await send(clients, topic, 60)
    sleeper = await start(topic, group, "--freeze")
    await until(lambda: sleeper.frozen, what="the member has read and sleeps")
    successor = await start(topic, group)
    await until(lambda: share_everything([successor]), what="the successor has all partitions")
    await until(lambda: set(successor.read) == sent, what="the successor has read everything")

    os.kill(sleeper.process.pid, signal.SIGCONT)
    await until(lambda: sleeper.refused, what="the sleeper's commit is refused")
    await until(lambda: share_everything([sleeper, successor]), what="the sleeper has joined again")
    observer = await clients.consumer(group_id=group)
    ends = await observer.end_offsets(partitions(topic, PARTITIONS))
    assert {place: await observer.committed(place) for place in ends} == ends
