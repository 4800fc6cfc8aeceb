"""From Kafka records to what the decision can take in: facts, results, and dead letters for the rest. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from consumer.dead_letters import DeadLetter
from schema import balance_event, cloud_events, deposit_result
from schema.balance_event import BalanceEvent
from schema.deposit_result import DepositResult
from schema.stellar import Asset, Malformed, Network

VALUE_BYTES_MAX: Final = 8 * 1024 * 1024
KEPT_BYTES_MAX: Final = (
    VALUE_BYTES_MAX + 64 * 1024
)  # what a topic takes; more was compressed, and a row could be too large


class Record(Protocol):
    """What we look at of a consumed Kafka record."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """One record taken apart: exactly one of the message and the refusal is there, or neither when it is not for us."""

    record: Record
    message: BalanceEvent | DepositResult | None = None
    refusal: DeadLetter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """What this installation is about, and which topic carries what."""

    network: Network
    asset: Asset
    results_topic: str

    def read(self, records: Iterable[Record]) -> list[Arrived]:
        """Every record, in order; none of them raises."""
        return [self._read_one(record) for record in records]

    def _read_one(self, record: Record) -> Arrived:
        try:
            if record.topic == self.results_topic:
                return Arrived(record=record, message=_read_result(record))
            event = _read_event(record)
        except Malformed as malformed:
            return Arrived(record=record, refusal=refusal(record, "malformed", str(malformed)))
        is_ours = event.network is self.network and event.asset == self.asset
        return Arrived(record=record, message=event if is_ours else None)


def refusal(record: Record, reason: str, detail: str) -> DeadLetter:
    """The dead letter of a record. Of one that is larger than a topic takes uncompressed, the beginning is kept."""
    sizes = {"key": len(record.key or b""), "value": len(record.value or b"")}
    sizes["headers"] = sum(len(name) + len(value or b"") for name, value in record.headers)
    for part, size in sizes.items():
        if size > KEPT_BYTES_MAX:
            kept = "none is" if part == "headers" else f"the first {KEPT_BYTES_MAX} are"
            detail += f"; of {size} bytes of its {part} {kept} kept here"
    return DeadLetter(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key and record.key[:KEPT_BYTES_MAX],
        value=record.value and record.value[:KEPT_BYTES_MAX],
        headers=record.headers if sizes["headers"] <= KEPT_BYTES_MAX else (),
        reason=reason,
        detail=detail.replace("\x00", "\\u0000"),
    )


def _read_event(record: Record) -> BalanceEvent:
    event = balance_event.decode(_value(record))
    cloud_events.check_version(record.headers, balance_event.TYPE)
    if record.key != balance_event.key(event):
        raise Malformed(record.key, expected=f"the account id {event.account_id}, which keeps its order", field="key")
    return event


def _read_result(record: Record) -> DepositResult:
    cloud_events.check_version(record.headers, deposit_result.TYPE)
    return deposit_result.decode(_value(record))


def _value(record: Record) -> bytes:
    if record.value is None:
        raise Malformed(None, expected="a JSON object", field="value")
    if len(record.value) > VALUE_BYTES_MAX:
        raise Malformed(f"{len(record.value)} bytes", expected=f"at most {VALUE_BYTES_MAX} bytes", field="value")
    return record.value
