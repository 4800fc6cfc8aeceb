"""From Kafka records to messages: what is for us, what is not, and what is refused, with its reason and place."""

from dataclasses import dataclass, field, replace

import pytest

from consumer.records import VALUE_BYTES_MAX, Reader
from schema import balance_event, cloud_events, deposit_result
from schema.stellar import Asset, Network
from tests.unit.consumer.worlds import SENDER, USDC
from tests.unit.consumer.worlds import balance_event as event_of

READER = Reader(network=Network.TESTNET, asset=USDC, results_topic=deposit_result.TOPIC)
EVENT = event_of(1, 100)
GOOD_HEADERS = cloud_events.headers(
    type_=balance_event.TYPE, id_=str(EVENT.event_id), source="/test", trace=EVENT.event_id
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumedRecord:
    """A Kafka record as far as we look at it."""

    topic: str = balance_event.TOPIC
    partition: int = 3
    offset: int = 1234567890123
    key: bytes | None = balance_event.key(EVENT)
    value: bytes | None = balance_event.encode(EVENT)
    headers: list[tuple[str, bytes]] = field(default_factory=lambda: list(GOOD_HEADERS))


def test_a_fact_of_ours_is_read() -> None:
    """The message is the event, whether or not it has headers."""
    for headers in (list(GOOD_HEADERS), []):
        (arrived,) = READER.read([ConsumedRecord(headers=headers)])
        assert arrived.message == EVENT
        assert arrived.refusal is None


def test_another_network_or_asset_is_neither_taken_nor_refused() -> None:
    """Topics may be shared: what is somebody else's is let pass."""
    counterfeit = event_of(1, 100, asset=Asset.parse(f"USDC:{SENDER}"))
    for event in (event_of(1, 100, network=Network.MAINNET), counterfeit):
        (arrived,) = READER.read([ConsumedRecord(value=balance_event.encode(event))])
        assert arrived.message is None
        assert arrived.refusal is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"value": None}, "value is None"),
        ({"value": b"not JSON"}, "expected JSON"),
        ({"value": b"[]"}, "a JSON object"),
        ({"value": b" " * (VALUE_BYTES_MAX + 1)}, f"at most {VALUE_BYTES_MAX} bytes"),
        ({"value": b"{}"}, "event_id"),
        ({"key": None}, "key is None"),
        ({"key": b"GAFK7"}, "the account id"),
        ({"headers": [("ce_type", b"stellar.balance-event.v2")]}, "stellar.balance-event.v1"),
        ({"headers": [("ce_specversion", b"2.0")]}, "ce_specversion"),
    ],
)
def test_what_cannot_be_read_is_a_dead_letter_with_its_place(changed: dict[str, object], words: str) -> None:
    """Unknown version, wrong key, too large, not JSON: the reason names the fault, the record is kept whole."""
    record = replace(ConsumedRecord(), **changed)  # type: ignore[arg-type]
    (arrived,) = READER.read([record])
    letter = arrived.refusal
    assert letter is not None
    assert words in letter.detail
    assert (letter.topic, letter.partition, letter.offset) == (record.topic, record.partition, record.offset)
    assert (letter.key, letter.value) == (record.key, record.value)


def test_a_dead_letters_id_is_the_same_in_every_replay_and_another_for_another_record() -> None:
    """The id follows from place and bytes: a re-created topic that reuses the offset makes another one."""
    first, again, other = (
        READER.read([ConsumedRecord(value=value)])[0].refusal for value in (b"poison", b"poison", b"other poison")
    )
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.dead_letter_id == again.dead_letter_id != other.dead_letter_id
    assert first.headers_as_text()[0] == ["ce_specversion", "1.0"]
