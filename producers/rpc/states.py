"""Many reads of one wallet each, made few calls: RPC reads up to 200 trustlines in one.

A read waits a moment for others to come, and is sent with them. While a call is out the next one fills. One that hangs
does not hold up the others: a few may be out at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from producers.source import State
from schema.stellar import AccountId, Asset, Malformed

KEYS_MAX: Final = 200  # RPC's own limit
CALLS_AT_ONCE: Final = 4
GATHER_S: Final = 0.01

ReadMany = Callable[[Sequence[AccountId], Asset], Awaitable[Mapping[AccountId, State | Malformed]]]
_Waiting = dict[AccountId, list[asyncio.Future[State]]]


class RpcStates:
    """Gathers single reads."""

    def __init__(self, read_many: ReadMany) -> None:
        self._read_many = read_many
        self._waiting: dict[Asset, _Waiting] = {}
        self._is_gathering = False
        self._calling: dict[asyncio.Task[None], _Waiting] = {}

    async def read(self, account_id: AccountId, asset: Asset) -> State:
        """One wallet's state, read from now on. Unavailable when the call failed, Malformed when this wallet's entry
        makes no sense.
        """
        future: asyncio.Future[State] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(asset, {}).setdefault(account_id, []).append(future)
        self._send()
        return await future

    def _send(self) -> None:
        if self._waiting and not self._is_gathering and len(self._calling) < CALLS_AT_ONCE:
            self._is_gathering = True
            taken: _Waiting = {}
            task = asyncio.create_task(self._call(taken))
            self._calling[task] = taken
            task.add_done_callback(self._end)

    async def _call(self, taken: _Waiting) -> None:
        await asyncio.sleep(GATHER_S)
        asset, accounts = next(iter(self._waiting.items()))
        for account_id in list(accounts)[:KEYS_MAX]:
            taken[account_id] = accounts.pop(account_id)
        if not accounts:
            del self._waiting[asset]
        self._is_gathering = False
        self._send()  # what did not fit
        found = await self._read_many(list(taken), asset)
        for account_id, futures in taken.items():
            _tell(futures, found[account_id])

    def _end(self, task: asyncio.Task[None]) -> None:
        taken = self._calling.pop(task)
        failure = asyncio.CancelledError() if task.cancelled() else task.exception()
        if failure is not None:
            for futures in taken.values():
                _tell(futures, failure)
        if not task.cancelled():
            self._send()


def _tell(futures: Sequence[asyncio.Future[State]], found: State | BaseException) -> None:
    for future in futures:
        if future.done():
            continue  # whoever waited has gone
        if isinstance(found, State):
            future.set_result(found)
        elif isinstance(found, asyncio.CancelledError):
            future.cancel()
        else:
            future.set_exception(found)
