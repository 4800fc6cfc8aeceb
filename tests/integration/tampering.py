"""A finished world, and every way to break a promise in it."""

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID, uuid4

from sandbox import ledger_book
from sandbox.ledger_evidence import Epoch, Evidence
from schema import deposit_command, deposit_result
from schema.deposit_result import ResultStatus
from schema.stellar import Stroops

UNIT = 10_000_000

Tamper = Callable[["World"], None]


class World:
    """A finished world that can be tampered with, and one wallet of it in particular."""

    def __init__(self, evidence: Evidence, *, wallet: UUID | None = None) -> None:
        self.evidence = copy.deepcopy(evidence)
        self.wallet = wallet or next(each for each in evidence.wallets if self.is_rich(each))
        self.account_id = evidence.wallets[self.wallet]

    def is_rich(self, wallet: UUID) -> bool:
        """It has deposits and facts to choose from."""
        deposits = [row for row in self.evidence.commands[wallet] if row["status"] == "succeeded"]
        return len(deposits) >= 2 and len(self.facts_of(wallet)) >= 4

    def facts_of(self, wallet: UUID) -> list[dict[str, Any]]:
        rows = cast("list[dict[str, Any]]", self.evidence.snapshots[wallet])
        return [row for row in rows if row["event_id"] is not None]

    @property
    def facts(self) -> list[dict[str, Any]]:
        return self.facts_of(self.wallet)

    @property
    def snapshots(self) -> list[dict[str, Any]]:
        return cast("list[dict[str, Any]]", self.evidence.snapshots[self.wallet])

    @property
    def commands(self) -> list[dict[str, Any]]:
        return cast("list[dict[str, Any]]", self.evidence.commands[self.wallet])

    @property
    def deposited(self) -> dict[str, Any]:
        return next(row for row in self.commands if row["status"] == "succeeded")

    @property
    def row(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self.evidence.rows[self.wallet])

    @property
    def history(self) -> Any:
        return self.evidence.histories[self.wallet]

    def forget_event(self, ledger: int) -> None:
        [epoch] = self.evidence.epochs
        kept = tuple(each for each in epoch.events if (each.account_id, each.ledger) != (self.account_id, ledger))
        self.change(epochs=[Epoch(events=kept, complete=True)])

    def change(self, **what: Any) -> None:
        self.evidence = replace(self.evidence, **what)

    def verdict(self) -> list[str]:
        return ledger_book.judge(self.evidence).discrepancies


def deposit_unrecorded(world: World) -> None:
    row = world.deposited
    row["deposited_amount"] = None
    world.snapshots[:] = [
        each for each in world.snapshots if each["event_id"] or each["command_id"] != row["command_id"]
    ]


def deposit_invented(world: World) -> None:
    changes = world.evidence.vault_history["changes"]
    changes.remove(next(each for each in changes if each["transaction_hash"] == world.deposited["transaction_hash"]))


def deposit_of_another_amount(world: World) -> None:
    world.deposited["deposited_amount"] -= Decimal("0.0000001")


def deposit_counted_twice(world: World) -> None:
    first, second = [row for row in world.commands if row["status"] == "succeeded"][:2]
    second["transaction_hash"] = first["transaction_hash"]


def deposit_without_its_snapshot(world: World) -> None:
    world.snapshots.remove(next(row for row in world.snapshots if row["event_id"] is None))


def money_left_lying(world: World) -> None:
    late = world.history["changes"][-1]
    world.history["balance"] = f"{Decimal(world.history['balance']) + 50:f}"
    world.history["changes"].append({**late, "amount": "50.0000000", "source": "G", "ledger": late["ledger"] + 1})


def too_much_protected(world: World) -> None:
    world.row["protected_usdc"] += 10_000


def too_little_protected(world: World) -> None:
    world.row["protected_usdc"] -= 10_000


def recorded_twice(world: World) -> None:
    world.snapshots.insert(2, dict(world.facts[1]))


def told_and_not_recorded(world: World) -> None:
    world.snapshots.remove(world.facts[-2])


def recorded_and_never_told(world: World) -> None:
    world.forget_event(world.facts[-2]["ledger"])


def balance_that_never_was(world: World) -> None:
    world.facts[1]["usdc_balance"] += Decimal("0.0000001")


def stored_balance_off_by_a_stroop(world: World) -> None:
    world.row["previous_usdc_balance"] += Decimal("0.0000001")


def stored_version_behind(world: World) -> None:
    world.row["balance_ledger"] -= 1


