"""Where a stream begins, decided from what the source has, what was saved, and what the operator said. Pure."""

from dataclasses import dataclass
from typing import Final

from producers.history import REPLICA_LAG_LEDGERS, Position, SavedCursor
from producers.source import Fatal, History
from schema.stellar import Ledger, Network, cursor_after_ledger

CHANGES_LEDGERS_MAX: Final = 5_000  # some eight hours: a busy network's changes of that time are 50,000 pages
_FIRST_START: Final = "no cursor is saved: what came after the stored facts may not have been seen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the operator said on the command line."""

    accept_gap: bool = False
    from_ledger: Ledger | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The stream's cursors as they were saved; None: never."""

    payments: SavedCursor | None
    changes: SavedCursor | None
    follows_changes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Where to begin; changes are None where they are not followed. `missed` says, in words, why every wallet is to be
    read; empty: nothing was missed.
    """

    position: Position
    changes: Position | None
    missed: str = ""


def begin(*, history: History, network: Network, saved: Saved, stream_name: str, wish: Wish) -> Begin:
    """Where the stream begins; Fatal, with the remedy, when that is for a person to decide."""
    check_network(history, network)
    tip = _tip(history)
    known = saved.payments
    if wish.from_ledger is not None:
        wanted = _from_ledger(history, wish.from_ledger)
        is_first = known is None or (saved.follows_changes and saved.changes is None)
        return _begin(saved, wanted, wanted, missed=_FIRST_START if is_first else "")
    if known is None:
        return _begin(saved, tip, tip, missed=_FIRST_START)
    if known.network != network:
        raise Fatal(
            f"the cursor saved as STREAM_NAME={stream_name} is of {known.network}, and STELLAR_NETWORK is {network}: "
            "choose another STREAM_NAME for this network"
        )
    try:
        check_position(history, known.position)
    except Fatal:
        if not wish.accept_gap:
            raise
        return _begin(saved, tip, tip, missed="--accept-gap: what came before is not read")
    changes, missed = begin_changes(history, network, saved.changes) if saved.follows_changes else (tip, "")
    return _begin(saved, known.position, changes, missed=missed)


def begin_changes(history: History, network: Network, saved: SavedCursor | None) -> tuple[Position, str]:
    """Where changes are read from: the saved place, or the tip, and then why every wallet has to be read. That is no
    matter for a person: reading the states tells all that the changes would have.
    """
    if saved is None or saved.network != network:
        return _tip(history), "no cursor of the changes is saved: what changed without a payment was not seen"
    ledger = saved.position.ledger
    if ledger > history.latest + REPLICA_LAG_LEDGERS or ledger + 1 < history.elder:
        return _tip(history), f"the cursor of the changes is at ledger {ledger}, which is not in the source's history"
    if history.latest - ledger > CHANGES_LEDGERS_MAX:
        return _tip(history), f"the cursor of the changes is at ledger {ledger}: reading the wallets is cheaper"
    return saved.position, ""


def _begin(saved: Saved, position: Position, changes: Position, *, missed: str) -> Begin:
    return Begin(position=position, changes=changes if saved.follows_changes else None, missed=missed)


def _tip(history: History) -> Position:
    return Position(cursor=cursor_after_ledger(history.latest), ledger=history.latest)


def check_network(history: History, network: Network) -> None:
    """Fatal unless the source is of our network."""
    if history.passphrase != network.passphrase:
        raise Fatal(
            f"{history.asked_at} is of the network {history.passphrase!r}, and STELLAR_NETWORK={network} is "
            f"{network.passphrase!r}: set one of the two right"
        )


def check_position(history: History, position: Position) -> None:
    """Fatal when what comes next is not, or no longer, in the source's history. Horizon itself would say nothing."""
    if position.ledger > history.latest + REPLICA_LAG_LEDGERS:
        raise Fatal(
            f"the cursor is at ledger {position.ledger}, but the newest at {history.asked_at} is {history.latest}: the "
            f"network was reset, as the test network is at times, or {history.asked_at} is wrong. After a reset the "
            "stored balances and commands are of a network that is gone: docs/operations.md (a network that was reset) "
            "says what to clear, then start once with --accept-gap, which begins at the newest ledger and reads every "
            "wallet"
        )
    if position.ledger + 1 < history.elder:
        raise Fatal(
            f"the cursor is at ledger {position.ledger}, but the history at {history.asked_at} begins with "
            f"{history.elder}: the payments between are not to be had from it. Point {history.asked_at} at one with an "
            "older history, or start once with --accept-gap, which begins at the newest ledger and reads every wallet: "
            "balances will be right, but where the money came from is unknown, so wallets with excluded sources will "
            "not deposit it"
        )


def _from_ledger(history: History, ledger: Ledger) -> Position:
    if not history.elder <= ledger <= history.latest + 1:
        raise Fatal(f"--from-ledger {ledger}: {history.asked_at} has the ledgers {history.elder} to {history.latest}")
    before = Ledger(max(1, ledger - 1))
    return Position(cursor=cursor_after_ledger(Ledger(ledger - 1)), ledger=before)
