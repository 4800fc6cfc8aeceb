"""The oracle: it knows the chain, the topics and what is stored, shares no code with the decision, checks every sum."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from aiokafka import TopicPartition

from sandbox.stage import Stage
from schema import balance_event, deposit_command, deposit_result
from schema.balance_event import BalanceEvent
from schema.deposit_result import ResultStatus
from schema.service import kafka
from schema.service.settings import KafkaSettings
from schema.stellar import AccountId, Malformed, format_stroops, parse_signed_stroops, parse_stroops

READ_TIMEOUT_MS: Final = 1_000
STOP_DEADLINE_S: Final = 10.0
DISCREPANCIES_SHOWN: Final = 20


@dataclass(slots=True, kw_only=True)
class Sums:
    """What the whole run adds up to, in stroops, and everything that does not."""

    baseline: int = 0
    received: int = 0
    excluded: int = 0
    doubtful: int = 0
    spent: int = 0
    deposited: int = 0
    balance: int = 0
    commanded: int = 0
    snapshots: int = 0
    commands: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    dead_letters: int = 0
    topic_commands: int = 0
    topic_repeats: int = 0
    discrepancies: list[str] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        return not self.discrepancies


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """What was said on the topics: each command's and each result's bytes by command id, with how often."""

    commands: dict[str, Counter[bytes]]
    results: dict[str, Counter[bytes]]
    doubtful: set[str]  # events that do not say where the money came from
    complete: bool  # false when the broker has dropped the oldest records


async def check(stage: Stage, *, minimum_stroops: int) -> Sums:
    """Compare the chain, the topics and the database, wallet by wallet. Call it when everything is quiet."""
    sums = Sums()
    topics = await read_topics(stage)
    _check_topics(topics, sums)
    for wallet_id, account_id in stage.wallets.items():
        rows = await stage.pool.fetch(
            "select * from balance_snapshots where wallet_id = $1"
            " order by ledger, snapshot_type = 'auto_deposit_trigger', id",
            wallet_id,
        )
        commands = await stage.pool.fetch("select * from deposit_commands where wallet_id = $1", wallet_id)
        wallet = await stage.pool.fetchrow("select * from stellar_wallets where id = $1", wallet_id)
        history = await stage.ask_chain(f"accounts/{account_id}/history?asset={stage.asset}")
        _Wallet(account_id, stage.vault, sums, minimum_stroops).check(history, rows, commands, wallet, topics)
    sums.dead_letters = await stage.pool.fetchval("select count(*) from dead_letters")
    if not (await stage.ask_chain("sums"))["exact"]:
        sums.discrepancies.append("the simulated chain itself does not add up")
    return sums


@dataclass(slots=True)
class _Moved:
    received: int = 0
    excluded: int = 0
    spent: int = 0
    deposited: int = 0


class _Wallet:
    """One wallet's sums, from the chain's point of view first."""

    def __init__(self, account_id: AccountId, vault: AccountId | None, sums: Sums, minimum_stroops: int) -> None:
        self._account_id = account_id
        self._vault = vault
        self._sums = sums
        self._minimum = minimum_stroops

    def check(self, history: Any, snapshots: Any, commands: Any, wallet: Any, topics: Topics) -> None:
        by_ledger = _balances_by_ledger(history)
        facts = [row for row in snapshots if row["event_id"] is not None]
        if not facts:
            self._wrong("no snapshot at all")
            return
        self._check_snapshots(snapshots, facts, by_ledger)
        self._check_commands(commands, topics)
        self._check_money(history, facts, commands, wallet, topics)

    def _check_snapshots(self, snapshots: Any, facts: Any, by_ledger: dict[int, int]) -> None:
        """One per version, each what the chain held in that ledger, each linked to the one before."""
        self._sums.snapshots += len(snapshots)
        previous = None
        for row in snapshots:
            if previous is not None and row["previous_balance"] != previous:
                self._wrong(f"snapshot {row['id']} says previous {row['previous_balance']}, the one before {previous}")
            previous = row["usdc_balance"]
        for row in facts:
            held = _held(by_ledger, row["ledger"])
            if held is not None and _stroops(row["usdc_balance"]) != held:
                self._wrong(f"ledger {row['ledger']}: recorded {row['usdc_balance']}, held {_units(held)}")
        versions = [row["ledger"] for row in facts]
        if len(set(versions)) != len(versions):
            self._wrong("a version was recorded twice")

    def _check_commands(self, commands: Any, topics: Topics) -> None:
        """Each stored command went out as it is stored, and nothing else under its id."""
        self._sums.commands += len(commands)
        for row in commands:
            self._sums.statuses[row["status"]] += 1
            self._sums.commanded += _stroops(row["amount"])
            said = topics.commands.get(str(row["command_id"]), Counter())
            if said and set(said) != {bytes(row["payload"])}:
                self._wrong(f"command {row['command_id']}: other bytes were sent than are stored")
            if not said and topics.complete and row["published_at"] is not None:
                self._wrong(f"command {row['command_id']}: marked as sent, and not on the topic")
            if row["status"] in ("pending", "published"):
                self._wrong(f"command {row['command_id']}: still {row['status']}")

    def _check_money(self, history: Any, facts: Any, commands: Any, wallet: Any, topics: Topics) -> None:
        """What came in and was to be deposited has been, once; what was not to be is still there."""
        deposits = {row["transaction_hash"]: row for row in commands if row["deposited_amount"] is not None}
        moved = self._moved(history, after=facts[0]["ledger"], deposits=set(deposits))
        recorded = sum(_stroops(row["deposited_amount"]) for row in deposits.values())
        baseline, balance = _stroops(facts[0]["usdc_balance"]), parse_stroops(history["balance"] or "0")
        doubtful = sum(
            max(_stroops(row["balance_change"]), 0) for row in facts[1:] if str(row["event_id"]) in topics.doubtful
        )
        left = balance - baseline - moved.excluded - doubtful
        whole = baseline + moved.received + moved.excluded - moved.spent - moved.deposited
        stored = wallet["previous_usdc_balance"]
        for holds, otherwise in (
            (moved.deposited == recorded, f"{_units(moved.deposited)} was deposited, {_units(recorded)} is recorded"),
            (whole == balance, f"baseline and changes make {_units(whole)}, the balance is {_units(balance)}"),
            (moved.deposited <= moved.received, "more was deposited than came in to be deposited"),
            (left < max(self._minimum, 1), f"{_units(left)} that qualified is not deposited"),
            (left >= 0 or moved.spent > 0 or doubtful > 0, "money that did not qualify is gone"),
            (stored is not None and _stroops(stored) == balance, f"stored {stored}, on the chain {_units(balance)}"),
        ):
            if not holds:
                self._wrong(otherwise)
        for name in ("received", "excluded", "spent", "deposited"):
            setattr(self._sums, name, getattr(self._sums, name) + getattr(moved, name))
        self._sums.doubtful += doubtful
        self._sums.baseline += baseline
        self._sums.balance += balance

    def _moved(self, history: Any, *, after: int, deposits: set[str]) -> "_Moved":
        moved = _Moved()
        for change in history["changes"]:
            amount = _signed(change["amount"])
            if change["ledger"] <= after:
                continue
            if change["transaction_hash"] in deposits:
                moved.deposited -= amount
            elif amount < 0:
                moved.spent -= amount
            elif change["source"] == self._vault:
                moved.excluded += amount
            else:
                moved.received += amount
        return moved

    def _wrong(self, what: str) -> None:
        self._sums.discrepancies.append(f"{self._account_id[:8]}…: {what}")


def _stroops(amount: Decimal) -> int:
    return parse_stroops(f"{amount:f}")


def _units(stroops: int) -> str:
    return format_stroops(stroops)


def _balances_by_ledger(history: Any) -> dict[int, int]:
    """What the wallet held after each ledger that changed it, by going back from what it holds now."""
    held = parse_stroops(history["balance"] or "0")
    after: dict[int, int] = {}
    for change in reversed(history["changes"]):
        after.setdefault(change["ledger"], held)
        held = type(held)(held - _signed(change["amount"]))
    after[0] = held
    return after


def _held(by_ledger: dict[int, int], ledger: int) -> int | None:
    at = max((known for known in by_ledger if known <= ledger), default=None)
    return None if at is None else by_ledger[at]


def _signed(text: str) -> int:
    return parse_signed_stroops(text if text.startswith("-") else f"+{text}")


def _check_topics(topics: Topics, sums: Sums) -> None:
    for command_id, said in topics.commands.items():
        sums.topic_commands += 1
        sums.topic_repeats += said.total() - 1
        if len(said) > 1:
            sums.discrepancies.append(f"command {command_id}: {len(said)} different contents under one id")
    for command_id, said in topics.results.items():
        endings = {deposit_result.decode(body).status for body in said}
        if len(endings) > 1:
            sums.discrepancies.append(f"command {command_id}: reported as {ResultStatus.SUCCEEDED} and as failed")


async def read_topics(stage: Stage) -> Topics:
    """Every command and result on the topics, from their beginning to their end as of now."""
    settings = KafkaSettings(kafka_bootstrap_servers=stage.bootstrap_servers)
    commands, complete = await _read(settings, settings.deposit_commands_topic)
    results, _ = await _read(settings, settings.deposit_results_topic)
    events, _ = await _read(settings, settings.balance_events_topic)
    return Topics(
        commands=_by_id(commands, lambda body: str(deposit_command.decode(body).command_id)),
        results=_by_id(results, lambda body: str(deposit_result.decode(body).command_id)),
        doubtful={str(event.event_id) for event in _events(events) if event.movements is None},
        complete=complete,
    )


def _events(bodies: list[bytes]) -> Iterator[BalanceEvent]:
    for body in bodies:
        with suppress(Malformed):  # not ours: it is a dead letter then
            yield balance_event.decode(body)


def _by_id(bodies: list[bytes], identify: Any) -> dict[str, Counter[bytes]]:
    found: dict[str, Counter[bytes]] = defaultdict(Counter)
    for body in bodies:
        found[identify(body)][body] += 1
    return dict(found)


async def _read(settings: KafkaSettings, topic: str) -> tuple[list[bytes], bool]:
    consumer = kafka.consumer(settings, client_id="oracle", group_id=None)
    await consumer.start()
    try:
        await consumer._client.force_metadata_update()  # noqa: SLF001 - a topic nobody has asked about yet
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        if not partitions:
            return [], True
        consumer.assign(partitions)
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning()
        bodies = []
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for records in (await consumer.getmany(timeout_ms=READ_TIMEOUT_MS)).values():
                bodies += [record.value for record in records]
        return bodies, not any(begins.values())
    finally:
        await kafka.stop_consumer(consumer, deadline_s=STOP_DEADLINE_S)
