"""The decision to the stroop and to the ledger: what the mutation tool changed and the worked cases did not notice."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from consumer.decide import decide
from consumer.deposit import deposit
from consumer.inputs import Fact, Result
from consumer.outcome import Reason, Verdict
from consumer.wallet import CommandRecord, CommandStatus, WalletState
from schema.deposit_result import DepositResult, ResultError, ResultStatus
from schema.identity import command_id
from schema.stellar import NOTHING, Ledger, Stroops
from tests.unit.consumer.worlds import (
    FIRST_LEDGER,
    POLICY,
    VAULT,
    WALLET_ID,
    World,
    balance_event,
    close_time,
    movement,
    units,
)


@pytest.fixture(params=["Pacific/Auckland", "Pacific/Honolulu"])
def _elsewhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock is on another day than UTC's."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def record(name: str, *, amount: int, status: CommandStatus, settled: int | None = None) -> CommandRecord:
    deposited = units(amount) if status is CommandStatus.SUCCEEDED else NOTHING
    return CommandRecord(
        command_id=command_id(WALLET_ID, name),
        status=status,
        amount_stroops=units(amount),
        issued_at=close_time(1),
        expires_at=close_time(61),
        deposited_stroops=deposited,
        settled_ledger=None if settled is None else Ledger(settled),
    )


def state_with(*commands: CommandRecord, ledger: int | None) -> WalletState:
    return replace(World().state, commands=commands, ledger=None if ledger is None else Ledger(ledger))


def test_an_absence_seen_again_moves_the_version() -> None:
    """So that what comes between is stale, and an older fact cannot bring the money back."""
    world = World()
    world.holds(1, 100)
    world.holds(2, 0, authorized=False)
    world.holds(9, 0, authorized=False)
    assert world.state.ledger == FIRST_LEDGER + 9
    assert world.holds(5, 100).verdict is Verdict.STALE


def test_a_baseline_triggers_nothing() -> None:
    """It is no increase; with deposit_existing it is one, of a single stroop too."""
    assert World().holds(1, 100).reason is Reason.NOT_TRIGGERED
    world = World(deposit_existing=True, min_deposit_stroops=NOTHING)
    world.holds(1, 0, balance_stroops=Stroops(1))
    assert [command.amount_stroops for command in world.commands] == [1]


def test_deposits_up_to_the_stored_version_are_not_expected_again() -> None:
    """One that the stored balance shows already explains no further decrease."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 150)
    world.succeeds(world.commands[0], ledger=3, amount=100)
    world.holds(3, 50)
    with_all = replace(world.state, commands=tuple(world._records.values()))
    later = balance_event(4, 45)
    outcome = decide(with_all, Fact(event=later, at=later.observed_at), world.policy)
    assert outcome.reason is Reason.NOT_TRIGGERED


def test_a_decrease_of_unknown_sources_protects_nothing_more() -> None:
    """Not by a stroop; and an unknown increase by exactly itself."""
    world = World(excluded_sources=frozenset({VAULT}))
    world.holds(1, 100)
    world.holds(2, 90, since=None)
    assert world.state.protected_stroops == units(90)
    world.holds(3, 120, since=None)
    assert world.state.protected_stroops == units(120)
    open_ = World(excluded_sources=frozenset({VAULT}))
    open_.holds(1, 0)
    open_.holds(2, 100, movements=(movement(2, 100),), since=1)
    open_.holds(3, 90, since=None)
    assert open_.state.protected_stroops == 0


def test_a_single_stroop_from_an_excluded_source_is_protected() -> None:
    """The smallest inflow is one."""
    world = World(excluded_sources=frozenset({VAULT}))
    world.holds(1, 0)
    stroop = replace(movement(2, 0, VAULT), amount_stroops=Stroops(1))
    world.holds(2, 0, since=1, movements=(stroop,), balance_stroops=Stroops(1))
    assert world.state.protected_stroops == 1


