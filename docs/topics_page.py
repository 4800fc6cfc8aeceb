"""docs/topics.md, from the messages' tables; its examples are made by the real encoders."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast
from uuid import UUID

import orjson

from consumer.outbox import Outbox
from docs.meanings import INTRODUCTIONS, MEANINGS
from schema import balance_event, cloud_events, deposit_command, deposit_result, identity, topics, wire
from schema.balance_event import Movement, SnapshotType
from schema.deposit_command import DepositCommand
from schema.deposit_result import DepositResult, ResultStatus
from schema.service.settings import DEAD_LETTERS_TOPIC, KafkaSettings
from schema.stellar import Asset, Ledger, Network, Stroops, parse_account_id, parse_address

BEGINNING: Final = """# Topics

{topics}

`python -m schema topics` makes them. The key of a fact, a command and a result is the account id: one wallet's records
stay in one partition, in order. A value is JSON, 8 MiB at most; its JSON Schema is in `schema/json`. An amount is text
from `0` to `922337203685.4775807` with at most seven decimals, never a JSON number. Unknown fields are ignored, so that
fields can be added; a missing or malformed one makes the record a dead letter. All fields are always there; one that
has nothing to say is null. What may repeat, and what a reader must do about it, is in [guarantees.md](guarantees.md).

Headers are CloudEvents 1.0 in binary mode. `traceparent` is the same trace for a fact and the command that it caused.
The consumer takes a record without headers, and refuses another `ce_type` or `ce_specversion`.
"""
DEAD_LETTERS: Final = """
What was refused: the key and the value as they came, byte for byte, and in the headers where it lay and why. A record
of Kafka has that record's coordinates; what came from Horizon has `horizon:payments` or `horizon:accounts` for a topic
and the operation's id for an offset. Reasons and remedies are in [operations.md](operations.md). A value too large for
the topic stays in the table `dead_letters`, and a note takes its place.
"""
_PATTERNS: Final[Mapping[str, str]] = {
    str(kind.json_schema["pattern"]): words
    for kind, words in (
        (wire.ACCOUNT_ID, "account id: `G...`"),
        (wire.ADDRESS, "address: `G...`, `C...`, `L...` or `B...`"),
        (wire.ASSET, "`CODE:ISSUER`"),
        (wire.AMOUNT, "amount"),
        (wire.SIGNED_AMOUNT, "amount, sign first"),
        (wire.TRANSACTION_HASH, "64 hexadecimal digits"),
        (wire.OPERATION_ID, "operation id: up to 19 digits"),
    )
}
_FORMATS: Final = {"uuid": "UUID", "date-time": "time, RFC 3339"}

Headers = Sequence[tuple[str, bytes]]

_ACCOUNT: Final = parse_account_id("GAFK7XFZHMLSNV7OJTBO7BAIZA66X6QIBV5RMZZYXK4Q7ZSO52J5C3WQ")
_SENDER: Final = parse_address("GC5LF63GRVIT5ZXXCXLPI3RX2YXKJQFZVBSAO6AUELN3YIMSWPD6Z6FH")
_USDC: Final = Asset.parse("USDC:GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5")
_WALLET: Final = UUID("0f5f0c9e-2f0b-4a1c-9d41-5b7a7a3f6f10")
_LEDGER: Final = Ledger(52_446_757)
_CLOSED_AT: Final = datetime(2026, 1, 31, 12, 0, 5, tzinfo=UTC)
_HASH: Final = "d5b3b11e39b9450a79645de31a2503c45b9cfe1567b81f52b4a212afd834492e"

FACT: Final = balance_event.fact(
    snapshot_type=SnapshotType.WEBHOOK,
    network=Network.TESTNET,
    account_id=_ACCOUNT,
    asset=_USDC,
    balance_stroops=Stroops(1_500_000_000),
    authorized=True,
    ledger=_LEDGER,
    observed_ledger=Ledger(_LEDGER + 1),
    observed_at=_CLOSED_AT,
    movements_since=Ledger(_LEDGER - 90),
    movements=(
        Movement(
            operation_id=str((_LEDGER << 32) + 4097),
            ledger=_LEDGER,
            transaction_hash=_HASH,
            type="payment",
            counterparty=_SENDER,
            amount_stroops=Stroops(500_000_000),
        ),
    ),
)
COMMAND: Final = DepositCommand(
    command_id=identity.command_id(_WALLET, str(FACT.event_id)),
    previous_command_id=None,
    user_id=UUID("7c1a7a0e-94c6-4c39-8f53-0c7b3a5b8d22"),
    wallet_id=_WALLET,
    account_id=_ACCOUNT,
    network=Network.TESTNET,
    asset=_USDC,
    vault_address=None,
    amount_stroops=Stroops(500_000_000),
    balance_stroops=FACT.balance_stroops,
    reserve_stroops=Stroops(1_000_000_000),
    ledger=FACT.ledger,
    caused_by=str(FACT.event_id),
    snapshot_id=identity.snapshot_id(_WALLET, str(FACT.event_id), FACT.observed_at),
    issued_at=datetime(2026, 1, 31, 12, 0, 5, 250_000, tzinfo=UTC),
    expires_at=datetime(2026, 1, 31, 12, 5, 5, 250_000, tzinfo=UTC),
)
RESULT: Final = DepositResult(
    command_id=COMMAND.command_id,
    status=ResultStatus.SUCCEEDED,
    amount_stroops=COMMAND.amount_stroops,
    transaction_hash="6f8a1f4f4d3c3f3f9b7c7d2b5d1a4a1d0a6f7d1c8f3e2b1a0c9d8e7f6a5b4c3d",
    ledger=Ledger(_LEDGER + 3),
    error=None,
    completed_at=datetime(2026, 1, 31, 12, 0, 20, tzinfo=UTC),
)


def page() -> str:
    """The page's Markdown."""
    sections = (
        _message(balance_event, FACT, id_=str(FACT.event_id), by="producers/stream", trace=FACT.event_id),
        _message(deposit_command, COMMAND, id_=str(COMMAND.command_id), by="consumer", trace=FACT.event_id),
        _message(deposit_result, RESULT, id_=RESULT.result_id, by="executor", trace=RESULT.command_id),
        f"\n## `{DEAD_LETTERS_TOPIC}`\n{DEAD_LETTERS}\nHeaders:\n\n{_header_table(_dead_letter_headers())}",
    )
    return BEGINNING.format(topics=_topic_table()) + "".join(sections)


