"""From Kafka records to messages: what is for us, what is not, and what is refused, with its reason and place."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from consumer.records import KEPT_BYTES_MAX, VALUE_BYTES_MAX, Reader, refusal
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
    headers: Sequence[tuple[str, bytes | None]] = field(default_factory=lambda: list(GOOD_HEADERS))


def test_a_fact_of_ours_is_read() -> None:
    """The message is the event, whether or not it has headers."""
    for headers in (list(GOOD_HEADERS), [], [*GOOD_HEADERS, ("without a value", None)]):
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
        ({"value": b'{"event_id":' + b"[" * 1_020 + b"]" * 1_020 + b"}"}, "event_id is a list nested too deeply"),
        ({"value": b" " * (VALUE_BYTES_MAX + 1)}, f"at most {VALUE_BYTES_MAX} bytes"),
        ({"value": b"{}"}, "event_id"),
        ({"key": None}, "key is None"),
        ({"key": b"GAFK7"}, "the account id"),
        ({"headers": [("ce_type", b"stellar.balance-event.v2")]}, "stellar.balance-event.v1"),
        ({"headers": [("ce_specversion", b"2.0")]}, "ce_specversion"),
        ({"headers": [("ce_type", None)]}, "header ce_type is None, expected stellar.balance-event.v1"),
        ({"headers": [("ce_specversion", None)]}, "header ce_specversion is None, expected 1.0"),
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


def test_a_value_may_be_as_large_as_it_may() -> None:
    """To the byte; one more is refused, and the words say how many there were."""
    value = balance_event.encode(EVENT)
    padded = value + b" " * (VALUE_BYTES_MAX - len(value))
    (arrived,) = READER.read([ConsumedRecord(value=padded)])
    assert arrived.message == EVENT
    for too_much, words in (
        (padded + b" ", f"value is '{VALUE_BYTES_MAX + 1} bytes', expected at most {VALUE_BYTES_MAX} bytes"),
        (None, "value is None, expected a JSON object"),
    ):
        (refused,) = READER.read([ConsumedRecord(value=too_much)])
        assert refused.refusal is not None
        assert refused.refusal.detail == words
        assert refused.refusal.reason == "malformed"
        assert list(refused.refusal.headers) == GOOD_HEADERS


def test_a_dead_letter_is_no_larger_than_a_row_can_be() -> None:
    """What a topic takes uncompressed is kept to the byte; of more, which was compressed, the beginning: it says so."""
    large = b"x" * KEPT_BYTES_MAX
    whole = refusal(ConsumedRecord(key=large, value=large, headers=[("h", large[1:])]), "reason", "words")
    assert (whole.key, whole.value, whole.headers) == (large, large, [("h", large[1:])])
    assert whole.detail == "words"
    more = large + b"y"
    cut = refusal(ConsumedRecord(key=more, value=more, headers=[("h", large), ("null", None)]), "reason", "words")
    assert (cut.key, cut.value, cut.headers) == (large, large, ())
    assert cut.detail == (
        f"words; of {KEPT_BYTES_MAX + 1} bytes of its key the first {KEPT_BYTES_MAX} are kept here"
        f"; of {KEPT_BYTES_MAX + 1} bytes of its value the first {KEPT_BYTES_MAX} are kept here"
        f"; of {KEPT_BYTES_MAX + 5} bytes of its headers none is kept here"
    )


def test_a_wrong_key_is_told_with_the_right_one() -> None:
    """Word for word."""
    (refused,) = READER.read([ConsumedRecord(key=b"GAFK7")])
    assert refused.refusal is not None
    right = f"the account id {EVENT.account_id}, which keeps its order"
    assert refused.refusal.detail == f"key is b'GAFK7', expected {right}"


def test_a_dead_letter_is_what_a_database_can_hold() -> None:
    """No NUL in its words or headers; what is no text is base64."""
    record = ConsumedRecord(headers=[("h\0", b"a\0b"), ("bytes", b"\xff\xfe"), ("nothing", None), ("empty", b"")])
    letter = refusal(record, "reason", "a\0b\0")
    assert letter.detail == "a\\u0000b\\u0000"
    assert letter.headers_as_text() == [
        ["h\\u0000", "a\\u0000b"],
        ["bytes", "base64://4="],
        ["nothing", None],
        ["empty", ""],
    ]
    assert letter.reason == "reason"
    without_value = refusal(ConsumedRecord(value=None), "reason", "")
    empty = refusal(ConsumedRecord(value=b""), "reason", "")
    assert without_value.dead_letter_id == empty.dead_letter_id
    places = [ConsumedRecord(topic="other"), ConsumedRecord(partition=4), ConsumedRecord(offset=5), ConsumedRecord()]
    assert len({refusal(place, "reason", "").dead_letter_id for place in places}) == 4


def test_the_golden_id_of_a_dead_letter() -> None:
    """It stands in people's databases: a replay by a later version says the same."""
    letter = refusal(ConsumedRecord(topic="stellar.balance-events", value=b"poison"), "malformed", "")
    assert str(letter.dead_letter_id) == "2da56875-031c-54e3-9f05-85493cfc7716"
