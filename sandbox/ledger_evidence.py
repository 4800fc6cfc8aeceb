"""What the oracle looks at: the chain's own history, everything said on the topics, and the tables as they are."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final, Protocol
from uuid import UUID

import asyncpg
from aiokafka import TopicPartition

from schema import balance_event
from schema.balance_event import BalanceEvent
from schema.service import kafka
from schema.service.settings import KafkaSettings
from schema.stellar import AccountId, Asset, Malformed, parse_signed_stroops, parse_stroops

READ_TIMEOUT_MS: Final = 1_000
STOP_DEADLINE_S: Final = 10.0

Row = Mapping[str, Any]


class Scene(Protocol):
    """Where a run takes place."""

    @property
    def pool(self) -> asyncpg.Pool: ...
    @property
    def wallets(self) -> dict[UUID, AccountId]: ...
    @property
    def asset(self) -> Asset: ...
    @property
    def vault(self) -> AccountId | None: ...
    @property
    def bootstrap_servers(self) -> str: ...
    async def ask_chain(self, path: str) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One life of the facts' topic. A wallet's facts are in the order of the topic, for they share a partition."""

    events: tuple[BalanceEvent, ...]
    complete: bool  # false when the broker has dropped the oldest records


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A finished run. Bodies of commands and results are in the topic's order, partition by partition."""

    minimum_stroops: int
    excluded: frozenset[AccountId]  # payments from there are to be protected: the vault's own above all
    wallets: Mapping[UUID, AccountId]
    histories: Mapping[UUID, Any]  # each wallet's, from the chain
    vault_history: Any
    chain_exact: bool
    epochs: Sequence[Epoch]  # the last one is the topic as it is now
    commands_said: Sequence[bytes]
    commands_complete: bool
    results_said: Sequence[bytes]
    snapshots: Mapping[UUID, Sequence[Row]]  # by version, deposits last
    commands: Mapping[UUID, Sequence[Row]]  # by position
    rows: Mapping[UUID, Row]  # stellar_wallets
    dead_letters: int


async def collect(
    scene: Scene, *, minimum_stroops: int, lost_epochs: Iterable[Epoch] = (), excluded: Collection[AccountId] = ()
) -> Evidence:
    """Everything, as of now, when everything is quiet; `lost_epochs` were read before their topic was deleted."""
    settings = KafkaSettings(kafka_bootstrap_servers=scene.bootstrap_servers)
    commands, complete = await read_topic(settings, settings.deposit_commands_topic)
    results, _ = await read_topic(settings, settings.deposit_results_topic)
    wallets = list(scene.wallets)
    snapshots = await scene.pool.fetch(
        "select * from balance_snapshots where wallet_id = any($1::uuid[])"
        " order by ledger, snapshot_type = 'auto_deposit_trigger', id",
        wallets,
    )
    stored = await scene.pool.fetch(
        "select * from deposit_commands where wallet_id = any($1::uuid[]) order by position", wallets
    )
    rows = await scene.pool.fetch("select * from stellar_wallets where id = any($1::uuid[])", wallets)
    histories = {wallet_id: await _history(scene, account_id) for wallet_id, account_id in scene.wallets.items()}
    return Evidence(
        minimum_stroops=minimum_stroops,
        excluded=frozenset(excluded) | ({scene.vault} if scene.vault else frozenset()),
        wallets=dict(scene.wallets),
        histories=histories,
        vault_history=await _history(scene, scene.vault) if scene.vault else {"changes": []},
        chain_exact=(await scene.ask_chain("sums"))["exact"],
        epochs=[*lost_epochs, await read_epoch(settings)],
        commands_said=commands,
        commands_complete=complete,
        results_said=results,
        snapshots=_by_wallet(wallets, snapshots, "wallet_id"),
        commands=_by_wallet(wallets, stored, "wallet_id"),
        rows={row["id"]: dict(row) for row in rows},
        dead_letters=await scene.pool.fetchval("select count(*) from dead_letters"),
    )


