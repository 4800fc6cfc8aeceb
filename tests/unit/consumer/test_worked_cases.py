"""The worked cases of the decision, each by its name."""

from dataclasses import replace
from datetime import timedelta

from consumer.outcome import Reason, Verdict
from consumer.wallet import CommandStatus
from schema.stellar import Stroops
from tests.unit.consumer.worlds import POLICY, VAULT, World, balance_event, close_time, movement, units


def test_payment_of_50_on_100_commands_50() -> None:
    """A payment of 50 on a known 100 is one command of 50, traced to its fact."""
    world = World()
    world.holds(1, 100)
    outcome = world.holds(2, 150, movements=(movement(2, 50),))
    assert world.amounts() == [50]
    command = world.commands[0]
    assert command.caused_by == str(outcome.snapshot.event_id if outcome.snapshot else None)
    assert command.reserve_stroops == units(100)
    assert outcome.snapshot is not None
    assert command.snapshot_id == outcome.snapshot.snapshot_id
    assert outcome.snapshot.previous_stroops == units(100)
    assert outcome.snapshot.transaction_hash == f"{2:064x}"


def test_first_sight_of_1000_commands_nothing() -> None:
    """The first sight of a wallet is its baseline: recorded, protected, nothing deposited."""
    world = World()
    outcome = world.holds(1, 1000)
    assert outcome.verdict is Verdict.BASELINE
    assert world.commands == []
    assert world.state.protected_stroops == units(1000)
    assert outcome.snapshot is not None
    assert outcome.snapshot.previous_stroops is None


def test_first_sight_with_deposit_existing_counts_from_0() -> None:
    """With deposit_existing the first sight is an increase from nothing."""
    world = World(deposit_existing=True)
    world.holds(1, 1000)
    assert world.amounts() == [1000]


def test_4_times_3_with_minimum_10_is_one_command_of_12() -> None:
    """What is below the minimum is not forgotten: the level rule finds it."""
    world = World()
    world.holds(1, 0)
    for n in range(1, 5):
        world.holds(1 + n, 3 * n)
    assert world.amounts() == [12]


def test_in_flight_100_plus_50_minus_100_in_one_ledger_result_first() -> None:
    """The deposit's result comes before the fact that shows it: one more command, of 50."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    world.succeeds(world.commands[0], ledger=3)
    world.holds(3, 50)
    assert world.amounts() == [100, 50]


def test_in_flight_100_plus_50_minus_100_in_one_ledger_fact_first() -> None:
    """The fact that shows the deposit comes before its result: one more command, of 50."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    world.holds(3, 50)
    assert world.amounts() == [100], "the deposit's own amount is still in flight"
    world.succeeds(world.commands[0], ledger=3)
    assert world.amounts() == [100, 50]


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


def test_new_money_ends_the_wait() -> None:
    """Money that comes during the wait is commanded together with what failed, and the wait is gone."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    world.fails(world.commands[0], ledger=3)
    world.holds(4, 150)
    assert world.amounts() == [100, 150]
    assert world.state.due_at is None


def test_withdraw_from_the_vault_commands_nothing_a_thousand_times_over() -> None:
    """Money from an excluded source becomes protected and never leaves on its own."""
    world = World(excluded_sources=frozenset({VAULT}))
    world.holds(1, 0)
    for n in range(1, 1001):
        world.holds(1 + n, 20 * n, since=n, movements=(movement(1 + n, 20, VAULT),))
    assert world.commands == []
    world.holds(1002, 20_050, since=1001, movements=(movement(1002, 50),))
    assert world.amounts() == [50]


def test_an_increase_whose_sources_are_unknown_is_protected() -> None:
    """With excluded sources in the policy, an increase that is not covered is not deposited."""
    world = World(excluded_sources=frozenset({VAULT}))
    world.holds(1, 100)
    world.holds(2, 150, since=None)
    world.holds(3, 200, since=2)
    assert world.amounts() == [50], "only the covered increase"


def test_a_movement_is_counted_once_however_many_facts_list_it() -> None:
    """Movements overlap between facts: only those after the stored version and up to the fact's own count."""
    world = World(excluded_sources=frozenset({VAULT}))
    world.holds(1, 0)
    withdrawal = movement(2, 20, VAULT)
    world.holds(2, 20, since=1, movements=(withdrawal,))
    world.holds(3, 70, since=1, movements=(withdrawal, movement(3, 50), movement(4, 30, VAULT)))
    assert world.state.protected_stroops == units(20)
    assert world.amounts() == [50]


