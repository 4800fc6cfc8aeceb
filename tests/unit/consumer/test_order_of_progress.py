"""Progress comes after the effect: offsets after the transaction, marks after the acks; and what is sent is what was
stored. Fakes of Kafka and of the store, as only the order is looked at; the real ones are in the other folders.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError

from consumer import loop as consumer_loop
from consumer.batch import Writes
from consumer.loop import Loop
from consumer.outbox import Outbox
from consumer.records import Arrived, Reader
from schema import balance_event, deposit_result
from schema.service import kafka
from schema.service.kafka import Record, Undelivered
from schema.service.readiness import Readiness
from schema.stellar import Network
from tests.unit.consumer.worlds import ACCOUNT, USDC
from tests.unit.consumer.worlds import balance_event as event_of

PARTITION = TopicPartition(balance_event.TOPIC, 3)


class FakeConsumer:
    """Notes the offsets that are committed."""

    def __init__(self, steps: list[str], refusing: Exception | None = None) -> None:
        self.steps = steps
        self._refusing = refusing

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        if self._refusing is not None:
            raise self._refusing
        self.steps += [f"{partition.partition}: {offset}" for partition, offset in offsets.items()]

    def assignment(self) -> set[TopicPartition]:
        return set()


class FakeStore:
    """Notes the batches; refuses those that hold this offset."""

    def __init__(self, steps: list[str], *, refusing: int | None = None, broken: Exception | None = None) -> None:
        self.steps = steps
        self._refusing = refusing
        self._broken = broken

    async def record(self, arrived: Sequence[Arrived]) -> Writes:
        if self._broken is not None:
            raise self._broken
        if any(each.record.offset == self._refusing and each.refusal is None for each in arrived):
            raise asyncpg.CheckViolationError("amounts_check")
        self.steps.append("recorded " + " ".join(str(each.record.offset) for each in arrived))
        return Writes(dead_letters=[each.refusal for each in arrived if each.refusal is not None])


def loop_over(store: FakeStore) -> Loop:
    reader = Reader(network=Network.TESTNET, asset=USDC, results_topic=deposit_result.TOPIC)
    return Loop(
        open_consumer=lambda: None,
        topics=(),
        reader=reader,
        store=store,  # type: ignore[arg-type]
        batch_events_max=10,
        on_recorded=lambda _writes: None,
        readiness=Readiness(),
    )


def fetched(*offsets: int) -> dict[TopicPartition, list[Any]]:
    records = []
    for offset in offsets:
        event = event_of(offset, 100)
        place = {"topic": PARTITION.topic, "partition": PARTITION.partition, "offset": offset, "headers": []}
        records.append(SimpleNamespace(key=ACCOUNT.encode(), value=balance_event.encode(event), **place))
    return {PARTITION: records}


async def test_no_offset_is_committed_before_the_transaction() -> None:
    """First the batch, then the offset behind its last record; when the batch fails there is no commit at all."""
    steps: list[str] = []
    await loop_over(FakeStore(steps))._take_in(FakeConsumer(steps), fetched(7, 8, 9))
    assert steps == ["recorded 7 8 9", "3: 10"]
    steps.clear()
    with pytest.raises(ZeroDivisionError):
        await loop_over(FakeStore(steps, broken=ZeroDivisionError()))._take_in(FakeConsumer(steps), fetched(7))
    assert steps == []


async def test_offsets_that_are_not_taken_are_no_failure() -> None:
    """The group has moved on: the records come again, to us or another, and change nothing."""
    steps: list[str] = []
    refused = CommitFailedError("another generation")
    await loop_over(FakeStore(steps))._take_in(FakeConsumer(steps, refused), fetched(7))
    assert steps == ["recorded 7"]


async def test_what_the_database_refuses_is_cornered() -> None:
    """One of five is refused: it alone becomes a dead letter, the others are recorded, in order."""
    steps: list[str] = []
    await loop_over(FakeStore(steps, refusing=9))._take_in(FakeConsumer(steps), fetched(7, 8, 9, 10, 11))
    recorded = [offset for step in steps if step.startswith("recorded") for offset in step.split()[1:]]
    assert recorded == ["7", "8", "9", "10", "11"]
    assert steps[-1] == "3: 12"


async def test_partitions_go_when_the_batch_in_hand_is_done() -> None:
    """A rebalance waits for the batch between Kafka and its committed offsets."""
    membership = consumer_loop._Membership()
    with membership.busy():
        going = asyncio.create_task(membership.on_partitions_revoked({PARTITION}))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not going.done()
    await asyncio.wait_for(going, timeout=30)


class FakeUnsent:
    """One command whose stored bytes are not how we would write them today."""

    PAYLOAD = b'{"amount":  "50.0000000", "command_id": "of an older version"}'

    def __init__(self, steps: list[str]) -> None:
        self.steps = steps
        row = {"command_id": UUID(int=7), "account_id": ACCOUNT, "payload": self.PAYLOAD, "trace_id": UUID(int=8)}
        self.commands = [row]
        self.dead_letters: list[Any] = []

    async def mark_sent(self, _at: datetime) -> None:
        self.steps.append("marked")


class FakeOutboxStore:
    """One row waits."""

    def __init__(self, steps: list[str]) -> None:
        self.steps = steps

    @asynccontextmanager
    async def unsent(self, *, rows_max: int) -> AsyncIterator[FakeUnsent]:
        assert rows_max
        yield FakeUnsent(self.steps)


def outbox_over(steps: list[str]) -> Outbox:
    return Outbox(
        store=FakeOutboxStore(steps),  # type: ignore[arg-type]
        open_producer=lambda: None,
        commands_topic="commands",
        dead_letters_topic="dead letters",
        source="/test",
        rows_max=10,
        clock=lambda: datetime.now(UTC),
        readiness=Readiness(),
    )


async def test_nothing_is_marked_as_sent_before_its_ack(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mark follows the broker's ack; without the ack there is none, and the row waits on."""
    steps: list[str] = []

    async def send_all(_producer: object, records: Sequence[Record], **_: float) -> None:
        steps.append(f"acked {len(records)}")

    async def give_up(*_: object, **__: float) -> None:
        raise Undelivered("no ack")

    monkeypatch.setattr(kafka, "send_all", send_all)
    assert await outbox_over(steps)._round(None) == 1
    assert steps == ["acked 1", "marked"]
    steps.clear()
    monkeypatch.setattr(kafka, "send_all", give_up)
    with pytest.raises(Undelivered):
        await outbox_over(steps)._round(None)
    assert steps == []


async def test_the_stored_bytes_are_sent_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last space: an id never stands for two contents, also when a newer version would write them otherwise."""
    sent: list[Record] = []

    async def send_all(_producer: object, records: Sequence[Record], **_: float) -> None:
        sent.extend(records)

    monkeypatch.setattr(kafka, "send_all", send_all)
    await outbox_over([])._round(None)
    assert [record.value for record in sent] == [FakeUnsent.PAYLOAD]
    assert sent[0].key == ACCOUNT.encode()
    assert (sent[0].topic, dict(sent[0].headers)["ce_id"]) == ("commands", str(UUID(int=7)).encode())