def _topic_table() -> str:
    settings = KafkaSettings.model_construct()
    wanted = topics._wanted(settings, partitions=topics.PARTITIONS, replication_factor=1)  # noqa: SLF001 - what it makes
    between = {
        settings.balance_events_topic: ("producers", "consumer"),
        settings.deposit_commands_topic: ("consumer", "executor"),
        settings.deposit_results_topic: ("executor", "consumer"),
        settings.dead_letters_topic: ("consumer", "people"),
    }
    rows = ["| topic | who writes | who reads | partitions | kept |", "|---|---|---|---|---|"]
    for name, topic in wanted.items():
        days = int(topic.topic_configs["retention.ms"]) // (24 * 60 * 60 * 1000)
        writer, reader = between[name]
        rows.append(f"| `{name}` | {writer} | {reader} | {topic.num_partitions} | {days} days |")
    return "\n".join(rows)


def _message(module: Any, example: object, *, id_: str, by: str, trace: UUID) -> str:
    document = wire.json_schema(module.FIELDS, title="", description="")
    body = orjson.dumps(orjson.loads(module.encode(example)), option=orjson.OPT_INDENT_2).decode()
    headers = cloud_events.headers(type_=module.TYPE, id_=id_, source=f"/{Network.TESTNET}/{by}", trace=trace)
    return (
        f"\n## `{module.TOPIC}`\n\n{INTRODUCTIONS[module.TYPE]}\n\n{_field_table(module.TYPE, document)}\n"
        f"```json\n{body}\n```\n\nHeaders:\n\n{_header_table(headers)}"
    )


def _field_table(message: str, document: Mapping[str, Any]) -> str:
    fields = list(_fields(document, ""))
    meanings = MEANINGS[message]
    if [name for name, _ in fields] != list(meanings):
        raise AssertionError(f"docs/meanings.py does not name the fields of {message}, in their order")
    rows = ["| field | type | meaning |", "|---|---|---|"]
    rows += [f"| `{name}` | {kind} | {meanings[name]} |" for name, kind in fields]
    return "\n".join(rows) + "\n"


def _fields(document: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, kind in document["properties"].items():
        yield f"{prefix}{name}", _type(kind)
        inner = next((each for each in kind.get("anyOf", ()) if each.get("type") != "null"), kind)
        if inner["type"] == "array":
            yield from _fields(inner["items"], f"{prefix}{name}[].")
        elif inner["type"] == "object":
            yield from _fields(inner, f"{prefix}{name}.")


def _type(kind: Mapping[str, Any]) -> str:
    if "anyOf" in kind:
        return " or ".join("null" if each.get("type") == "null" else _type(each) for each in kind["anyOf"])
    if "enum" in kind:
        return " or ".join(f"`{each}`" for each in kind["enum"])
    if "maxLength" in kind:
        return f"text, 1 to {kind['maxLength']} characters"
    if "pattern" in kind:
        return _PATTERNS[kind["pattern"]]
    if "format" in kind:
        return _FORMATS[kind["format"]]
    return {"integer": "ledger: a whole number", "boolean": "true or false", "array": "list", "object": "object"}[
        kind["type"]
    ]


def _header_table(headers: Iterable[tuple[str, bytes]]) -> str:
    rows = ["| header | example |", "|---|---|"]
    rows += [f"| `{name}` | `{value.decode()}` |" for name, value in headers]
    return "\n".join(rows) + "\n"


def _dead_letter_headers() -> Headers:
    nobody = cast("Any", None)
    outbox = Outbox(
        store=nobody,
        open_producer=nobody,
        commands_topic=deposit_command.TOPIC,
        dead_letters_topic=DEAD_LETTERS_TOPIC,
        source="",
        rows_max=1,
        clock=nobody,
        readiness=nobody,
    )
    row = {
        "id": "5b0d2c43-0a55-5c5a-8d1e-3e0b7d0f3c11",
        "topic": balance_event.TOPIC,
        "partition": 3,
        "place": 1207,
        "key": _ACCOUNT.encode(),
        "value": b"{}",
        "reason": "malformed",
        "detail": "event_id is None, expected a field of this name: it is missing",
        "headers": "[]",
    }
    return outbox._dead_letter(row).headers  # noqa: SLF001 - the real ones
