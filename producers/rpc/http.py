"""Calls to Stellar RPC: JSON-RPC 2.0 over HTTP. How often and how long it is asked is in asking.py, what in source.py.

That the question is wrong (`Refused`) is said at once: asking again would not help.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson

from producers import asking, horizon_wire
from producers.asking import Asking
from producers.budget import Budget
from producers.rpc import wire as rpc_wire
from producers.rpc.wire import Refused
from producers.source import making_sense
from schema.service.readiness import Readiness


class RpcHttp(Asking):
    """One Stellar RPC, asked."""

    part = "rpc"
    final = (Refused,)

    def __init__(self, session: aiohttp.ClientSession, url: str, *, budget: Budget, readiness: Readiness) -> None:
        super().__init__(session, url, budget=budget, readiness=readiness)
        self._numbers = itertools.count(1)

    async def call(self, method: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What the method answers. Refused when RPC does not take the question, Unavailable when it does not answer."""
        return await self._answered(lambda: self._ask(method, parameters))

    async def _ask(self, method: str, parameters: Mapping[str, Any] | None) -> dict[str, Any]:
        number = next(self._numbers)
        question: dict[str, Any] = {"jsonrpc": "2.0", "id": number, "method": method}
        if parameters is not None:
            question["params"] = parameters
        reply = await self._send(
            method, "POST", self.url, data=orjson.dumps(question), headers={"Content-Type": "application/json"}
        )
        if reply.status != asking.OK:
            self._fail(method, reply, rpc_wire.http_problem(reply.body))
        with making_sense(method):
            return rpc_wire.result(horizon_wire.parse(reply.body), number=number, method=method)
