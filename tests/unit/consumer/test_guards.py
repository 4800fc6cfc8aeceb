"""Guards of the decision that the worked cases do not touch: each of these fails when its guard is taken away."""

from dataclasses import replace
from datetime import timedelta

import pytest

from consumer.decide import decide
from consumer.inputs import Fact
from consumer.outcome import Outcome, Reason, Verdict
from schema.stellar import Ledger
from schema.wire import format_time
from tests.unit.consumer.worlds import (
    FIRST_LEDGER,
    VAULT,
    WALLET_ID,
    World,
    balance_event,
    close_time,
    movement,
    units,
)


def test_a_gap_before_the_claimed_movements_is_doubt() -> None:
    """With excluded sources, movements that begin after the stored version do not say where an increase is from."""
    world = World(excluded_sources=frozenset({VAULT}))
    world.holds(1, 0)
    world.holds(3, 50, since=2, movements=(movement(3, 50),))
    assert world.commands == []
    assert world.state.protected_stroops == units(50)
    world.holds(4, 100, since=3, movements=(movement(4, 50),))
    assert world.amounts() == [50], "from the stored version on they say it"


def test_a_deposit_to_the_vault_frees_nothing_that_is_protected() -> None:
    """What goes to an excluded source is no negative inflow: what is protected stays so."""
    world = World(excluded_sources=frozenset({VAULT}))
    world.holds(1, 100)
    world.holds(2, 150, since=1, movements=(movement(2, 50),))
    world.holds(3, 100, since=2, movements=(movement(3, -50, VAULT),))
    world.succeeds(world.commands[0], ledger=3)
    assert world.state.protected_stroops == units(100)
    world.holds(4, 130, since=3, movements=(movement(4, 30),))
    assert world.amounts() == [50, 30]


@pytest.mark.parametrize("ledger", [2, 3])
def test_expiry_goes_by_the_chains_time_and_not_by_ours(ledger: int) -> None:
    """However late a fact is decided on, a duplicate or a new one: what counts is when its ledger closed."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    late = Fact(event=balance_event(ledger, 100 if ledger == 2 else 90), at=close_time(2) + timedelta(hours=1))
    outcome = decide(world.state, late, world.policy)
    assert outcome.ended == ()
    assert outcome.command is None
    assert outcome.state.in_flight() == units(100)


def test_what_a_cap_leaves_is_never_less_than_the_minimum() -> None:
    """65 of a cap of 70 are issued: the 5 that are left are under the minimum and wait for the next day."""
    world = World(daily_cap_stroops=units(70))
    world.holds(1, 0)
    world.holds(2, 65)
    outcome = world.holds(3, 95)
    assert outcome.reason is Reason.DAILY_CAP
    assert world.amounts() == [65]
    assert world.state.due_at is not None


def test_what_an_open_command_may_take_is_not_commanded_again() -> None:
    """More money comes while a command is under way: the next one is for what came, not for all that is there."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    outcome = world.holds(3, 150)
    assert world.amounts() == [100, 50]
    assert outcome.state.in_flight() == units(150)


def test_protected_does_not_shrink_while_a_command_is_in_flight() -> None:
    """A deposit may have taken what the balance lacks: only with nothing in flight it was the owner."""
    world = World()
    world.holds(1, 100)
    world.holds(2, 150)
    world.holds(3, 90)
    assert world.state.protected_stroops == units(100)
    world.fails(world.commands[0], ledger=4)
    assert world.state.protected_stroops == units(90)


