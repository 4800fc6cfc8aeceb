"""The executor killed at every step, and at every pair of steps: one deposit, one result, whatever happens."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox import world
from sandbox.executor_store import Store
from schema import deposit_command
from schema.deposit_command import DepositCommand
from schema.stellar import Stroops
from tests.integration.executor_world import UNIT, Surroundings, ledgers_later, surroundings

PAIRS = 60


class Killed(BaseException):
    """The process is gone; nothing of its code runs any more."""


class Fate:
    """Counts the moments before and after every step, and kills at one of them."""

    def __init__(self, kill_at: int | None) -> None:
        self.moments = 0
        self._kill_at = kill_at

    def moment(self) -> None:
        self.moments += 1
        if self.moments == self._kill_at:
            raise Killed


class Mortal:
    """Whatever the executor talks to, with a moment before and after each call."""

    def __init__(self, target: Any, fate: Fate) -> None:
        self._target = target
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        method, fate = getattr(self._target, name), self._fate

        def call(*arguments: Any, **named: Any) -> Any:
            fate.moment()
            answer = method(*arguments, **named)
            if hasattr(answer, "__await__"):
                return self._awaited(answer)
            fate.moment()
            return answer

        return call

    async def _awaited(self, answer: Any) -> Any:
        found = await answer
        self._fate.moment()
        return found


async def _live(around: Surroundings, folder: Path, command: DepositCommand, kill_at: int | None) -> int:
    """One life of the executor: what was left over, then the command as the topic delivers it. Its moments, or -1."""
    fate = Fate(kill_at)
    store = Store(folder)
    memory = Mortal(store, fate)
    publish = Mortal(around, fate).publish
    carrier = around.carrier(memory, chain=Mortal(around.client(), fate), publish=publish)
    try:
        for left_over in memory.unreported():
            await carrier.carry_out(left_over.command_id)
        memory.accept(command.command_id, command.account_id, deposit_command.encode(command))
        await carrier.carry_out(command.command_id)
    except Killed:
        return -1
    finally:
        store.close()
    return fate.moments


def _assert_one_deposit(around: Surroundings, wallet: int) -> None:
    account_id = around.account_id(wallet)
    results = {content for account, content in around.published if account == account_id}
    assert around.deposits(wallet) == [10 * UNIT]
    assert len(results) == 1


@asynccontextmanager
async def _world(tmp_path: Path, wallets: int) -> AsyncIterator[Surroundings]:
    async with surroundings(tmp_path, wallets=wallets) as around:
        yield around


async def test_a_kill_at_any_step_leaves_one_deposit_and_one_result(tmp_path: Path) -> None:
    """Killed before and after each step of a command, then started again: one deposit, and one result however often."""
    async with _world(tmp_path, 60) as around:
        moments = await _live(around, tmp_path / "whole", around.command(wallet=0), None)
        assert moments > 15
        for kill_at in range(1, moments + 1):
            command = around.command(wallet=kill_at)
            folder = tmp_path / str(kill_at)
            assert await _live(around, folder, command, kill_at) == -1
            await _live(around, folder, command, None)
            _assert_one_deposit(around, kill_at)


async def test_kills_of_the_restarted_one_change_nothing(tmp_path: Path) -> None:
    """Killed, started again, killed again at another step, three times over: still one deposit and one result."""
    rng = random.Random(11)  # noqa: S311 - which steps, not a secret
    async with _world(tmp_path, PAIRS) as around:
        for wallet in range(PAIRS):
            command, folder = around.command(wallet=wallet), tmp_path / str(wallet)
            for _ in range(3):
                await _live(around, folder, command, rng.randint(1, 20))
            await _live(around, folder, command, None)
            _assert_one_deposit(around, wallet)


async def test_a_kill_never_lets_two_commands_take_the_same_money(tmp_path: Path) -> None:
    """Two commands of one wallet that together exceed its balance: with kills anywhere, only the first is deposited."""
    async with _world(tmp_path, 30) as around:
        for wallet in range(30):
            folder = tmp_path / str(wallet)
            first = around.command(wallet=wallet, amount_stroops=Stroops(60 * UNIT))
            second = around.command(wallet=wallet, amount_stroops=Stroops(60 * UNIT))
            await _live(around, folder, first, 1 + wallet % 20)
            await _live(around, folder, first, None)
            await _live(around, folder, second, 1 + wallet % 13)
            await _live(around, folder, second, None)
            assert around.deposits(wallet) == [60 * UNIT]


@pytest.mark.parametrize("kill_at", [4, 9, 12])
async def test_a_long_death_past_the_time_bound_is_settled_rightly(tmp_path: Path, kill_at: int) -> None:
    """An executor that comes back after expires_at reports what the chain holds: the deposit, or a certain failure."""
    async with _world(tmp_path, 1) as around:
        command = around.command(wallet=0)
        assert await _live(around, tmp_path / "store", command, kill_at) == -1
        around.clock.advance(400)
        await _live(around, tmp_path / "store", command, None)
        (content,) = {content for _, content in around.published}
        succeeded = b'"succeeded"' in content
        assert around.deposits() == ([10 * UNIT] if succeeded else [])


async def test_a_failure_that_was_told_stays_a_failure(tmp_path: Path) -> None:
    """A command that failed for want of money stays failed when money comes while the executor is dead."""
    async with _world(tmp_path, 40) as around:
        for wallet in range(40):
            command = around.command(wallet=wallet, units=150)
            folder = tmp_path / str(wallet)
            alive = await _live(around, folder, command, 1 + wallet) > 0
            told = list(around.published)
            world.pay(around.horizon.chain, around.horizon.people, around.account_id(wallet), 100 * UNIT)
            await ledgers_later(around.horizon)
            await _live(around, folder, command, None)
            account_id = around.account_id(wallet)
            results = {content for account, content in around.published if account == account_id}
            assert len(results) == 1
            failed = b'"insufficient_balance"' in results.pop()
            assert around.deposits(wallet) == ([] if failed else [150 * UNIT])
            assert failed or not (alive or any(account == account_id for account, _ in told))