@pytest.mark.parametrize("missing", ["balance_stroops", "ledger", "snapshot_id"])
def test_a_command_without_a_recorded_fact_is_a_bug(missing: str) -> None:
    """A broken invariant of ours crashes, and says for which wallet."""
    world = World(reserve_stroops=Stroops(-units(50)))
    world.holds(1, 100)
    changed: dict[str, Any] = {missing: None}
    broken = replace(world.state, **changed)
    with pytest.raises(AssertionError, match=f"^wallet {WALLET_ID}: a command without a recorded fact$"):
        deposit(
            replace(broken, protected_stroops=Stroops(-units(50))),
            world.policy,
            triggered=True,
            caused_by="x",
            at=close_time(1),
        )


def test_one_commands_ending_is_not_anothers() -> None:
    """Of two open ones the second fails: the first stays open with its own amount."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    world.holds(3, 130)
    world.fails(world.commands[1], ledger=4)
    statuses = [(command.status, command.amount_stroops) for command in world.state.commands]
    assert statuses == [(CommandStatus.PENDING, units(100)), (CommandStatus.FAILED, units(30))]
    assert world.state.in_flight() == units(100)


@pytest.mark.usefixtures("_elsewhere")
def test_the_day_is_utcs_wherever_the_machine_is() -> None:
    """The cap's day begins at midnight UTC, and what fails is given back to the day it was issued on."""
    world = World(daily_cap_stroops=units(70))
    world.holds(1, 0)
    world.holds(2, 100)
    assert dict(world.state.issued) == {close_time(2).date(): units(70)}
    assert world.state.due_at is not None
    assert world.state.due_at.isoformat() == "2026-02-01T00:00:00+00:00"
    world.fails(world.commands[0], ledger=3)
    assert dict(world.state.issued) == {close_time(2).date(): 0}


def test_a_late_failure_is_recorded_and_moves_nothing() -> None:
    """The expired command stays expired, with what its result told."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    world.holds(2, 100, seen_in=100)
    before = world.state
    outcome = world.fails(world.commands[0], ledger=101)
    assert outcome.verdict is Verdict.LATE
    (ended,) = outcome.ended
    assert (ended.status, ended.reported) == (CommandStatus.EXPIRED, ResultStatus.FAILED)
    assert outcome.snapshot is None
    assert replace(world.state, commands=()) == replace(before, commands=())
    assert ended in world.state.commands


def test_the_delay_doubles_twenty_times_and_ends_at_a_day() -> None:
    """Whatever the first delay is: 2**20 of it, or a day."""
    for first, last in (
        (timedelta(milliseconds=50), timedelta(milliseconds=50) * 2**20),
        (timedelta(seconds=30), timedelta(days=1)),
    ):
        world = World(attempts_max=100, retry_delay=first)
        world.holds(1, 0)
        world.state = replace(world.state, failures_in_a_row=30)
        world.holds(2, 100)
        world.fails(world.commands[0], ledger=3)
        assert world.state.due_at == close_time(3) + last
        assert world.state.failures_in_a_row == 31


def test_a_result_says_why_another_command_follows_or_none() -> None:
    """The rest at once, or nothing left."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    assert world.succeeds(world.commands[0], ledger=3, amount=60).reason is Reason.ISSUED
    assert world.succeeds(world.commands[1], ledger=4).reason is Reason.BELOW_MINIMUM


def test_the_cause_of_a_failed_command_causes_no_second_one() -> None:
    """A state put back by hand: the command's record is known, so that the fact has had its command."""
    world = World(deposit_existing=True)
    fresh = world.state
    world.holds(1, 100)
    world.fails(world.commands[0], ledger=2)
    world.state = fresh
    outcome = world.holds(1, 100)
    assert outcome.reason is Reason.ALREADY_ISSUED
    assert outcome.command is None


