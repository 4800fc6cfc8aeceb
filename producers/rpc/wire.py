"""Stellar RPC's answers, read: JSON in, values out. What makes no sense is Malformed, with its place."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from producers import horizon_wire
from producers.rpc import xdr as rpc_xdr
from producers.rpc.places import DIGITS_MAX, LEDGER_BITS
from producers.source import State, Unavailable
from schema import wire
from schema.stellar import (
    OPERATION_ID_MAX,
    AccountId,
    Asset,
    Ledger,
    Malformed,
    Stroops,
    ledger_of_operation,
)

MESSAGE_CHARACTERS_MAX: Final = 200
_EVENT_ID: Final = re.compile(r"([0-9]{1,19})-([0-9]{1,10})", re.ASCII)
_RANGE: Final = re.compile(r"ledger range: ([0-9]{1,10}) - ([0-9]{1,10})", re.ASCII)
_LIMIT: Final = re.compile(r"limit must not exceed ([0-9]{1,6})", re.ASCII)


class Refused(Unavailable):
    """RPC answered that the question is wrong. To ask the same again would not help."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason)
        self.ledgers = _two(_RANGE, message)  # where the question was about others than these
        limit = _LIMIT.search(message)
        self.limit_max = int(limit[1]) if limit else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event, as far as every event has it. What is in it is `rpc_events`' affair."""

    operation_id: int  # as Horizon counts
    number: int  # in its operation
    ledger: Ledger
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """An answer with events, and what it proves: everything asked for, up to `scanned`, is in it, unless it is full."""

    events: Sequence[Event]
    latest: Ledger
    scanned: Ledger  # of one that is full: the last event's ledger, not the whole of it
    closed: Mapping[Ledger, datetime]  # when ledgers closed, as far as the answer says


def result(body: Any, *, number: int, method: str) -> dict[str, Any]:
    """What a call brought: Refused or Unavailable when RPC says that it is an error."""
    answer = _object(body, "body")
    error = answer.get("error")
    if error is not None:
        code, message = _error(error)
        reason = f"{method}: error {code}: {message}"
        if code in (-32600, -32602):
            raise Refused(reason, message)
        raise Unavailable(reason)
    if answer.get("id") not in (number, str(number)):
        raise Malformed(answer.get("id"), expected=f"the call's own number {number}", field="id")
    return _object(answer.get("result"), "result")


def http_problem(body: bytes) -> str:
    """What an HTTP error's body says, whatever stands between us and RPC wrote it."""
    try:
        parsed = horizon_wire.parse(body)
        if isinstance(parsed, dict) and parsed.get("error") is not None:
            return "error {}: {}".format(*_error(parsed["error"]))
    except Malformed:
        pass
    return body[:MESSAGE_CHARACTERS_MAX].decode(errors="replace")


def passphrase(answer: Mapping[str, Any]) -> str:
    """GetNetwork."""
    found: str = _field(answer, "passphrase", wire.text(characters_max=200))
    return found


def ledger_range(answer: Mapping[str, Any]) -> tuple[Ledger, Ledger]:
    """The oldest and the newest ledger: getHealth."""
    return _ledger(answer, "oldestLedger"), _ledger(answer, "latestLedger")


def closed_at(answer: Mapping[str, Any], ledger: Ledger) -> datetime:
    """When a ledger closed: getLedgers."""
    for number, entry in enumerate(entries(answer, "ledgers")):
        place = f"ledgers[{number}]"
        found = _object(entry, place)
        if _ledger(found, "sequence", within=place) == ledger:
            return _seconds(found, "ledgerCloseTime")
    raise Malformed(answer.get("ledgers"), expected=f"ledger {ledger}", field="ledgers")


def states(
    answer: Mapping[str, Any], account_ids: Collection[AccountId], asset: Asset
) -> Mapping[AccountId, State | Malformed]:
    """GetLedgerEntries of these accounts' trustlines: of each the state, or why it makes no sense. What RPC does not
    have is an absence, in the ledger that the whole answer is of.
    """
    observed = _ledger(answer, "latestLedger")
    asked = {rpc_xdr.trustline_key(account_id, asset): account_id for account_id in account_ids}
    found: dict[AccountId, State | Malformed] = {}
    for number, entry in enumerate(entries(answer, "entries")):
        fields = _object(entry, f"entries[{number}]")
        account_id = asked.pop(str(fields.get("key")), None)
        if account_id is None:  # not asked for, or a second time: what is missing may be missing for as odd a reason
            raise Malformed(
                fields.get("key"), expected="a key that was asked for, once", field=f"entries[{number}].key"
            )
        try:
            found[account_id] = _state(fields, account_id, asset, observed)
        except Malformed as malformed:
            found[account_id] = malformed.within(f"entries[{number}]")
    return found | {account_id: horizon_wire.absence(account_id, observed) for account_id in asked.values()}


