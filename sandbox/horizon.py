"""A Horizon with the true wire format over the simulated chain: in this process, or as `python -m sandbox.horizon`."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from types import TracebackType
from typing import Self

from aiohttp import web

from sandbox import rpc
from sandbox.chain import Chain
from sandbox.chain_history import LedgerHeader
from sandbox.horizon_control import Control
from sandbox.horizon_faults import Fault, Faults
from sandbox.horizon_instance import Instance, Options, now
from sandbox.horizon_problems import CONTENT_TYPE, Problem, not_found, rate_limit_exceeded
from sandbox.horizon_submit import Submissions
from sandbox.horizon_views import FAULT, Views, check_acceptable
from sandbox.traffic import Traffic
from sandbox.world import Cast

CONTROL_PREFIX = "/sandbox/"
BODY_BYTES_MAX = 64 * 1024 * 1024  # recorded pages come through the control address
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Horizon:
    """The server. `async with Horizon(chain, people) as horizon:` serves until the block ends."""

    def __init__(  # noqa: PLR0913 - what a server is made of
        self,
        chain: Chain,
        people: Cast,
        *,
        options: Options | None = None,
        traffic: Traffic | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self.chain = chain
        self.people = people
        self._instance = Instance(chain, options or Options(), clock=clock)
        self.traffic = traffic or Traffic(people, seed=chain.seed)
        self._host, self._port = host, port
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        """Where it is served."""
        return self._instance.base_url

    @property
    def stream_ledger(self) -> int:
        """The newest ledger that streams have been told of."""
        return self._instance.stream_ledger

    @property
    def faults(self) -> Faults:
        """Add troubles here."""
        return self._instance.faults

    def close_ledger(self) -> LedgerHeader:
        """Close the next ledger now; streams and submissions hear of it."""
        return self._instance.close_ledger()

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._middleware], client_max_size=BODY_BYTES_MAX)
        app.add_routes(Views(self._instance).routes())
        app.add_routes(Submissions(self._instance).routes())
        app.add_routes(rpc.Rpc(self._instance).routes())
        app.add_routes(Control(self._instance, self.people, self.traffic).routes())
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        self._instance.base_url = "http://{}:{}".format(*self._runner.addresses[0][:2])
        self._tasks.append(asyncio.create_task(self._instance.look_for_ledgers()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    def close_every(self, seconds: float) -> None:
        """Close a ledger at this interval from now on, with the payments that the traffic owes for the time."""

        async def run() -> None:
            loop = asyncio.get_running_loop()
            next_at = loop.time()
            while True:
                next_at = max(next_at + seconds, loop.time())
                await asyncio.sleep(next_at - loop.time())
                for action in self.traffic.owed(seconds):
                    self.chain.enqueue(*action.operations, source=action.source)
                self.close_ledger()

        self._tasks.append(asyncio.create_task(run()))

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith(CONTROL_PREFIX):
            request[FAULT] = None
            return await handler(request)
        is_stream = "text/event-stream" in request.headers.get("Accept", "")
        path = await rpc.fault_path(request)
        fault = request[FAULT] = self._instance.faults.take(request.method, path, is_stream=is_stream)
        if fault is not None and fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault is not None and fault.status and not fault.after_effect:
            return _instead(fault)
        retry_after_s = self._instance.budget.take()
        try:
            if retry_after_s:
                raise rate_limit_exceeded(retry_after_s=retry_after_s)
            check_acceptable(request)
            response = await handler(request)
        except Problem as problem:
            headers = {"Content-Type": CONTENT_TYPE, **problem.headers}
            response = web.Response(status=problem.status, body=problem.body, headers=headers)
        except web.HTTPException:
            response = web.Response(status=404, body=not_found().body, headers={"Content-Type": CONTENT_TYPE})
        if response.prepared:
            return response
        response.headers.update(self._instance.budget.headers())
        return response if fault is None else await _spoilt(request, response, fault)


async def _spoilt(request: web.Request, response: web.StreamResponse, fault: Fault) -> web.StreamResponse:
    """The answer as the fault lets it through."""
    if fault.after_effect:
        return _instead(fault)
    if isinstance(response, web.Response):
        if fault.cut_after_bytes is not None:
            return await _cut(request, response, fault.cut_after_bytes, chunked=fault.chunked)
        if fault.byte_s:
            return await _drip(request, response, fault.byte_s)
    return response


def _instead(fault: Fault) -> web.Response:
    return web.Response(status=fault.status, body=fault.body, headers={"Content-Type": CONTENT_TYPE, **fault.headers})


async def _cut(request: web.Request, whole: web.Response, bytes_sent: int, *, chunked: bool) -> web.StreamResponse:
    """Announce the whole body, or no length, send a part of it, and hang up."""
    body, response = _begin(whole)
    if not chunked:
        response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[:bytes_sent])
    if request.transport is not None:
        request.transport.close()
    return response


async def _drip(request: web.Request, whole: web.Response, byte_s: float) -> web.StreamResponse:
    """Send the body byte by byte."""
    body, response = _begin(whole)
    response.content_length = len(body)
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):  # the client has had enough
        for byte in body:
            await response.write(bytes([byte]))
            await asyncio.sleep(byte_s)
    return response


def _begin(whole: web.Response) -> tuple[bytes, web.StreamResponse]:
    body = whole.body if isinstance(whole.body, bytes) else b""
    headers = {name: value for name, value in whole.headers.items() if name != "Content-Length"}
    return body, web.StreamResponse(status=whole.status, headers=headers)


if __name__ == "__main__":
    from sandbox.horizon_process import main

    main()
