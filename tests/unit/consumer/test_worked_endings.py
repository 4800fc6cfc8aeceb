"""The worked cases of commands that end, of what a policy forbids or bounds, each by its name."""

from dataclasses import replace
from datetime import timedelta

from consumer.outcome import Reason, Verdict
from consumer.wallet import CommandStatus
from tests.unit.consumer.worlds import LEDGER_TIME, POLICY, World, close_time, units


def test_executor_fails_releases_and_commands_anew_after_a_delay_that_doubles() -> None:
    """A failed command frees its amount; the next attempt is a new command that names the one before."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    world.fails(world.commands[0], ledger=3)
    assert world.state.in_flight() == 0
    assert world.state.due_at == close_time(3) + timedelta(seconds=30)
    assert world.due(close_time(3)).verdict is Verdict.NOT_DUE
    world.due(world.state.due_at)
    assert world.amounts() == [100, 100]
    assert world.commands[1].previous_command_id == world.commands[0].command_id
    assert world.commands[1].command_id != world.commands[0].command_id
    world.fails(world.commands[1], ledger=10)
    assert world.state.due_at == close_time(10) + timedelta(seconds=60)


def test_after_attempts_max_in_a_row_the_wallet_waits_for_new_money() -> None:
    """Three failures in a row end the attempts; new money starts one at once."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    for ledger in (3, 13, 33):
        world.fails(world.commands[-1], ledger=ledger)
        if world.state.due_at is not None:
            world.due(world.state.due_at)
    assert len(world.commands) == 3
    assert world.state.due_at is None
    world.holds(50, 120)
    assert world.amounts() == [100, 100, 100, 120]


def test_commands_that_fail_together_are_one_attempt() -> None:
    """Four were out when the executor failed the first of them: that is one attempt, and the next is still made."""
    world = World()
    world.holds(1, 0)
    for ledger in (2, 3, 4, 5):
        world.holds(ledger, 100 * (ledger - 1))
    for command in world.commands[:4]:
        world.fails(command, ledger=6)
    assert world.state.failures_in_a_row == 1
    assert world.state.due_at == close_time(6) + timedelta(seconds=30)
    world.due(world.state.due_at)
    assert world.amounts() == [100, 100, 100, 100, 400]
    world.fails(world.commands[4], ledger=20)
    assert world.state.failures_in_a_row == 2


def test_one_that_was_out_before_a_success_is_the_first_of_a_new_row() -> None:
    """What succeeded in between ends the row, whatever attempt the other one was."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    world.fails(world.commands[0], ledger=3)
    world.holds(4, 150)
    world.holds(5, 200)
    world.succeeds(world.commands[1], ledger=6)
    assert world.state.failures_in_a_row == 0
    world.fails(world.commands[2], ledger=7)
    assert world.state.failures_in_a_row == 1


def test_a_failure_because_time_ran_out_is_no_attempt() -> None:
    """The executor was too slow, and says so before a fact does: that says nothing about the wallet, which goes on
    after the first delay, each time, whatever had failed before.
    """
    world = World(attempts_max=2)
    world.holds(1, 0)
    world.holds(2, 100)
    world.fails(world.commands[0], ledger=3)
    for _ in range(4):
        assert world.state.due_at is not None
        world.due(world.state.due_at)
        bound = (world.commands[-1].expires_at - close_time(0)) // LEDGER_TIME
        world.fails(world.commands[-1], ledger=bound)
        assert world.state.due_at == close_time(bound) + timedelta(seconds=30)
        assert world.state.failures_in_a_row == 1
    assert world.amounts() == [100] * 5


def test_an_executor_whose_clock_is_ahead_is_left_in_peace() -> None:
    """It says at once that time ran out: the next command waits until that is so by our clock, too."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    bound = (world.commands[0].expires_at - close_time(0)) // LEDGER_TIME
    world.fails(world.commands[0], ledger=bound + 1, at=close_time(3))
    assert world.state.failures_in_a_row == 0
    assert world.state.due_at == world.commands[0].expires_at + timedelta(seconds=30)


def test_new_money_ends_the_wait() -> None:
    """Money that comes during the wait is commanded together with what failed, and the wait is gone."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    world.fails(world.commands[0], ledger=3)
    world.holds(4, 150)
    assert world.amounts() == [100, 150]
    assert world.state.due_at is None


def test_a_lost_result_is_released_after_expiry_and_never_before() -> None:
    """Only chain time after the command's bound frees its amount, a duplicate's too; the deposit itself shows."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    expires = world.commands[0].expires_at
    at_bound = 2 + 60
    world.holds(2, 100, seen_in=at_bound)
    assert close_time(at_bound) == expires
    assert world.amounts() == [100], "at the bound itself the transaction may still have happened"
    outcome = world.holds(2, 100, seen_in=at_bound + 1)
    assert outcome.verdict is Verdict.DUPLICATE
    assert [command.status for command in outcome.ended] == [CommandStatus.EXPIRED]
    assert world.amounts() == [100, 100]
    assert world.commands[1].previous_command_id == world.commands[0].command_id