def test_owner_spends_30_of_a_protected_100_then_50_come_in() -> None:
    """The protected part shrinks with what the owner spends, so that new money is new money."""
    world = World()
    world.holds(1, 100)
    world.holds(2, 70)
    world.holds(3, 120)
    assert world.amounts() == [50]


def test_100_payments_in_one_ledger_are_one_command_of_the_sum() -> None:
    """A ledger's payments are one fact, one snapshot, one command."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 500, movements=tuple(movement(2, 5) for _ in range(100)))
    assert world.amounts() == [500]


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


def test_dust_of_100000_times_the_smallest_amount_is_bounded_and_complete() -> None:
    """Dust costs no command until it is worth one; nothing of it is lost."""
    world = World(replace(POLICY, min_deposit_stroops=Stroops(1000)))
    world.event(balance_event(0, 0))
    deposited = 0
    for n in range(1, 100_001):
        outcome = world.event(balance_event(n, 0, balance_stroops=Stroops(n - deposited)))
        if outcome.command is not None:
            deposited += outcome.command.amount_stroops
            world.succeeds(outcome.command, ledger=n + 1)
    assert [command.amount_stroops for command in world.commands] == [1000] * 100


def test_replay_of_everything_changes_nothing() -> None:
    """Every fact and every result again: no snapshot, no command, the state as it was."""
    world = World()
    events = [balance_event(n, 40 * n) for n in range(1, 6)]
    for event in events:
        world.event(event)
    world.succeeds(world.commands[0], ledger=6)
    before, issued = world.state, list(world.commands)
    replayed = [world.event(event) for event in events] + [world.succeeds(issued[0], ledger=6)]
    assert all(outcome.verdict in (Verdict.STALE, Verdict.DUPLICATE) for outcome in replayed)
    assert all(outcome.snapshot is None and outcome.command is None for outcome in replayed)
    assert replace(world.state, commands=()) == replace(before, commands=())


def test_the_same_version_with_another_balance_is_a_conflict() -> None:
    """One version stands for one balance: the other goes to the dead letters and nothing moves."""
    world = World()
    world.holds(1, 100)
    before = world.state
    outcome = world.holds(1, 150)
    assert outcome.verdict is Verdict.CONFLICT
    assert "150.0000000" in outcome.detail
    assert replace(world.state, held_at=None) == before


def test_a_conflict_holds_its_wallet_until_a_person_releases_it() -> None:
    """While somebody says another balance nothing is commanded; what came in meanwhile is, once the hold is gone."""
    world = World()
    world.holds(1, 100)
    world.holds(1, 150)
    held_at = world.state.held_at
    assert held_at is not None
    outcome = world.holds(2, 150)
    assert (outcome.verdict, outcome.reason) == (Verdict.RECORDED, Reason.HELD)
    world.holds(2, 170)
    assert world.state.held_at == held_at
    assert world.commands == []
    world.state = replace(world.state, held_at=None, due_at=close_time(3))
    world.due(close_time(4))
    assert world.amounts() == [50]


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


def test_a_trustline_that_is_gone_is_a_balance_of_0_once() -> None:
    """An absence is recorded once; seen again in a later ledger it is a duplicate; money after it is new."""
    world = World()
    world.holds(1, 100)
    assert world.holds(2, 0, authorized=False).verdict is Verdict.RECORDED
    again = world.holds(9, 0, authorized=False)
    assert again.verdict is Verdict.DUPLICATE
    assert again.snapshot is None
    world.holds(10, 60)
    assert world.amounts() == [60]


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


def test_the_reserve_stays() -> None:
    """The reserve is what must remain afterwards; the command carries it."""
    world = World(reserve_stroops=units(25))
    world.holds(1, 0)
    world.holds(2, 100)
    assert world.amounts() == [75]
    assert world.commands[0].reserve_stroops == units(25)


def test_a_cause_that_had_its_command_never_has_a_second() -> None:
    """A state put back by hand does not make the same fact cause another command."""
    world = World(deposit_existing=True)
    fresh = world.state
    world.holds(1, 100)
    world.state = fresh
    outcome = world.holds(1, 100)
    assert outcome.command is None
    assert len(world.commands) == 1
