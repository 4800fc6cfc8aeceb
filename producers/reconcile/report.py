"""What a comparison found, in words, as JSON and as CSV."""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from producers.reconcile.differences import MEANINGS, REPAIRABLE, Kind
from producers.reconcile.proof import Comparison
from schema.stellar import Ledger, Stroops, format_stroops

SHOWN_MAX: Final = 20
ON_HOLD: Final = "on hold"
REMEDIES: Final = {
    Kind.CONFLICT: "look the account up at a Horizon you trust, and set the row right or release it: "
    "docs/operations.md, is the database right?",
    Kind.AUTHORIZED: "look the account up at a Horizon you trust, and set the row right: "
    "docs/operations.md, is the database right?",
    Kind.AHEAD: "see that the source is of the wallets' network and was not reset: "
    "docs/operations.md, a network that was reset",
    Kind.UNREADABLE: "set the key right, or report the answer: the log has it",
    Kind.TOO_EARLY: "run it again: the source was behind, or the wallet changed each time it was read",
}
_COLUMNS: Final = (
    *("account_id", "kind", "on_hold", "stored_ledger", "stored_balance", "stored_authorized"),
    *("chain_ledger", "chain_balance", "chain_authorized", "observed_ledger", "detail"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What `--repair` did."""

    published: int
    not_told: int  # not told yet: their payments could not be read


class Report:
    """What is said of a comparison that is through."""

    def __init__(self, comparison: Comparison, repaired: Repaired | None) -> None:
        book = comparison.book
        self.comparison = comparison
        self.repaired = repaired
        self.kinds: Counter[Kind] = Counter()
        for number in comparison.differing:
            kind = comparison.kind(number)
            assert kind is not None
            self.kinds[kind] += 1
        self.kinds[Kind.UNREADABLE] += len(book.no_address)
        self.held = [number for number in book.held() if number not in comparison.gone]
        self.wallets = len(book) + len(book.no_address) - len(comparison.gone)
        different = set(comparison.differing)
        self.apart = sum(number not in different and number not in comparison.gone for number in comparison.apart)

    @property
    def is_equal(self) -> bool:
        return not self.differences

    @property
    def differences(self) -> int:
        """How many wallets differ."""
        return self.kinds.total()

    @property
    def is_beyond_repair(self) -> bool:
        """Whether all that differs is what no fact can mend: to run it again would not help."""
        return bool(self.differences) and not any(self.kinds[kind] for kind in (*REPAIRABLE, Kind.TOO_EARLY))

    def found(self) -> Iterator[dict[str, Any]]:
        """Every wallet that differs or is on hold, one after the other."""
        book = self.comparison.book
        for key, reason in book.no_address.items():
            yield dict.fromkeys(_COLUMNS) | {"account_id": key, "kind": str(Kind.UNREADABLE), "detail": reason}
        for number in self.comparison.differing:
            yield self._fields(number, str(self.comparison.kind(number)))
        different = set(self.comparison.differing)
        for number in self.held:
            if number not in different:
                yield self._fields(number, ON_HOLD)

    def lines(self) -> Iterator[str]:
        """What a person reads."""
        shown = 0
        for fields in self.found():
            shown += 1
            if shown <= SHOWN_MAX:
                yield _line(fields)
        if shown > SHOWN_MAX:
            yield f"... and {shown - SHOWN_MAX} more: --report FILE.csv lists all"
        for kind, count in sorted(self.kinds.items()):
            if count:
                yield f"{count} {kind}: {MEANINGS[kind]}. What to do: {self._remedy(kind)}"
        if self.held:
            yield f"{len(self.held)} {ON_HOLD}: no deposit is commanded for them. `python -m consumer release` says why"
        if self.repaired is not None:
            yield self._what_was_repaired()
        yield self.sentence()

    def sentence(self) -> str:
        """The last word."""
        at = f"at ledger {self.comparison.ledger}"
        if not self.is_equal:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kinds.items()) if count)
            return f"database differs from chain {at}: {self.differences} of {_wallets(self.wallets)} ({kinds})"
        if not self.apart:
            return f"database equals chain {at}: {_wallets(self.wallets)}"
        return (
            f"database equals chain {at}: {_wallets(self.wallets - self.apart)}; {_wallets(self.apart)} changed while "
            "being compared, and each equals the chain at its own ledger"
        )

    def summary(self) -> dict[str, Any]:
        """What a machine reads."""
        repaired = self.repaired
        return {
            "equal": self.is_equal,
            "ledger": self.comparison.ledger,
            "wallets": self.wallets,
            "apart": self.apart,
            "differences": {str(kind): count for kind, count in sorted(self.kinds.items()) if count},
            "on_hold": len(self.held),
            "repair": None if repaired is None else {"published": repaired.published, "not_told": repaired.not_told},
            "first": [fields for fields, _ in zip(self.found(), range(SHOWN_MAX), strict=False)],
            "sentence": self.sentence(),
        }

    def write(self, path: Path) -> None:
        """Every wallet that differs or is on hold, as CSV."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, _COLUMNS)
            writer.writeheader()
            writer.writerows(self.found())

    def _fields(self, number: int, kind: str) -> dict[str, Any]:
        book = self.comparison.book
        row, is_seen = book.row(number), book.knowledge.is_seen(number)
        state = book.state(number) if is_seen else None
        return {
            "account_id": book.accounts[number],
            "kind": kind,
            "on_hold": row.held,
            "stored_ledger": row.version,
            "stored_balance": _amount(row.balance_stroops),
            "stored_authorized": None if row.version is None else row.authorized,
            "chain_ledger": None if state is None or state.is_absence else state.version,
            "chain_balance": None if state is None else _amount(state.balance_stroops),
            "chain_authorized": None if state is None else state.authorized,
            "observed_ledger": None if state is None else state.observed,
            "detail": book.unreadable.get(number) or ("no trustline" if state and state.is_absence else None),
        }

    def _remedy(self, kind: Kind) -> str:
        if kind not in REPAIRABLE:
            return REMEDIES[kind]
        if self.repaired is None:
            return "`python -m producers reconcile --repair` publishes the facts"
        return "see that a consumer runs and that it made no dead letters of them, then run this again"

    def _what_was_repaired(self) -> str:
        assert self.repaired is not None
        left = sum(self.kinds[kind] for kind in REPAIRABLE)
        said = f"{self.repaired.published} facts published"
        if self.repaired.not_told:
            said += f", {self.repaired.not_told} could not be told yet (the log says why)"
        return f"{said}; {left} wallets are not recorded yet" if left else f"{said}, and recorded"


def _line(fields: dict[str, Any]) -> str:
    stored = _side(fields["stored_ledger"], fields["stored_balance"], fields["stored_authorized"], none="nothing")
    chain = _side(fields["chain_ledger"], fields["chain_balance"], fields["chain_authorized"], none="no trustline")
    if fields["chain_balance"] is None:
        chain = fields["detail"] or "not read"
    held = ", on hold" if fields["on_hold"] and fields["kind"] != ON_HOLD else ""
    return f"{fields['account_id']}  {fields['kind']}{held}: stored {stored}; chain {chain}"


def _side(ledger: Ledger | None, balance: str | None, authorized: bool | None, *, none: str) -> str:  # noqa: FBT001
    if ledger is None:
        return none
    return f"{balance or 'no amount'} of ledger {ledger}{'' if authorized else ', not authorized'}"


def _amount(stroops: Stroops | None) -> str | None:
    return None if stroops is None else format_stroops(stroops)


def _wallets(count: int) -> str:
    return f"{count} wallet{'' if count == 1 else 's'}"