def test_a_deposit_that_the_balance_does_not_show_is_in_flight() -> None:
    """Its result came first: until a fact of its ledger is in, what it took is not there to be commanded."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    outcome = world.succeeds(world.commands[0], ledger=4)
    assert outcome.command is None
    assert world.state.in_flight() == units(100)
    world.holds(3, 120)
    assert world.amounts() == [100, 20]
    world.holds(4, 20)
    assert world.state.in_flight() == units(20)


def shown(outcome: Outcome) -> tuple[Verdict, Reason, str]:
    return outcome.verdict, outcome.reason, outcome.detail


def test_refusals_say_what_was_expected_and_what_came() -> None:
    """Word for word: a person reads them in the alarm."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    ledger = FIRST_LEDGER + 2
    assert shown(world.holds(2, 150, authorized=False)) == (
        Verdict.CONFLICT,
        Reason.NOT_TRIGGERED,
        (
            f"ledger {ledger} is stored with another state: balance 100.0000000, authorized True,"
            " the event says balance 150.0000000, authorized False"
        ),
    )
    assert world.holds(2, 100, authorized=False).verdict is Verdict.CONFLICT
    empty = World()
    empty.holds(1, 0)
    assert "balance 0.0000000, authorized True, the event" in empty.holds(1, 5).detail
    command = world.commands[0]
    assert shown(world.succeeds(command, 3, amount=101))[2] == "101.0000000 deposited, 100.0000000 commanded"
    assert world.succeeds(command, 3).verdict is Verdict.SUCCEEDED
    again = world.succeeds(command, 4)
    assert again.verdict is Verdict.CONTRADICTION
    assert again.detail == (
        f"recorded as succeeded {(1_000_000_000, f'{3:064x}', FIRST_LEDGER + 3)},"
        f" the result says succeeded {(1_000_000_000, f'{4:064x}', FIRST_LEDGER + 4)}"
    )
    other = replace(command, command_id=command.wallet_id)
    unknown = world.succeeds(other, 4)
    assert unknown.detail == f"no command {other.command_id} was issued"
    assert unknown.verdict is Verdict.UNKNOWN_COMMAND


def test_a_version_is_compared_with_its_authorization() -> None:
    """Frozen and thawed in one ledger cannot be: a version stands for one state."""
    world = World()
    world.holds(1, 100)
    assert world.holds(1, 100).verdict is Verdict.DUPLICATE
    assert world.holds(1, 100, authorized=False).verdict is Verdict.CONFLICT


def test_a_balance_from_before_the_pipeline_is_compared() -> None:
    """A stored balance without a version: the first fact is no baseline, its increase is new money."""
    world = World()
    world.state = replace(world.state, balance_stroops=units(100), protected_stroops=units(100))
    outcome = world.holds(5, 150)
    assert outcome.verdict is Verdict.RECORDED
    assert world.amounts() == [50]
    excluded = World(excluded_sources=frozenset({VAULT}))
    excluded.state = replace(excluded.state, balance_stroops=units(100), protected_stroops=units(100))
    excluded.holds(5, 150, since=0, movements=(movement(5, 50),))
    assert excluded.commands == [], "there is no version that movements could be counted from"


def test_a_duplicate_that_lets_a_command_expire_says_so() -> None:
    """The next command is caused by the one that expired, and names it; an older absence is stale."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    outcome = world.holds(2, 100, seen_in=100)
    assert (outcome.verdict, outcome.reason) == (Verdict.DUPLICATE, Reason.ISSUED)
    assert outcome.snapshot is None
    assert outcome.command is not None
    assert outcome.command.caused_by == f"result:{world.commands[0].command_id}"
    assert outcome.command.previous_command_id == world.commands[0].command_id
    assert outcome.command.ledger == Ledger(FIRST_LEDGER + 2)


def test_a_wait_that_is_over_is_gone() -> None:
    """Whatever comes of it; the outcome says why there is a command, or none, and what caused it."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    world.fails(world.commands[0], ledger=3)
    due_at = world.state.due_at
    assert due_at is not None
    outcome = world.due(due_at)
    assert (outcome.verdict, outcome.reason) == (Verdict.DUE, Reason.ISSUED)
    assert world.commands[1].caused_by == f"due:{WALLET_ID}:{format_time(due_at)}"
    idle = World()
    idle.holds(1, 0)
    idle.state = replace(idle.state, due_at=due_at)
    assert idle.due(due_at).reason is Reason.BELOW_MINIMUM
    assert idle.state.due_at is None


def test_a_deposit_of_less_frees_the_rest_of_the_days_cap() -> None:
    """60 of 100 were moved: of a cap of 100 a day there are 40 left, and they are commanded at once."""
    world = World(daily_cap_stroops=units(100))
    world.holds(1, 0)
    world.holds(2, 100)
    world.succeeds(world.commands[0], ledger=3, amount=60)
    assert world.amounts() == [100, 40]


def test_a_success_ends_a_row_of_failures() -> None:
    """The next failure waits as long as a first one, and names no command before it."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    world.fails(world.commands[0], ledger=3)
    assert (world.state.failures_in_a_row, world.state.retry_of) == (1, world.commands[0].command_id)
    world.holds(4, 150)
    assert world.state.retry_of is None
    world.succeeds(world.commands[1], ledger=5)
    assert (world.state.failures_in_a_row, world.state.retry_of) == (0, None)
    world.holds(5, 50)
    world.fails(world.commands[-1], ledger=6)
    assert world.state.due_at == close_time(6) + timedelta(seconds=30)
