"""The executor's lines: one wallet's commands in order, different wallets side by side, up to a bound."""

import asyncio
from collections import defaultdict
from pathlib import Path
from uuid import UUID

import orjson
import pytest

from sandbox.executor_lines import Lines
from sandbox.executor_signing import SecretsFile
from schema.stellar import AccountId

FIRST, SECOND = AccountId("first"), AccountId("second")


def _id(number: int) -> UUID:
    return UUID(int=number)


async def test_one_wallet_in_order_different_wallets_at_once() -> None:
    """A wallet's next command waits for the one before it; another wallet's does not."""
    gates: dict[UUID, asyncio.Event] = defaultdict(asyncio.Event)
    begun: list[int] = []

    async def carry_out(command_id: UUID) -> None:
        begun.append(command_id.int)
        await gates[command_id].wait()

    async with asyncio.TaskGroup() as tasks:
        lines = Lines(tasks, carry_out, wallets_at_once=8)
        for account_id, number in ((FIRST, 1), (FIRST, 2), (SECOND, 3), (FIRST, 4)):
            lines.add(account_id, _id(number))
        for number, expected in ((1, [1, 3, 2]), (2, [1, 3, 2, 4])):
            await asyncio.sleep(0)
            gates[_id(number)].set()
            for _ in range(5):
                await asyncio.sleep(0)
            assert begun == expected
        assert lines.commands_waiting == 2
        gates[_id(3)].set()
        gates[_id(4)].set()
    assert lines.commands_waiting == 0


async def test_never_more_wallets_at_work_than_allowed() -> None:
    """The bound holds whatever is added."""
    at_work = most = 0

    async def carry_out(_command_id: UUID) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0)
        at_work -= 1

    async with asyncio.TaskGroup() as tasks:
        lines = Lines(tasks, carry_out, wallets_at_once=3)
        for number in range(60):
            lines.add(AccountId(str(number % 20)), _id(number))
    assert most == 3


async def test_an_error_ends_the_group() -> None:
    """A bug in carrying out is not swallowed."""

    async def carry_out(_command_id: UUID) -> None:
        raise AssertionError("a bug")

    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as tasks:
            Lines(tasks, carry_out, wallets_at_once=1).add(FIRST, _id(1))


def test_a_wallet_added_to_the_secrets_later_is_found(tmp_path: Path) -> None:
    """The file is read again when an unknown account is asked for."""
    path = tmp_path / "secrets.json"
    path.write_bytes(orjson.dumps([]))
    secret_of = SecretsFile(path)
    assert secret_of(FIRST) is None
    path.write_bytes(orjson.dumps([{"account_id": FIRST, "secret": "S1"}]))
    assert secret_of(FIRST) == "S1"
