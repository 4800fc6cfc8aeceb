"""The worked cases of the decision, each by its name."""

from dataclasses import replace

from consumer.outcome import Reason, Verdict
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