def test_what_is_in_flight_and_what_is_settled() -> None:
    """Open ones, and those settled in later ledgers; settled: after one ledger, up to another."""
    open_ = record("open", amount=1, status=CommandStatus.PUBLISHED)
    failed = record("failed", amount=2, status=CommandStatus.FAILED)
    expired = record("expired", amount=4, status=CommandStatus.EXPIRED)
    first = record("first", amount=8, status=CommandStatus.SUCCEEDED, settled=1)
    tenth = record("tenth", amount=16, status=CommandStatus.SUCCEEDED, settled=10)
    every = (open_, failed, expired, first, tenth)
    assert state_with(*every, ledger=None).in_flight() == units(25)
    assert state_with(*every, ledger=1).in_flight() == units(17)
    assert state_with(*every, ledger=9).in_flight() == units(17)
    assert state_with(*every, ledger=10).in_flight() == units(1)
    state = state_with(*every, ledger=5)
    for after, up_to, settled in ((None, 10, 24), (None, 9, 8), (1, 10, 16), (1, 9, 0), (10, 99, 0), (None, 1, 8)):
        assert state.settled(after=None if after is None else Ledger(after), up_to=Ledger(up_to)) == units(settled)
    assert state.command(first.command_id) is first
    assert state.command(WALLET_ID) is None
    assert POLICY.enabled


def test_a_newer_fact_may_let_a_command_expire_without_an_increase() -> None:
    """Less is there than before; what expired is ended, and what is there is commanded anew."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    outcome = world.holds(100, 90)
    assert [ended.command_id for ended in outcome.ended] == [world.commands[0].command_id]
    assert world.amounts() == [100, 90]
    assert world.commands[1].previous_command_id == world.commands[0].command_id


def test_of_nothing_nothing_is_commanded() -> None:
    """With no minimum, no protection and no reserve a balance of 0 is still nothing."""
    world = World(min_deposit_stroops=NOTHING)
    world.holds(1, 0)
    world.state = replace(world.state, due_at=close_time(1))
    assert world.due(close_time(1)).reason is Reason.BELOW_MINIMUM
    assert world.commands == []


def test_why_less_than_the_minimum_is_left() -> None:
    """A maximum under the minimum, or a day's cap that leaves less than is there."""
    world = World(max_deposit_stroops=units(5))
    world.holds(1, 0)
    assert world.holds(2, 100).reason is Reason.BELOW_MINIMUM
    capped = World(daily_cap_stroops=units(5))
    capped.holds(1, 0)
    assert capped.holds(2, 10).reason is Reason.DAILY_CAP


def test_a_failures_transaction_is_on_record() -> None:
    """A ledger may hold the transaction as failed: its hash is kept."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    failed = DepositResult(
        command_id=world.commands[0].command_id,
        status=ResultStatus.FAILED,
        amount_stroops=NOTHING,
        transaction_hash="ab" * 32,
        ledger=None,
        error=ResultError(code="op_underfunded", message="failed in ledger 3"),
        completed_at=close_time(3),
    )
    outcome = decide(world.state, Result(result=failed, at=close_time(3)), world.policy)
    assert [ended.transaction_hash for ended in outcome.ended] == ["ab" * 32]
    assert [ended.status for ended in outcome.ended] == [CommandStatus.FAILED]


def test_a_deposit_of_everything_leaves_a_snapshot_of_0() -> None:
    """The balance that is known, to the stroop; and a success forgets the failure of the command before it."""
    world = World()
    world.holds(1, 0)
    world.holds(2, 100)
    world.holds(3, 130)
    world.holds(4, 0)
    world.fails(world.commands[0], ledger=5)
    assert world.state.retry_of == world.commands[0].command_id
    outcome = world.succeeds(world.commands[1], ledger=4)
    assert outcome.snapshot is not None
    assert (outcome.snapshot.balance_stroops, outcome.snapshot.previous_stroops) == (0, 0)
    assert world.state.retry_of is None