async def _history(scene: Scene, account_id: AccountId) -> Any:
    return await scene.ask_chain(f"accounts/{account_id}/history?asset={scene.asset}")


def _by_wallet(wallets: Iterable[UUID], rows: Iterable[Row], column: str) -> dict[UUID, list[Row]]:
    found: dict[UUID, list[Row]] = {wallet_id: [] for wallet_id in wallets}
    for row in rows:
        found[row[column]].append(dict(row))
    return found


async def read_epoch(settings: KafkaSettings) -> Epoch:
    """Every fact on the topic as it is now. Their movements are not kept, only whether they were known."""
    bodies, complete = await read_topic(settings, settings.balance_events_topic)
    events = []
    for body in bodies:
        with suppress(Malformed):  # not ours: it is a dead letter then
            event = balance_event.decode(body)
            events.append(event if event.movements is None else replace(event, movements=()))
    return Epoch(events=tuple(events), complete=complete)


async def read_topic(settings: KafkaSettings, topic: str) -> tuple[list[bytes], bool]:
    """Every value from the topic's beginning to its end as of now, and whether its beginning is still there."""
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
        bodies: dict[TopicPartition, list[bytes]] = {partition: [] for partition in partitions}
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for partition, records in (await consumer.getmany(timeout_ms=READ_TIMEOUT_MS)).items():
                bodies[partition] += [record.value for record in records]
        return [body for partition in partitions for body in bodies[partition]], not any(begins.values())
    finally:
        await kafka.stop_consumer(consumer, deadline_s=STOP_DEADLINE_S)


_PAYMENTS: Final = ("Payment", "PathPayment")  # what a payment record says the source of


@dataclass(slots=True)
class Moves:
    """What came and went, in stroops, by kind."""

    received: int = 0
    excluded: int = 0
    spent: int = 0
    deposited: int = 0


def moves(history: Any, *, after: int, deposits: Collection[str], excluded: Collection[AccountId]) -> Moves:
    """A wallet's changes in ledgers after this one; `deposits` are the hashes of those that went to the vault."""
    found = Moves()
    for change in history["changes"]:
        amount = signed_stroops(change["amount"])
        if change["ledger"] <= after:
            continue
        if change["transaction_hash"] in deposits:
            found.deposited -= amount
        elif amount < 0:
            found.spent -= amount
        elif change["source"] in excluded and change["operation"] in _PAYMENTS:
            found.excluded += amount
        else:
            found.received += amount
    return found


def bodies_by_id(bodies: Iterable[bytes], identify: Callable[[bytes], str]) -> dict[str, list[bytes]]:
    """The bodies under each id, in their order."""
    found: dict[str, list[bytes]] = {}
    for body in bodies:
        found.setdefault(identify(body), []).append(body)
    return found


def events_by_account(epoch: Epoch) -> dict[str, list[BalanceEvent]]:
    """Each wallet's facts, in the order in which they were told."""
    found: dict[str, list[BalanceEvent]] = {}
    for event in epoch.events:
        found.setdefault(event.account_id, []).append(event)
    return found


def stroops(amount: Decimal) -> int:
    """A column's amount."""
    return parse_signed_stroops(f"{amount:+f}")


def balances_by_ledger(history: Any) -> dict[int, int]:
    """What the wallet held after each ledger that changed it, by going back from what it holds now."""
    held: int = parse_stroops(history["balance"] or "0")
    after: dict[int, int] = {}
    for change in reversed(history["changes"]):
        after.setdefault(change["ledger"], held)
        held -= signed_stroops(change["amount"])
    after[0] = held
    return after


def held_at(by_ledger: dict[int, int], ledger: int) -> int | None:
    """What it held after this ledger; None where the history begins later."""
    at = max((known for known in by_ledger if known <= ledger), default=None)
    return None if at is None else by_ledger[at]


def signed_stroops(text: str) -> int:
    """A change of the chain's history."""
    return parse_signed_stroops(text if text.startswith("-") else f"+{text}")
