"""What a person is told of their wallet: what the decision says of it now, in numbers and in a sentence. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Final

from consumer.decide import decide
from consumer.deposit import free_protected
from consumer.inputs import Due
from consumer.outcome import Reason
from consumer.rows import Row
from consumer.wallet import Policy, WalletState
from schema.stellar import Stroops, format_stroops
from schema.wire import format_time

NOT_READ: Final = "not_read"  # the one reason that is not the decision's: it is not asked before there is a fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What the consumer would do with this wallet if it were due now. `keep` must stay: protected or reserve."""

    state: WalletState
    policy: Policy
    at: datetime
    reason: str
    amount_stroops: Stroops | None
    keep_stroops: Stroops
    depositable_stroops: Stroops
    minimum_stroops: Stroops

    @property
    def would_deposit(self) -> bool:
        return self.amount_stroops is not None


def evaluate(state: WalletState, policy: Policy, at: datetime) -> Evaluation:
    """Put the wallet before the decision as due at this time; nothing is written."""
    freed = free_protected(state)
    keep = max(freed.protected_stroops, policy.reserve_stroops)
    depositable = max((state.balance_stroops or 0) - keep - state.in_flight(), 0)
    reason, amount = NOT_READ, None
    if state.ledger is not None:
        outcome = decide(replace(state, due_at=at), Due(at=at), policy)
        reason = outcome.reason
        amount = None if outcome.command is None else outcome.command.amount_stroops
    return Evaluation(
        state=freed,
        policy=policy,
        at=at,
        reason=reason,
        amount_stroops=amount,
        keep_stroops=Stroops(keep),
        depositable_stroops=Stroops(depositable),
        minimum_stroops=Stroops(max(policy.min_deposit_stroops, 1)),
    )


def wallet_json(found: Evaluation, last_snapshot: Row | None, observed_ledger: int | None) -> dict[str, Any]:
    """The answer of GET."""
    state, policy = found.state, found.policy
    return {
        "would_deposit": found.would_deposit,
        "amount": _amount(found.amount_stroops),
        "reason": found.reason,
        "explanation": explain(found),
        "account_id": state.account_id,
        "network": state.network,
        "asset": str(state.asset),
        "balance": _amount(state.balance_stroops),
        "previous": None if last_snapshot is None else _amount(last_snapshot["previous_stroops"]),
        "protected": format_stroops(state.protected_stroops),
        "reserve": format_stroops(policy.reserve_stroops),
        "in_flight": format_stroops(state.in_flight()),
        "depositable": format_stroops(found.depositable_stroops),
        "minimum": format_stroops(found.minimum_stroops),
        "issued_today": format_stroops(state.issued_on(_day(found))),
        "due_at": _time(state.due_at),
        "held_at": _time(state.held_at),
        "failures_in_a_row": state.failures_in_a_row,
        "authorized": state.authorized,
        "ledger": state.ledger,
        "observed_ledger": observed_ledger,
        "last_snapshot": None if last_snapshot is None else _snapshot_json(last_snapshot),
        "policy": {
            "enabled": policy.enabled,
            "paused": policy.paused,
            "min_deposit": format_stroops(policy.min_deposit_stroops),
            "max_deposit": format_stroops(policy.max_deposit_stroops),
            "daily_cap": format_stroops(policy.daily_cap_stroops),
            "reserve": format_stroops(policy.reserve_stroops),
            "deposit_existing": policy.deposit_existing,
            "excluded_sources": sorted(policy.excluded_sources),
            "vault_address": policy.vault_address,
        },
        "at": format_time(found.at),
    }


def request_json(
    row: Row, *, location: str, snapshot_type: str, command: Row | None, found: Evaluation | None
) -> dict[str, Any]:
    """How far a request is; with its fact once that is told, and what was decided once that is recorded."""
    status = request_status(row)
    said: dict[str, Any] = {
        "request_id": str(row["id"]),
        "status": status,
        "location": location,
        "requested_at": format_time(row["requested_at"]),
        "done_at": _time(row["done_at"]),
    }
    if row["event_id"] is not None:
        said["fact"] = {
            "event_id": str(row["event_id"]),
            "snapshot_type": snapshot_type,
            "balance": format_stroops(row["balance_stroops"]),
            "ledger": row["ledger"],
            "observed_ledger": row["observed_ledger"],
        }
    if row["refused"] is not None:
        said["refused"] = row["refused"]
    if status == "recorded" and found is not None:
        said["decision"] = _decision_json(command, found)
    return said