def two_contents_sent(world: World) -> None:
    command = deposit_command.decode(bytes(world.commands[0]["payload"]))
    other = replace(command, expires_at=command.expires_at + timedelta(seconds=1))
    world.change(commands_said=[*world.evidence.commands_said, deposit_command.encode(other)])


def other_bytes_stored(world: World) -> None:
    command = deposit_command.decode(bytes(world.commands[0]["payload"]))
    other = replace(command, expires_at=command.expires_at + timedelta(seconds=1))
    world.commands[0]["payload"] = deposit_command.encode(other)


def amount_unlike_its_bytes(world: World) -> None:
    world.commands[0]["amount"] += 1


def marked_and_not_sent(world: World) -> None:
    payload = bytes(world.commands[0]["payload"])
    world.change(commands_said=[body for body in world.evidence.commands_said if body != payload])


def left_open(world: World) -> None:
    world.commands[-1]["status"] = "published"


def sent_out_of_order(world: World) -> None:
    first, second = (bytes(row["payload"]) for row in world.commands[:2])
    said = list(world.evidence.commands_said)
    here, there = said.index(first), said.index(second)
    said[here], said[there] = second, first
    world.change(commands_said=said)


def caused_by_nothing(world: World) -> None:
    world.commands[0]["caused_by"] = str(uuid4())


def two_commands_of_one_cause(world: World) -> None:
    world.commands[1]["caused_by"] = world.commands[0]["caused_by"]


def snapshot_that_names_another_command(world: World) -> None:
    next(row for row in world.facts if row["command_id"])["command_id"] = uuid4()


def sent_and_never_decided(world: World) -> None:
    command = replace(deposit_command.decode(bytes(world.commands[0]["payload"])), command_id=uuid4())
    world.change(commands_said=[*world.evidence.commands_said, deposit_command.encode(command)])


def chain_broken(world: World) -> None:
    world.snapshots[2]["previous_balance"] -= Decimal("0.0000001")


def first_with_a_previous(world: World) -> None:
    world.snapshots[0]["previous_balance"] = Decimal(0)


def two_endings(world: World) -> None:
    result = deposit_result.decode(world.evidence.results_said[0])
    other = replace(
        result,
        status=ResultStatus.FAILED if result.status is ResultStatus.SUCCEEDED else ResultStatus.SUCCEEDED,
        amount_stroops=Stroops(0) if result.status is ResultStatus.SUCCEEDED else Stroops(UNIT),
        transaction_hash="ab" * 32,
        ledger=None if result.status is ResultStatus.SUCCEEDED else world.facts[-1]["ledger"],
        error=deposit_result.ResultError(code="x", message="x") if result.status is ResultStatus.SUCCEEDED else None,
    )
    world.change(results_said=[*world.evidence.results_said, deposit_result.encode(other)])


WRONGS: list[tuple[str, Tamper, str]] = [
    ("a", deposit_unrecorded, "on the chain and not recorded"),
    ("a", deposit_invented, "recorded and not on the chain"),
    ("a", deposit_of_another_amount, "recorded and not on the chain"),
    ("a", deposit_counted_twice, "recorded for two commands"),
    ("a", deposit_without_its_snapshot, "not one for each deposit"),
    ("a", money_left_lying, "that qualified is not deposited"),
    ("a", too_much_protected, "counts as protected"),
    ("a", too_little_protected, "free and not deposited"),
    ("a", left_open, "still published"),
    ("a", two_endings, "as failed"),
    ("b", recorded_twice, "recorded twice"),
    ("b", told_and_not_recorded, "was told and is not recorded"),
    ("b", recorded_and_never_told, "nobody told it"),
    ("b", balance_that_never_was, "held"),
    ("c", stored_balance_off_by_a_stroop, "stored"),
    ("c", stored_version_behind, "the chain's is"),
    ("d", two_contents_sent, "different contents under one id"),
    ("d", other_bytes_stored, "other bytes were sent"),
    ("d", amount_unlike_its_bytes, "its bytes say something else"),
    ("d", marked_and_not_sent, "not on the topic"),
    ("e", sent_out_of_order, "in another order"),
    ("f", caused_by_nothing, "does not exist"),
    ("f", two_commands_of_one_cause, "has another command"),
    ("f", snapshot_that_names_another_command, "does not name it"),
    ("f", sent_and_never_decided, "nobody decided it"),
    ("g", chain_broken, "says previous"),
    ("g", first_with_a_previous, "says previous"),
]
