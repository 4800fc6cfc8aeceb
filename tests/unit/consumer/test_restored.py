"""A database restored from a backup knows an old balance: why docs/operations.md has it catch up in a pause."""

from dataclasses import replace
from datetime import timedelta

from tests.unit.consumer.worlds import VAULT, World, close_time, movement

AFTER = close_time(100)


def backed_up() -> World:
    """100 protected, 50 came in, their command failed, and the next attempt waits. Since then, in the world that was
    lost: the 50 were deposited in ledger 5, and the vault paid back 50 in ledger 6.
    """
    world = World(excluded_sources=frozenset({VAULT}))
    world.holds(1, 100)
    world.holds(2, 150, since=1, movements=(movement(2, 50),))
    world.fails(world.commands[0], ledger=3)
    assert world.state.due_at is not None
    return world


def tell_again(world: World) -> None:
    """The facts since the backup come once more. The result does not help: its command is not on record."""
    world.holds(5, 100, since=2, movements=(movement(5, -50, VAULT),))
    world.holds(6, 150, since=5, movements=(movement(6, 50, VAULT),))


def test_without_a_pause_a_wait_that_ends_would_take_what_is_protected_by_now() -> None:
    """The id is new to the executor, and the old reserve leaves it the 50 that the vault paid back."""
    world = backed_up()
    world.due(AFTER)
    assert world.amounts() == [50, 50]


def test_caught_up_in_a_pause_nothing_is_deposited_again_and_nothing_new_is_forgotten() -> None:
    """Waits end in the pause and command nothing; after it, what came in since is all that is commanded."""
    world = backed_up()
    world.policy = replace(world.policy, paused=True)
    world.due(AFTER)
    tell_again(world)
    world.holds(7, 180, since=6, movements=(movement(7, 30),))
    assert world.amounts() == [50]
    world.policy = replace(world.policy, paused=False)
    assert world.state.due_at is not None
    world.due(max(AFTER, world.state.due_at) + timedelta(minutes=1))
    assert world.amounts() == [50, 30]
