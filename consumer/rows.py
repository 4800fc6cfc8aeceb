"""Between database rows and the decision's values. Pure: rows are anything that answers to a column's name."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID

import orjson

from consumer.batch import Ending
from consumer.dead_letters import DeadLetter
from consumer.outcome import Snapshot
from consumer.wallet import CommandRecord, CommandStatus, Policy, WalletState
from schema import deposit_command
from schema.deposit_command import DepositCommand
from schema.deposit_result import ResultStatus
from schema.stellar import AccountId, Address, Asset, Ledger, Network, Stroops

Row = Mapping[str, Any]
Columns = tuple[list[Any], ...]  # one list per column, as unnest wants them


def command_record(row: Row) -> CommandRecord:
    """A row of the `commands` query. What was reported follows from what is on record."""
    deposited = row["deposited_stroops"]
    reported = ResultStatus.FAILED if row["error_code"] is not None else None
    if deposited is not None:
        reported = ResultStatus.SUCCEEDED
    return CommandRecord(
        command_id=row["command_id"],
        status=CommandStatus(row["status"]),
        amount_stroops=Stroops(row["amount_stroops"]),
        issued_at=row["issued_at"],
        expires_at=row["expires_at"],
        attempt=row["attempt"],
        reported=reported,
        deposited_stroops=Stroops(deposited or 0),
        settled_ledger=row["settled_ledger"],
        transaction_hash=row["transaction_hash"],
    )


def commands_by_wallet(
    rows: Iterable[Row], *, standing_alone: Collection[UUID]
) -> dict[UUID, tuple[CommandRecord, ...]]:
    """The `commands` query's rows by wallet, each command once; those that stand alone by their own id."""
    found: dict[UUID, dict[UUID, CommandRecord]] = defaultdict(dict)
    for row in rows:
        command_id = row["command_id"]
        found[command_id if command_id in standing_alone else row["wallet_id"]][command_id] = command_record(row)
    return {wallet_id: tuple(commands.values()) for wallet_id, commands in found.items()}


def issued_by_wallet(rows: Iterable[Row]) -> dict[UUID, tuple[tuple[date, Stroops], ...]]:
    """The `issued_by_day` query's rows by wallet."""
    found: dict[UUID, list[tuple[date, Stroops]]] = defaultdict(list)
    for row in rows:
        found[row["wallet_id"]].append((row["day"], Stroops(row["issued_stroops"])))
    return {wallet_id: tuple(days) for wallet_id, days in found.items()}


def wallet_state(row: Row, *, network: Network, asset: Asset) -> WalletState:
    """A row of the `lock_wallets` query, without its commands."""
    balance, ledger = row["balance_stroops"], row["balance_ledger"]
    return WalletState(
        wallet_id=row["id"],
        user_id=row["user_id"],
        account_id=AccountId(row["public_key"]),
        network=network,
        asset=asset,
        balance_stroops=None if balance is None else Stroops(balance),
        ledger=None if ledger is None else Ledger(ledger),
        authorized=row["authorized"],
        protected_stroops=Stroops(row["protected_stroops"]),
        snapshot_id=row["latest_snapshot_id"],
        failures_in_a_row=row["failures_in_a_row"],
        retry_of=row["retry_of"],
        due_at=row["due_at"],
        held_at=row["held_at"],
    )


def deleted_wallet_state(row: Row, *, network: Network, asset: Asset) -> WalletState:
    """The wallet of a command that outlived it (`wallets_of_commands`): only its commands still end."""
    return WalletState(
        wallet_id=row["wallet_id"],
        user_id=row["user_id"],
        account_id=AccountId(row["account_id"]),
        network=network,
        asset=asset,
    )


