"""The oracle: it knows the chain, the topics and what is stored, shares no code with the decision, checks every sum.

(a) per wallet, what was deposited is what qualified: the chain's own deposits, each recorded once
(b) a fact is recorded once at most, and what was told is recorded unless something newer was told before it
(c) at rest, the stored balance and its version are the chain's
(d) one command id is one byte string, stored and sent
(e) a wallet's commands are on the topic in the order in which they were decided
(f) every command has one cause that exists, and was decided
(g) each snapshot's previous balance is the balance of the one before
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Final
from uuid import UUID

from sandbox import ledger_evidence
from sandbox.ledger_evidence import (
    Evidence,
    Scene,
    balances_by_ledger,
    bodies_by_id,
    events_by_account,
    held_at,
    moves,
    signed_stroops,
    stroops,
)
from schema import deposit_command, deposit_result
from schema.balance_event import BalanceEvent
from schema.deposit_result import ResultStatus
from schema.identity import command_id
from schema.stellar import AccountId, format_stroops, parse_stroops

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
    touched: int = 0  # ledgers in which a wallet's balance changed after its baseline
    collapsed: int = 0  # those of them that a later read covered: never told, so not recorded
    commands: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    dead_letters: int = 0
    topic_commands: int = 0
    topic_repeats: int = 0
    discrepancies: list[str] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        return not self.discrepancies


async def check(scene: Scene, *, minimum_stroops: int, excluded: Collection[AccountId] = ()) -> Sums:
    """Compare the chain, the topics and the database, wallet by wallet. Call it when everything is quiet. `excluded`:
    sources that are to be protected, beside the vault.
    """
    return judge(await ledger_evidence.collect(scene, minimum_stroops=minimum_stroops, excluded=excluded))


def judge(evidence: Evidence) -> Sums:
    """The verdict on a finished run."""
    sums = Sums(dead_letters=evidence.dead_letters)
    said = _check_topics(evidence, sums)
    place = {each: number for number, each in enumerate(said)}
    deposits: dict[str, dict[str, int]] = {}
    for change in evidence.vault_history["changes"]:
        amount = signed_stroops(change["amount"])
        if amount > 0:
            deposits.setdefault(change["source"], {})[change["transaction_hash"]] = amount
    epochs = [events_by_account(epoch) for epoch in evidence.epochs]
    for wallet_id in evidence.wallets:
        account_id = evidence.wallets[wallet_id]
        told = [by_account.get(account_id, []) for by_account in epochs]
        _Wallet(wallet_id, evidence, sums, told).check(said, place, deposits.get(account_id, {}))
    if not evidence.chain_exact:
        sums.discrepancies.append("the simulated chain itself does not add up")
    return sums


def _check_topics(evidence: Evidence, sums: Sums) -> dict[str, list[bytes]]:
    said = bodies_by_id(evidence.commands_said, lambda body: str(deposit_command.decode(body).command_id))
    stored = {str(row["command_id"]) for rows in evidence.commands.values() for row in rows}
    for each, bodies in said.items():
        sums.topic_commands += 1
        sums.topic_repeats += len(bodies) - 1
        if len(set(bodies)) > 1:
            sums.discrepancies.append(f"command {each}: {len(set(bodies))} different contents under one id")
        if each not in stored:
            sums.discrepancies.append(f"command {each}: on the topic, and nobody decided it")
    results = bodies_by_id(evidence.results_said, lambda body: str(deposit_result.decode(body).command_id))
    for each, bodies in results.items():
        if len({deposit_result.decode(body).status for body in bodies}) > 1:
            sums.discrepancies.append(f"command {each}: reported as {ResultStatus.SUCCEEDED} and as failed")
    return said


class _Wallet:
    """One wallet's sums, from the chain's point of view first."""

    def __init__(self, wallet_id: UUID, evidence: Evidence, sums: Sums, told: list[list[BalanceEvent]]) -> None:
        self._id = wallet_id
        self._account_id = evidence.wallets[wallet_id]
        self._evidence = evidence
        self._sums = sums
        self._told = told  # of this wallet, by epoch
        self._history = evidence.histories[wallet_id]
        self._row = evidence.rows[wallet_id]
        self._snapshots = evidence.snapshots[wallet_id]
        self._facts = [row for row in self._snapshots if row["event_id"] is not None]
        self._commands = evidence.commands[wallet_id]

    def check(self, said: dict[str, list[bytes]], place: dict[str, int], deposits: dict[str, int]) -> None:
        if not self._facts:
            self._wrong("no snapshot at all")
            return
        self._check_snapshots()
        self._check_told()
        self._check_commands(said)
        self._check_order(place)
        self._check_causes()
        self._check_deposits(deposits)
        self._check_money(deposits)

    def _check_snapshots(self) -> None:
        """One per version, each what the chain held in that ledger, each linked to the one before."""
        by_ledger = balances_by_ledger(self._history)
        self._sums.snapshots += len(self._snapshots)
        previous = None
        for row in self._snapshots:
            if row["previous_balance"] != previous:
                self._wrong(f"snapshot {row['id']} says previous {row['previous_balance']}, the one before {previous}")
            previous = row["usdc_balance"]
        for row in self._facts:
            held = held_at(by_ledger, row["ledger"])
            if held is not None and stroops(row["usdc_balance"]) != held:
                self._wrong(f"ledger {row['ledger']}: recorded {row['usdc_balance']}, held {format_stroops(held)}")
        versions = [row["ledger"] for row in self._facts]
        if len(set(versions)) != len(versions):
            self._wrong("a version was recorded twice")
        touched = {change["ledger"] for change in self._history["changes"] if change["ledger"] > versions[0]}
        self._sums.touched += len(touched)
        self._sums.collapsed += len(touched - set(versions))

    def _check_told(self) -> None:
        """A version nobody told of is not recorded; one that was told is, unless a newer one was told before it.

        Several changes between two reads are one fact, the last: a touched ledger that was never told is covered by it.
        """
        recorded = {row["ledger"] for row in self._facts}
        told: set[int] = set()
        for events in self._told:
            is_last = events is self._told[-1]
            newest = max(told, default=0)
            for version in (event.ledger for event in events if not event.is_absence):
                if is_last and version > newest and version not in recorded:
                    self._wrong(f"ledger {version} was told and is not recorded")
                newest = max(newest, version)
                told.add(version)
        if all(epoch.complete for epoch in self._evidence.epochs):
            for version in recorded - told:
                self._wrong(f"ledger {version} is recorded, and nobody told it")

    def _check_commands(self, said: dict[str, list[bytes]]) -> None:
        """Each stored command went out as it is stored, and says what its row says."""
        self._sums.commands += len(self._commands)
        for row in self._commands:
            self._sums.statuses[row["status"]] += 1
            self._sums.commanded += stroops(row["amount"])
            bodies = said.get(str(row["command_id"]), [])
            stored = deposit_command.decode(bytes(row["payload"]))
            if bodies and set(bodies) != {bytes(row["payload"])}:
                self._wrong(f"command {row['command_id']}: other bytes were sent than are stored")
            if not bodies and self._evidence.commands_complete and row["published_at"] is not None:
                self._wrong(f"command {row['command_id']}: marked as sent, and not on the topic")
            if row["status"] in ("pending", "published"):
                self._wrong(f"command {row['command_id']}: still {row['status']}")
            if (stored.amount_stroops, stored.account_id) != (stroops(row["amount"]), self._account_id):
                self._wrong(f"command {row['command_id']}: its bytes say something else than its row")

    def _check_order(self, place: dict[str, int]) -> None:
        """In the order of first appearance on the topic, as decided."""
        places = [place[each] for row in self._commands if (each := str(row["command_id"])) in place]
        if places != sorted(places):
            self._wrong("its commands are on the topic in another order than they were decided in")

    def _check_causes(self) -> None:
        """Every command has one cause that exists, and no cause has two; each is named by the snapshot it came from."""
        ids = {str(row["command_id"]) for row in self._commands}
        by_event = {str(row["event_id"]): row for row in self._facts}
        causes = Counter(row["caused_by"] for row in self._commands)
        for row in self._commands:
            each, cause = row["command_id"], row["caused_by"]
            kind, _, rest = cause.partition(":")
            if not (
                cause in by_event
                or (kind == "result" and rest in ids and rest != str(each))
                or (kind == "due" and rest.startswith(f"{self._id}:"))
            ):
                self._wrong(f"command {each}: its cause {cause} does not exist")
            if causes[cause] > 1 or command_id(self._id, cause) != each:
                self._wrong(f"command {each}: its cause {cause} has another command")
            if cause in by_event and by_event[cause]["command_id"] != each:
                self._wrong(f"command {each}: the snapshot of its cause does not name it")
        for row in self._facts:
            if row["command_id"] is not None and str(row["command_id"]) not in ids:
                self._wrong(f"snapshot {row['id']}: its command {row['command_id']} does not exist")

    def _check_deposits(self, deposits: dict[str, int]) -> None:
        """Each deposit on the chain is one command's, recorded with its amount and one snapshot; nothing else is."""
        recorded = [row for row in self._commands if row["deposited_amount"] is not None]
        said = {row["transaction_hash"]: stroops(row["deposited_amount"]) for row in recorded}
        if len(said) != len(recorded):
            self._wrong("one deposit is recorded for two commands")
        for each in deposits.keys() - said.keys():
            self._wrong(f"deposit {each} of {format_stroops(deposits[each])} is on the chain and not recorded")
        for each, amount in said.items():
            if deposits.get(each) != amount:
                self._wrong(f"deposit {each} of {format_stroops(amount)} is recorded and not on the chain")
        shown = Counter(str(row["command_id"]) for row in self._snapshots if row["event_id"] is None)
        if shown != Counter(str(row["command_id"]) for row in recorded):
            self._wrong("the snapshots of deposits are not one for each deposit")

    def _check_money(self, deposits: dict[str, int]) -> None:
        """What came in and was to be deposited has been, once; what was not to be is still there."""
        moved = moves(
            self._history, after=self._facts[0]["ledger"], deposits=deposits, excluded=self._evidence.excluded
        )
        baseline, balance = stroops(self._facts[0]["usdc_balance"]), parse_stroops(self._history["balance"] or "0")
        doubtful = self._doubtful()
        qualifying = max(self._evidence.minimum_stroops, 1)
        kept = baseline + moved.excluded
        left = balance - kept - doubtful
        whole = kept + moved.received - moved.spent - moved.deposited
        stored, protected = self._row["previous_usdc_balance"], stroops(self._row["protected_usdc"] or Decimal(0))
        version, modified = self._row["balance_ledger"], self._history["last_modified_ledger"]
        for holds, otherwise in (
            (
                whole == balance,
                f"baseline and changes make {format_stroops(whole)}, it holds {format_stroops(balance)}",
            ),
            (moved.deposited <= moved.received, "more was deposited than came in to be deposited"),
            (left < qualifying, f"{format_stroops(left)} that qualified is not deposited"),
            (left >= 0 or moved.spent > 0 or doubtful > 0, "money that did not qualify is gone"),
            (protected <= kept + doubtful, f"{format_stroops(protected)} counts as protected"),
            (protected >= kept or moved.spent > 0, f"only {format_stroops(protected)} counts as protected"),
            (balance - protected < qualifying, f"{format_stroops(balance - protected)} is free and not deposited"),
            (stored is not None and stroops(stored) == balance, f"stored {stored}, held {format_stroops(balance)}"),
            (modified in (None, version), f"version {version} is stored, the chain's is {modified}"),
        ):
            if not holds:
                self._wrong(otherwise)
        for name in ("received", "excluded", "spent", "deposited"):
            setattr(self._sums, name, getattr(self._sums, name) + getattr(moved, name))
        self._sums.doubtful += doubtful
        self._sums.baseline += baseline
        self._sums.balance += balance

    def _doubtful(self) -> int:
        """Increases that may have been protected because the fact did not say of all of them where they came from."""
        unknown: set[int] = set()
        since = {row["ledger"]: before["ledger"] for before, row in pairwise(self._facts)}
        for events in self._told:
            seen: set[int] = set()
            for event in events:
                if event.ledger in seen or event.ledger not in since:
                    continue  # what says a version again is a duplicate
                seen.add(event.ledger)
                if event.movements is None or (event.movements_since or 0) > since[event.ledger]:
                    unknown.add(event.ledger)
        return sum(max(stroops(row["balance_change"]), 0) for row in self._facts[1:] if row["ledger"] in unknown)

    def _wrong(self, what: str) -> None:
        self._sums.discrepancies.append(f"{self._account_id[:8]}…: {what}")
