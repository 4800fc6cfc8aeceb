"""The pure decisions around the stream: what is told of a sighting, and where a stream begins."""

import pytest

from producers.facts import Verdict, judge
from producers.history import REPLICA_LAG_LEDGERS, Position, SavedCursor
from producers.source import Fatal, History, State
from producers.start import CHANGES_LEDGERS_MAX, Begin, Saved, Wish, begin
from producers.wallet import Stored, Wallet
from schema.stellar import Cursor, Ledger, Network, Stroops, cursor_after_ledger
from tests.unit.producers.records import ALICE

TESTNET = Network.TESTNET
CURSOR = Cursor("225257527003537409")


def state(version: int, *, observed: int = 2_000, balance: int = 7, authorized: bool = True) -> State:
    return State(
        account_id=ALICE,
        balance_stroops=Stroops(balance),
        authorized=authorized,
        version=Ledger(version),
        observed=Ledger(observed),
    )


def wallet(floor: int | None, *, absent: bool = False) -> Wallet:
    return Wallet(complete_since=Ledger(1), floor=None if floor is None else Ledger(floor), absent=absent)


ABSENCE = state(2_000, balance=0, authorized=False)


@pytest.mark.parametrize(
    ("seen", "known", "drained", "verdict"),
    [
        pytest.param(state(1_500), wallet(None), 1_000, Verdict.FACT, id="a first sight claims nothing: told at once"),
        pytest.param(state(1_500), wallet(1_400), 1_500, Verdict.FACT, id="a newer version"),
        pytest.param(state(1_500), wallet(1_400), 1_499, Verdict.LATER, id="its payments are not all read"),
        pytest.param(state(1_500), wallet(1_500), 2_000, Verdict.DUPLICATE, id="the version that was told"),
        pytest.param(state(1_500, observed=1_600), wallet(1_700), 2_000, Verdict.LATER, id="a replica that is behind"),
        pytest.param(state(1_500), wallet(1_700), 2_000, Verdict.DUPLICATE, id="older than told, yet read after it"),
        pytest.param(ABSENCE, wallet(1_400), 2_000, Verdict.FACT, id="the trustline is gone"),
        pytest.param(ABSENCE, wallet(1_400, absent=True), 2_000, Verdict.DUPLICATE, id="still gone"),
        pytest.param(ABSENCE, wallet(None), 1_000, Verdict.FACT, id="never there"),
        pytest.param(state(1_500), wallet(1_400, absent=True), 2_000, Verdict.FACT, id="there again"),
    ],
)
def test_what_becomes_of_a_sighting(seen: State, known: Wallet, drained: int, verdict: Verdict) -> None:
    """A fact, a duplicate, or nothing yet: as the table of the module says."""
    assert judge(seen, known, None, forced=False, drained=Ledger(drained)) is verdict


def test_what_was_asked_for_is_told_again() -> None:
    """A request gets its fact though nothing changed, but not before the payments up to its version are read."""
    assert judge(state(1_500), wallet(1_500), None, forced=True, drained=Ledger(1_500)) is Verdict.FACT
    assert judge(ABSENCE, wallet(1_400, absent=True), None, forced=True, drained=Ledger(1_999)) is Verdict.LATER


def test_another_balance_of_the_stored_version_is_told() -> None:
    """The same version with another balance is a conflict for the consumer to see, and no duplicate."""
    stored = Stored(account_id=ALICE, version=Ledger(1_500), balance_stroops=Stroops(8), absent=False)
    assert judge(state(1_500), wallet(1_500), stored, forced=False, drained=Ledger(2_000)) is Verdict.FACT


def history(*, elder: int = 2, latest: int = 5_000, network: Network = TESTNET) -> History:
    return History(passphrase=network.passphrase, elder=Ledger(elder), latest=Ledger(latest))


def saved(ledger: int, network: str = "testnet") -> SavedCursor:
    return SavedCursor(network=network, position=Position(cursor=CURSOR, ledger=Ledger(ledger)))


def begun(
    ledgers: History,
    cursor: SavedCursor | None,
    changes: SavedCursor | None,
    *,
    follows: bool = True,
    accept_gap: bool = False,
    from_ledger: int | None = None,
) -> Begin:
    wish = Wish(accept_gap=accept_gap, from_ledger=None if from_ledger is None else Ledger(from_ledger))
    cursors = Saved(payments=cursor, changes=changes, follows_changes=follows)
    return begin(history=ledgers, network=TESTNET, saved=cursors, stream_name="stream", wish=wish)


def beginning(
    ledgers: History, cursor: SavedCursor | None, *, accept_gap: bool = False, from_ledger: int | None = None
) -> tuple[Position, bool]:
    """Where payments begin, and whether every wallet is read; the changes' cursor is as good as the payments'."""
    found = begun(ledgers, cursor, cursor, accept_gap=accept_gap, from_ledger=from_ledger)
    return found.position, bool(found.missed)


