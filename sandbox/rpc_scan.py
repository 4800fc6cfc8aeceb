"""Going through the simulated chain's events as RPC does: from a place on, by filters."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from stellar_sdk import StrKey

from sandbox.chain_history import Entry, Kind, Span, Transaction
from sandbox.chain_operations import ContractCall
from sandbox.chain_transactions import OPERATIONS_PER_LEDGER_MAX
from sandbox.horizon_instance import Instance
from sandbox.rpc_events import cursor, events_of, fees_of

RENDERED_MAX: Final = 50_000
ENTRIES_AT_ONCE: Final = 1_000
LIST_MAX: Final = 5  # contracts of a filter, and topics
SEGMENTS_MAX: Final = 4  # of a topic, without a last `**`
JsonObject = dict[str, Any]


class Scan:
    """The chain's events in order. What was rendered once is kept."""

    def __init__(self, instance: Instance) -> None:
        self._history = instance.chain.history
        self._network = instance.chain.network
        self._options = instance.options
        self._rendered: dict[int, list[JsonObject]] = {}

    def events_from(self, start: tuple[int, int], end_ledger: int) -> Iterator[JsonObject]:
        """Every event from that place on, in the ledgers before the last one."""
        begin = cursor(*start)
        span = Span(
            cursor=start[0],
            descending=False,
            limit=ENTRIES_AT_ONCE,
            latest_ledger=end_ledger - 1,
            include_failed=True,
        )
        ledger = 0
        while True:
            entries = self._history.page(Kind.OPERATIONS, span)
            for entry in entries:
                fees = self._fees_of(entry.transaction.ledger) if entry.transaction.ledger != ledger else []
                ledger = entry.transaction.ledger
                for event in (*fees, *self._events_of(entry)):
                    if event["id"] >= begin:
                        yield event
            if len(entries) < span.limit:
                return
            span = replace(span, cursor=entries[-1].operation_id)

    def transactions_of(self, ledger: int) -> list[Transaction]:
        """A ledger's transactions, in order."""
        span = Span(
            cursor=None,
            descending=False,
            limit=OPERATIONS_PER_LEDGER_MAX,
            latest_ledger=ledger,
            include_failed=True,
            only_ledger=ledger,
        )
        entries = self._history.page(Kind.OPERATIONS, span)
        return list({entry.transaction.hash: entry.transaction for entry in entries}.values())

    def _fees_of(self, ledger: int) -> list[JsonObject]:
        if not self._options.rpc_classic_events:
            return []
        return fees_of(self.transactions_of(ledger), self._network)

    def _events_of(self, entry: Entry) -> list[JsonObject]:
        if not self._options.rpc_classic_events and not isinstance(entry.operation, ContractCall):
            return []
        found = self._rendered.get(entry.operation_id)
        if found is None:
            if len(self._rendered) >= RENDERED_MAX:
                self._rendered.clear()
            found = self._rendered[entry.operation_id] = events_of(entry, self._network)
        return found


def wrong_with(wanted: JsonObject) -> str:
    """Why RPC does not take this filter; empty when it does."""
    kinds = str(wanted.get("type") or "contract").split(",")
    contracts, topics = wanted.get("contractIds") or [], wanted.get("topics") or []
    if not set(kinds) <= {"system", "contract"}:
        return "filter type invalid: if set, type must be either 'system' or 'contract'"
    if len(contracts) > LIST_MAX:
        return f"maximum {LIST_MAX} contract IDs per filter"
    if len(topics) > LIST_MAX:
        return f"maximum {LIST_MAX} topics per filter"
    for number, contract in enumerate(contracts, start=1):
        if not StrKey.is_valid_contract(contract):
            return f"contract ID {number} invalid"
    for number, topic in enumerate(topics, start=1):
        if wrong := _wrong_with_topic(topic):
            return f"topic {number} invalid: {wrong}"
    return ""


def _wrong_with_topic(wanted: list[str]) -> str:
    if not wanted:
        return "topic must have at least 1 segment"
    segments = wanted[:-1] if wanted[-1] == "**" else wanted
    if "**" in segments:
        return f"segment {segments.index('**') + 1} invalid: wildcard '**' is only allowed as the last segment"
    return f"topic cannot have more than {SEGMENTS_MAX} segments" if len(segments) > SEGMENTS_MAX else ""


def matches(wanted: JsonObject, event: JsonObject) -> bool:
    """Whether the event is asked for by this filter."""
    types = str(wanted.get("type") or "")
    contracts, topics = wanted.get("contractIds"), wanted.get("topics")
    return (
        (not types or event["type"] in types.split(","))
        and (not contracts or event["contractId"] in contracts)
        and (not topics or any(_matches_topics(each, event["topic"]) for each in topics))
    )


def _matches_topics(wanted: list[str], topics: list[str]) -> bool:
    """`*` is any one topic, `**` in the end any number of them."""
    if wanted and wanted[-1] == "**":
        wanted = wanted[:-1]
        if len(topics) < len(wanted):
            return False
    elif len(topics) != len(wanted):
        return False
    return all(each in ("*", topic) for each, topic in zip(wanted, topics, strict=False))