def request_status(row: Row) -> str:
    """`pending`: nobody read it yet. `told`: it is on its way to the database. Then `recorded`, or else `refused`."""
    if row["done_at"] is None:
        return "pending"
    if row["refused"] is not None:
        return "refused"
    return "recorded" if row["is_recorded"] or row["ledger"] is None else "told"


def _decision_json(command: Row | None, found: Evaluation) -> dict[str, Any]:
    """The command that the read led to; without one, why there is none."""
    if command is not None:
        amount = format_stroops(command["amount_stroops"])
        return {
            "command": {
                "command_id": str(command["command_id"]),
                "amount": amount,
                "status": command["status"],
                "deposited": _amount(command["deposited_stroops"]),
                "issued_at": format_time(command["issued_at"]),
            },
            "reason": Reason.ISSUED,
            "explanation": f"A deposit of {amount} was commanded; it is {command['status']}.",
        }
    reason = Reason.NOT_TRIGGERED if found.would_deposit else found.reason
    return {"command": None, "reason": reason, "explanation": explain(found)}


# In a sentence


def explain(found: Evaluation) -> str:
    """Why, and what would have to change, in a plain sentence or two."""
    return _SENTENCES[found.reason](found)


def _issued(found: Evaluation) -> str:
    amount = format_stroops(found.amount_stroops or 0)
    due_at = found.state.due_at
    if due_at is None:
        attempts = found.state.failures_in_a_row
        gave_up = f" {attempts} attempts in a row failed." if attempts >= found.policy.attempts_max else ""
        return f"{amount} can be deposited. It is commanded when more comes in.{gave_up}"
    if due_at <= found.at:
        return f"{amount} is about to be commanded."
    return f"{amount} can be deposited. It is commanded at {format_time(due_at)}, or before that when more comes in."


def _below_minimum(found: Evaluation) -> str:
    state = found.state
    free = format_stroops(found.depositable_stroops)
    balance, kept = format_stroops(state.balance_stroops or 0), format_stroops(found.keep_stroops)
    on_its_way = f", and {format_stroops(state.in_flight())} is on its way" if state.in_flight() else ""
    parts = f"of the balance of {balance}, {kept} is kept{on_its_way}"
    if not found.depositable_stroops:
        return f"Nothing can be deposited: {parts}."
    return f"{free} can be deposited, less than the minimum of {format_stroops(found.minimum_stroops)}: {parts}."


def _daily_cap(found: Evaluation) -> str:
    cap = format_stroops(found.policy.daily_cap_stroops)
    issued = format_stroops(found.state.issued_on(_day(found)))
    return (
        f"{format_stroops(found.depositable_stroops)} can be deposited, but {issued} of the {cap} that one day (UTC)"
        " may bring were commanded today. The rest follows tomorrow."
    )


def _held(found: Evaluation) -> str:
    since = "" if found.state.held_at is None else f" since {format_time(found.state.held_at)}"
    return f"The wallet is on hold{since}: two readings of its balance disagree, and an operator has to look."


def _paused(found: Evaluation) -> str:
    free = format_stroops(found.depositable_stroops)
    return f"Deposits are paused. {free} can be deposited, and will be within a minute after the pause."


_SENTENCES: Final[Mapping[str, Callable[[Evaluation], str]]] = {
    NOT_READ: lambda _: "The wallet has not been read yet: that happens within seconds after it is added.",
    Reason.ISSUED: _issued,
    Reason.NOT_TRIGGERED: lambda _: "Nothing new came in.",
    Reason.DISABLED: lambda _: "Automatic deposits are switched off for this wallet.",
    Reason.HELD: _held,
    Reason.UNAUTHORIZED: lambda _: "The wallet may not hold the asset: it has no trustline, or the issuer froze it.",
    Reason.PAUSED: _paused,
    Reason.BELOW_MINIMUM: _below_minimum,
    Reason.DAILY_CAP: _daily_cap,
    Reason.ALREADY_ISSUED: lambda _: "What caused this had its deposit already.",
}


def _snapshot_json(row: Row) -> dict[str, Any]:
    return {
        "snapshot_id": str(row["id"]),
        "snapshot_type": row["snapshot_type"],
        "balance": format_stroops(row["balance_stroops"]),
        "previous": _amount(row["previous_stroops"]),
        "ledger": row["ledger"],
        "transaction_hash": row["transaction_hash"],
        "auto_deposit_triggered": row["auto_deposit_triggered"],
        "created_at": _time(row["created_at"]),
    }


def _day(found: Evaluation) -> date:
    return found.at.astimezone(UTC).date()


def _amount(stroops: int | None) -> str | None:
    return None if stroops is None else format_stroops(stroops)


def _time(at: datetime | None) -> str | None:
    return None if at is None else format_time(at)