def test_a_lost_result_of_a_deposit_that_happened_is_never_deposited_twice() -> None:
    """The balance read after the bound already lacks what was deposited."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    world.holds(3, 0)
    world.holds(3, 0, seen_in=100)
    assert world.amounts() == [100]
    outcome = world.succeeds(world.commands[0], ledger=3)
    assert outcome.verdict is Verdict.LATE
    assert outcome.snapshot is not None
    assert world.amounts() == [100], "a late result is recorded and moves nothing"
    assert world.succeeds(world.commands[0], ledger=3).verdict is Verdict.DUPLICATE
    assert world.succeeds(world.commands[0], ledger=4).verdict is Verdict.CONTRADICTION


def test_a_command_that_is_out_ends_as_ever_on_a_held_wallet() -> None:
    """The hold stops new commands only: a result is recorded, and no other command follows it."""
    world = World(max_deposit_stroops=units(30))
    world.holds(1, 0)
    world.holds(2, 100)
    world.holds(2, 90)
    outcome = world.succeeds(world.commands[0], ledger=3)
    assert (outcome.verdict, outcome.reason) == (Verdict.SUCCEEDED, Reason.HELD)
    assert world.amounts() == [30]


def test_disabled_paused_and_unauthorized_command_nothing() -> None:
    """Nothing leaves while the policy or the trustline forbids it, and the reason says which."""
    for changed, said, reason in (
        ({"enabled": False}, {}, Reason.DISABLED),
        ({"paused": True}, {}, Reason.PAUSED),
        ({}, {"authorized": False}, Reason.UNAUTHORIZED),
    ):
        world = World(POLICY, **changed)
        world.holds(1, 100)
        assert world.holds(2, 150, **said).reason is reason
        assert world.commands == []


def test_unpause_deposits_what_came_in_during_the_pause() -> None:
    """While paused the wallet is looked at again every minute; the first look after it commands."""
    world = World(paused=True)
    world.holds(1, 0)
    world.holds(2, 80)
    assert world.state.due_at == close_time(2) + timedelta(seconds=60)
    world.policy = replace(world.policy, paused=False)
    world.due(world.state.due_at)
    assert world.amounts() == [80]


def test_the_maximum_splits_and_the_rest_follows_the_result() -> None:
    """One command of at most the maximum at a time; the rest when it resolves."""
    world = World(max_deposit_stroops=units(40))
    world.holds(1, 0)
    world.holds(2, 100)
    assert world.amounts() == [40]
    world.succeeds(world.commands[0], ledger=3)
    world.holds(3, 60)
    world.succeeds(world.commands[1], ledger=4)
    world.holds(4, 20)
    assert world.amounts() == [40, 40, 20]


def test_the_daily_cap_leaves_the_rest_to_the_next_day() -> None:
    """What the cap leaves is commanded when the next UTC day begins."""
    world = World(daily_cap_stroops=units(70))
    world.holds(1, 0)
    world.holds(2, 100)
    world.succeeds(world.commands[0], ledger=3)
    world.holds(3, 30)
    assert world.amounts() == [70]
    assert world.state.due_at is not None
    assert world.state.due_at.isoformat() == "2026-02-01T00:00:00+00:00"
    world.due(world.state.due_at)
    assert world.amounts() == [70, 30]


def test_a_failed_command_does_not_count_against_the_daily_cap() -> None:
    """The cap counts what was issued that day and neither failed nor expired."""
    world = World(daily_cap_stroops=units(70))
    world.holds(1, 0)
    world.holds(2, 100)
    world.fails(world.commands[0], ledger=3)
    assert world.state.due_at is not None
    world.due(world.state.due_at)
    assert world.amounts() == [70, 70]


def test_less_than_commanded_frees_the_rest() -> None:
    """A smaller deposit than commanded leaves the difference depositable."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    world.succeeds(world.commands[0], ledger=3, amount=60)
    assert world.amounts() == [100, 40]


def test_results_that_cannot_be_are_refused() -> None:
    """More than commanded, another ending, an unknown id: nothing moves."""
    world, other = World(), World()
    world.holds(1, 0)
    world.holds(2, 100)
    other.holds(1, 0)
    other.holds(3, 100)
    before = world.state
    assert world.succeeds(world.commands[0], ledger=3, amount=101).verdict is Verdict.EXCESS
    assert world.succeeds(other.commands[0], ledger=3).verdict is Verdict.UNKNOWN_COMMAND
    assert replace(world.state, commands=()) == replace(before, commands=())
    world.fails(world.commands[0], ledger=3)
    assert world.succeeds(world.commands[0], ledger=3).verdict is Verdict.CONTRADICTION
    assert world.fails(world.commands[0], ledger=4).verdict is Verdict.DUPLICATE