def after(ledger: int) -> Position:
    return Position(cursor=cursor_after_ledger(Ledger(ledger)), ledger=Ledger(ledger))


def test_a_first_start_begins_behind_the_tip_and_reads_every_wallet() -> None:
    """Without a cursor both readings begin behind the newest ledger, which is wholly before them; what came after the
    stored facts and up to there is found by reading every wallet.
    """
    assert beginning(history(), None) == (after(5_000), True)
    assert begun(history(), None, None).changes == after(5_000)


def test_a_saved_cursor_is_resumed_as_it_is() -> None:
    """The cursor is handed back untouched, however long ago it was saved, and behind a replica that lags a little."""
    assert beginning(history(), saved(4)) == (saved(4).position, False)
    assert begun(history(), saved(4), saved(5)).changes == saved(5).position
    lagging = saved(5_000 + REPLICA_LAG_LEDGERS)
    assert beginning(history(), lagging) == (lagging.position, False)


@pytest.mark.parametrize(
    ("ledgers", "changes", "why"),
    [
        pytest.param(history(), None, "no cursor of the changes", id="never followed before"),
        pytest.param(history(), saved(4_000, "mainnet"), "no cursor of the changes", id="of the other network"),
        pytest.param(history(elder=3_000), saved(2_998), "not in the source's history", id="too old"),
        pytest.param(history(latest=4_500), saved(4_700), "not in the source's history", id="beyond the tip"),
        pytest.param(history(latest=20_000), saved(20_000 - CHANGES_LEDGERS_MAX - 1), "cheaper", id="a long time ago"),
    ],
)
def test_changes_that_cannot_be_followed_from_where_they_were_are_no_matter_for_a_person(
    ledgers: History, changes: SavedCursor | None, why: str
) -> None:
    """Payments go on where they were; changes begin at the tip, and every wallet is read, which tells what they would
    have told.
    """
    found = begun(ledgers, saved(4_400), changes)
    assert (found.position, found.changes) == (saved(4_400).position, after(int(ledgers.latest)))
    assert why in found.missed


def test_the_oldest_place_from_which_changes_are_followed() -> None:
    """So many ledgers behind is not too many, and the very ledger that comes next may be the elder one."""
    edge = saved(20_000 - CHANGES_LEDGERS_MAX)
    assert begun(history(latest=20_000), edge, edge).changes == edge.position
    assert begun(history(elder=3_000), saved(2_999), saved(2_999)).changes == saved(2_999).position


def test_changes_that_are_not_followed_have_no_place() -> None:
    """And then a missing cursor of theirs is no reason to read every wallet."""
    found = begun(history(), saved(4_000), None, follows=False)
    assert (found.changes, found.missed) == (None, "")
    assert begun(history(), None, None, follows=False).missed


@pytest.mark.parametrize(
    ("ledgers", "cursor", "remedy"),
    [
        pytest.param(history(network=Network.MAINNET), None, "HORIZON_URL", id="the wrong network"),
        pytest.param(history(), saved(4_000, "mainnet"), "another STREAM_NAME", id="a cursor of the other network"),
        pytest.param(history(latest=100), saved(4_000), "--accept-gap", id="a network that was reset"),
        pytest.param(history(elder=3_000), saved(2_998), "--accept-gap", id="a history that begins too late"),
    ],
)
def test_what_only_a_person_can_decide_stops_with_a_remedy(
    ledgers: History, cursor: SavedCursor | None, remedy: str
) -> None:
    """The stream stops and says what to do, where going on would lose payments in silence."""
    with pytest.raises(Fatal, match=remedy):
        beginning(ledgers, cursor)


def test_the_next_ledger_being_the_elder_one_is_no_gap() -> None:
    """A history that begins with the very ledger that comes next has lost nothing."""
    assert beginning(history(elder=3_000), saved(2_999)) == (saved(2_999).position, False)


def test_an_accepted_gap_begins_at_the_tip() -> None:
    """With the operator's word the stream begins at the tip and knows of the gap; without a gap the word is nothing."""
    assert beginning(history(elder=3_000), saved(100), accept_gap=True) == (after(5_000), True)
    assert beginning(history(latest=200), saved(4_000), accept_gap=True) == (after(200), True)
    assert beginning(history(), saved(4_000), accept_gap=True) == (saved(4_000).position, False)


def test_from_a_ledger_on() -> None:
    """The operator may have any ledger read again that the history has, and no other; changes too."""
    assert beginning(history(), saved(4_900), from_ledger=4_000) == (after(3_999), False)
    assert begun(history(), saved(4_900), saved(4_900), from_ledger=4_000).changes == after(3_999)
    assert begun(history(), saved(4_900), None, from_ledger=4_000).missed
    assert begun(history(), None, None, from_ledger=4_000).missed
    for outside in (1, 5_002):
        with pytest.raises(Fatal, match="has the ledgers 2 to 5000"):
            beginning(history(), None, from_ledger=outside)