def policy(row: Row, default: Policy) -> Policy:
    """A row of auto_deposit_policies over the default policy: null is the default's."""
    own = {
        name: row[name]
        for name in (
            "enabled",
            "paused",
            "min_deposit_stroops",
            "max_deposit_stroops",
            "daily_cap_stroops",
            "reserve_stroops",
            "deposit_existing",
        )
        if row[name] is not None
    }
    if row["excluded_sources"] is not None:
        own["excluded_sources"] = frozenset(Address(source) for source in row["excluded_sources"])
    if row["vault_address"] is not None:
        own["vault_address"] = Address(row["vault_address"])
    return replace(default, **own)


def snapshot_columns(snapshots: Sequence[Snapshot]) -> Columns:
    """The arguments of `insert_snapshots`."""
    return (
        [s.snapshot_id for s in snapshots],
        [s.wallet_id for s in snapshots],
        [s.user_id for s in snapshots],
        [s.snapshot_type for s in snapshots],
        [s.balance_stroops for s in snapshots],
        [s.previous_stroops for s in snapshots],
        [s.ledger for s in snapshots],
        [s.event_id for s in snapshots],
        [s.command_id for s in snapshots],
        [s.deposit_stroops for s in snapshots],
        [s.transaction_hash for s in snapshots],
        [s.observed_at for s in snapshots],
        [s.authorized for s in snapshots],
    )


def wallet_columns(states: Sequence[WalletState], observed: Mapping[UUID, Ledger]) -> Columns:
    """The arguments of `update_wallets`."""
    return (
        [s.wallet_id for s in states],
        [s.balance_stroops for s in states],
        [s.ledger for s in states],
        [s.authorized for s in states],
        [s.protected_stroops for s in states],
        [s.snapshot_id for s in states],
        [s.failures_in_a_row for s in states],
        [s.retry_of for s in states],
        [s.due_at for s in states],
        [s.held_at for s in states],
        [observed.get(s.wallet_id) for s in states],
    )


def command_columns(commands: Sequence[DepositCommand], attempts: Mapping[UUID, int]) -> Columns:
    """The arguments of `insert_commands`: with each the very bytes that will be sent."""
    return (
        [c.command_id for c in commands],
        [c.previous_command_id for c in commands],
        [c.wallet_id for c in commands],
        [c.user_id for c in commands],
        [c.account_id for c in commands],
        [c.network for c in commands],
        [c.amount_stroops for c in commands],
        [deposit_command.encode(c) for c in commands],
        [c.caused_by for c in commands],
        [c.snapshot_id for c in commands],
        [c.issued_at for c in commands],
        [c.expires_at for c in commands],
        [_trace(c) for c in commands],
        [attempts[c.command_id] for c in commands],
    )


def ending_columns(endings: Sequence[Ending]) -> Columns:
    """The arguments of `end_commands`."""
    succeeded = [e.command.reported is ResultStatus.SUCCEEDED for e in endings]
    return (
        [e.command.command_id for e in endings],
        [e.command.status for e in endings],
        [e.completed_at for e in endings],
        [e.command.deposited_stroops if yes else None for e, yes in zip(endings, succeeded, strict=True)],
        [e.command.settled_ledger for e in endings],
        [e.command.transaction_hash for e in endings],
        [e.error.code if e.error else None for e in endings],
        [e.error.message if e.error else None for e in endings],
    )


def dead_letter_columns(letters: Sequence[DeadLetter]) -> Columns:
    """The arguments of `insert_dead_letters`, each id once."""
    each = list({letter.dead_letter_id: letter for letter in letters}.items())
    return (
        [letter_id for letter_id, _ in each],
        [letter.topic for _, letter in each],
        [letter.partition for _, letter in each],
        [letter.offset for _, letter in each],
        [letter.key for _, letter in each],
        [letter.value for _, letter in each],
        [orjson.dumps(letter.headers_as_text()).decode() for _, letter in each],
        [letter.reason for _, letter in each],
        [letter.detail for _, letter in each],
    )


def _trace(command: DepositCommand) -> UUID:
    """What ties the messages of one payment together: the causing event, or the command where there is none."""
    is_event = ":" not in command.caused_by
    return UUID(command.caused_by) if is_event else command.command_id
