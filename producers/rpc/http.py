"""Calls to Stellar RPC: JSON-RPC 2.0 over HTTP: deadlines, limits, budget, attempts. What is asked is in source.py.

Every call has a deadline, a limit on its body, a place in the budget, and a few jittered attempts; what still fails is
Unavailable. That the question is wrong (`Refused`) is said at once: asking again would not help. The address may carry
a key, and is never part of a message.
"""

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import orjson
import stamina

from producers import horizon_wire
from producers.budget import Budget
from producers.horizon_http import (
    ATTEMPTS_MAX,
    BODY_BYTES_MAX,
    LEDGERS_AHEAD_MAX,
    PATIENCE_S,
    PAUSE_S,
    REASON_CHARACTERS_MAX,
    RETRY_JITTER_S,
    RETRY_WAIT_S_MAX,
)
from producers.rpc import wire as rpc_wire
from producers.rpc.wire import Refused
from producers.source import Unavailable
from schema.service.readiness import Readiness
from schema.stellar import Ledger, Malformed

PART: Final = "rpc"  # on the readiness page
_OK: Final = 200
_TOO_MANY: Final = 429


class RpcHttp:
    """One Stellar RPC, asked. `newest` is the newest ledger that any answer told of; 0: nobody asked yet."""

    def __init__(self, session: aiohttp.ClientSession, url: str, *, budget: Budget, readiness: Readiness) -> None:
        self.newest = Ledger(0)
        self._session = session
        self._url = url
        self._budget = budget
        self._readiness = readiness
        self._numbers = itertools.count(1)

    async def call(self, method: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What the method answers. Refused when RPC does not take the question, Unavailable when it does not answer."""
        began_s = _now_s()
        try:
            async for attempt in stamina.retry_context(
                on=_is_worth_another,
                attempts=ATTEMPTS_MAX,
                timeout=None,
                wait_initial=0.1,
                wait_max=RETRY_WAIT_S_MAX,
                wait_jitter=RETRY_JITTER_S,
            ):
                with attempt:
                    try:
                        answer = await self._ask(method, parameters)
                    except Unavailable as unavailable:
                        if _now_s() - began_s >= PATIENCE_S:
                            self._readiness.down(PART, str(unavailable))
                        raise
        except Refused:
            self._readiness.up(PART)  # it answers
            raise
        except Unavailable as unavailable:
            self._readiness.down(PART, str(unavailable))
            raise
        self._readiness.up(PART)
        return answer

    async def _ask(self, method: str, parameters: Mapping[str, Any] | None) -> dict[str, Any]:
        await self._budget.admit()
        number = next(self._numbers)
        question: dict[str, Any] = {"jsonrpc": "2.0", "id": number, "method": method}
        if parameters is not None:
            question["params"] = parameters
        try:
            async with self._session.post(
                self._url, data=orjson.dumps(question), headers={"Content-Type": "application/json"}
            ) as response:
                body = await _read(method, response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{method}: {type(error).__name__}: {self._without_address(error)}") from error
        if response.status != _OK:
            reason = f"{method}: {response.status} {rpc_wire.http_problem(body)}"
            if response.status == _TOO_MANY:
                pause_s = horizon_wire.retry_after_s(response.headers)
                self._budget.pause(PAUSE_S if pause_s is None else pause_s)
                self._readiness.down(PART, reason)  # until the pause is over, and somebody was let through
            raise Unavailable(reason)
        try:
            return rpc_wire.result(horizon_wire.parse(body), number=number, method=method)
        except Malformed as malformed:
            raise Unavailable(f"{method}: {malformed}") from malformed

    def check_newest(self, method: str, ledger: Ledger) -> None:
        """Unavailable when this ledger cannot be of the network that was asked so far."""
        if self.newest and ledger > self.newest + LEDGERS_AHEAD_MAX:
            raise Unavailable(
                f"{method}: ledger {ledger}, and the newest was {self.newest}: another network's replica?"
            )
        self.newest = max(self.newest, ledger)

    def _without_address(self, error: BaseException) -> str:
        return str(error).replace(self._url, "RPC_URL")[:REASON_CHARACTERS_MAX]


def _is_worth_another(error: Exception) -> bool:
    return isinstance(error, Unavailable) and not isinstance(error, Refused)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


async def _read(method: str, response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise Unavailable(f"{method}: more than {BODY_BYTES_MAX} bytes")
    return bytes(body)