def _state(fields: Mapping[str, Any], account_id: AccountId, asset: Asset, observed: Ledger) -> State:
    encoded = fields.get("xdr")
    if not isinstance(encoded, str):
        raise Malformed(encoded, expected="XDR in base64", field="xdr")
    line = rpc_xdr.read_trustline(encoded, asset)
    if line.account_id != account_id:
        raise Malformed(line.account_id, expected=account_id, field="xdr")
    version = _ledger(fields, "lastModifiedLedgerSeq")
    if version > observed:
        raise Malformed(version, expected=f"at most latestLedger {observed}", field="lastModifiedLedgerSeq")
    if line.balance_stroops < 0:
        raise Malformed(line.balance_stroops, expected="a balance of 0 or more", field="xdr")
    return State(
        account_id=account_id,
        balance_stroops=Stroops(line.balance_stroops),
        authorized=line.authorized,
        version=version,
        observed=observed,
    )


def events(answer: Mapping[str, Any], *, limit: int) -> Events:
    """getEvents, in order."""
    latest = _ledger(answer, "latestLedger")
    found = [_event(entry, f"events[{number}]") for number, entry in enumerate(entries(answer, "events"))]
    order = [(event.operation_id, event.number) for event in found]
    if order != sorted(set(order)):
        raise Malformed(order[:4], expected="events in order, each once", field="events")
    if len(found) >= limit:
        scanned = found[-1].ledger
    else:
        scanned = Ledger(_event_place(answer.get("cursor"), "cursor")[0] >> LEDGER_BITS)
    if scanned > latest or (found and found[-1].ledger > scanned):
        raise Malformed(answer.get("cursor"), expected=f"a place up to latestLedger {latest}", field="cursor")
    return Events(events=found, latest=latest, scanned=scanned, closed=_closed(answer, latest, found))


def _event(entry: object, place: str) -> Event:
    fields = _object(entry, place)
    toid, number = _event_place(fields.get("id"), f"{place}.id")
    operation_id = toid + 1
    return Event(operation_id=operation_id, number=number, ledger=ledger_of_operation(str(operation_id)), raw=fields)


def _closed(answer: Mapping[str, Any], latest: Ledger, found: Sequence[Event]) -> Mapping[Ledger, datetime]:
    """What cannot be read is not known: it is asked for when it is needed."""
    closed = {}
    for event in found:
        if event.ledger not in closed:
            try:
                closed[event.ledger] = wire.parse_time(str(event.raw.get("ledgerClosedAt")))
            except Malformed:
                continue
    if answer.get("latestLedgerCloseTime") not in (None, "", "0", 0):
        closed[latest] = _seconds(answer, "latestLedgerCloseTime")
    return closed


def transaction(answer: Mapping[str, Any]) -> str | None:
    """The transaction's envelope: getTransaction. None: RPC does not have the transaction."""
    if answer.get("status") == "NOT_FOUND":
        return None
    envelope = answer.get("envelopeXdr")
    if not isinstance(envelope, str) or not envelope:
        raise Malformed(envelope, expected="XDR in base64", field="envelopeXdr")
    return envelope


def first_transaction(answer: Mapping[str, Any]) -> Ledger | None:
    """The ledger of the first one that getTransactions shows; None: it shows none."""
    found = entries(answer, "transactions")
    return _ledger(_object(found[0], "transactions[0]"), "ledger", within="transactions[0]") if found else None


# Fields


def _error(error: object) -> tuple[int, str]:
    if not isinstance(error, dict):
        return 0, str(error)[:MESSAGE_CHARACTERS_MAX]
    code = error.get("code")
    return (code if isinstance(code, int) else 0), str(error.get("message"))[:MESSAGE_CHARACTERS_MAX]


def _two(pattern: re.Pattern[str], message: str) -> tuple[Ledger, Ledger] | None:
    match = pattern.search(message)
    return (Ledger(int(match[1])), Ledger(int(match[2]))) if match else None


def _event_place(value: object, place: str) -> tuple[int, int]:
    match = _EVENT_ID.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) >= OPERATION_ID_MAX:
        raise Malformed(value, expected="an event's id: 19 digits, a dash, and 10 digits", field=place)
    return int(match[1]), int(match[2])


def _object(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(value, expected="a JSON object", field=place)
    return value


def entries(answer: Mapping[str, Any], name: str) -> list[Any]:
    """A list in an answer; RPC may say null where it has nothing."""
    value = answer.get(name, ())
    if value is None:
        return []
    if not isinstance(value, list):
        raise Malformed(value if name in answer else None, expected="a list", field=name)
    return value


def _ledger(answer: Mapping[str, Any], name: str, *, within: str = "") -> Ledger:
    """A ledger's number; as text it has been seen, too."""
    value = answer.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= DIGITS_MAX:
        value = int(value)
    try:
        ledger: Ledger = wire.LEDGER.read(value)
    except Malformed as malformed:
        raise malformed.within(f"{within}.{name}" if within else name) from None
    return ledger


def _seconds(answer: Mapping[str, Any], name: str) -> datetime:
    """Seconds since 1970, as a number or as text."""
    value = answer.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= DIGITS_MAX:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        try:
            return datetime.fromtimestamp(value, UTC)
        except (OverflowError, ValueError, OSError):
            pass
    raise Malformed(answer.get(name), expected="seconds since 1970", field=name)


def _field(fields: Mapping[str, Any], name: str, kind: wire.Kind) -> Any:
    try:
        return kind.read(fields.get(name))
    except Malformed as malformed:
        raise malformed.within(name) from None
