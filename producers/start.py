"""Where a stream begins, decided from what the source has, what was saved, and what the operator said. Pure."""

from dataclasses import dataclass

from producers.history import REPLICA_LAG_LEDGERS, Position, SavedCursor
from producers.source import Fatal, History
from schema.stellar import Ledger, Network, cursor_after_ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the operator said on the command line."""

    accept_gap: bool = False
    from_ledger: Ledger | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Where to begin. With a gap every wallet is read, for nobody knows what it missed."""

    position: Position
    gap: bool


def begin(*, history: History, network: Network, saved: SavedCursor | None, stream_name: str, wish: Wish) -> Begin:
    """Where the stream begins; Fatal, with the remedy, when that is for a person to decide."""
    check_network(history, network)
    if wish.from_ledger is not None:
        return Begin(position=_from_ledger(history, wish.from_ledger), gap=False)
    tip = Position(cursor=cursor_after_ledger(history.latest), ledger=history.latest)
    if saved is None:
        return Begin(position=tip, gap=False)
    if saved.network != network:
        raise Fatal(
            f"the cursor saved as STREAM_NAME={stream_name} is of {saved.network}, and STELLAR_NETWORK is {network}: "
            "choose another STREAM_NAME for this network"
        )
    try:
        check_position(history, saved.position)
    except Fatal:
        if not wish.accept_gap:
            raise
        return Begin(position=tip, gap=True)
    return Begin(position=saved.position, gap=False)


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
