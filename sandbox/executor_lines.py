"""One line of work per wallet: its commands in order, different wallets at the same time, up to a bound."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from uuid import UUID

from schema.stellar import AccountId

CarryOut = Callable[[UUID], Awaitable[object]]


class Lines:
    """Add commands; each is carried out after those added before it for the same wallet. An error ends the group."""

    def __init__(self, tasks: asyncio.TaskGroup, carry_out: CarryOut, *, wallets_at_once: int) -> None:
        self._tasks = tasks
        self._carry_out = carry_out
        self._places = asyncio.Semaphore(wallets_at_once)
        self._waiting: dict[AccountId, deque[UUID]] = {}

    def add(self, account_id: AccountId, command_id: UUID) -> None:
        """Put a command at the end of its wallet's line."""
        line = self._waiting.get(account_id)
        if line is not None:
            line.append(command_id)
            return
        self._waiting[account_id] = deque((command_id,))
        self._tasks.create_task(self._work_off(account_id))

    @property
    def commands_waiting(self) -> int:
        """How many are not done, those at work among them."""
        return sum(len(line) for line in self._waiting.values())

    async def _work_off(self, account_id: AccountId) -> None:
        line = self._waiting[account_id]
        while line:
            async with self._places:
                await self._carry_out(line[0])
            line.popleft()
        del self._waiting[account_id]
