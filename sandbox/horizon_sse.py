"""Server-sent events, byte for byte as Horizon writes them."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from aiohttp import web

from sandbox.horizon_faults import Fault
from sandbox.horizon_instance import Instance
from sandbox.horizon_pages import PageQuery
from sandbox.horizon_problems import Problem, rate_limit_exceeded

HELLO: Final = b'retry: 1000\nevent: open\ndata: "hello"\n\n'
BYEBYE: Final = b'retry: 10\nevent: close\ndata: "byebye"\n\n'
GREET_S: Final = 0.2
HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "Access-Control-Allow-Origin": "*",
}

Fetch = Callable[[PageQuery], list[tuple[str, bytes]]]  # the records after the cursor, each with its paging token


def record_event(token: str, record: bytes) -> bytes:
    """A record: its paging token is the event's id, and there is no event line."""
    return b"id: %b\ndata: %b\n\n" % (token.encode(), record)


def error_event(text: str) -> bytes:
    """What ends a stream early: text, not JSON, and no byebye after it."""
    return f"event: error\ndata: {text}\n\n".encode()


async def serve(
    request: web.Request, instance: Instance, query: PageQuery, fetch: Fetch, fault: Fault | None
) -> web.StreamResponse:
    """Send what is there, then what each new ledger brings, until `limit` records or the time is up."""
    seen = instance.stream_ledger
    events = fetch(query)  # an error before the first byte is an ordinary answer
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    wire = _Wire(request, response, fault)
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + instance.options.stream_s
    try:
        await wire.send(HELLO)
        if fault is not None and fault.stream:
            await _idle(wire, fault, ends_at)
            return response
        sent = 0
        while True:
            await wire.send(b"".join(record_event(token, record) for token, record in events))
            sent += len(events)
            if events:
                query = replace(query, cursor=events[-1][0])
            if sent >= query.limit:
                break
            seen = await instance.next_ledger(seen, timeout_s=ends_at - loop.time())
            text = _trouble(instance, fault)
            if text:
                await wire.send(error_event(text))
                return response
            events = fetch(query)[: query.limit - sent]
        await wire.send(BYEBYE)
    except TimeoutError:
        await wire.send(BYEBYE)
    except Problem as problem:
        await wire.send(error_event(problem.stream_text))
    except ConnectionError:
        pass  # the client went away, or a fault cut the line
    return response


async def _idle(wire: "_Wire", fault: Fault, ends_at: float) -> None:
    """A stream that tells of no payment."""
    loop = asyncio.get_running_loop()
    while fault.stream != "close" and loop.time() < ends_at:
        await asyncio.sleep(GREET_S)
        if fault.stream == "greet":
            await wire.send(HELLO)
    await wire.send(BYEBYE)


def _trouble(instance: Instance, fault: Fault | None) -> str:
    """Why the stream ends now, if it does. Each new ledger costs a request of the budget."""
    if fault is not None and fault.stream_error:
        return fault.stream_error
    retry_after_s = instance.budget.take()
    return rate_limit_exceeded(retry_after_s=retry_after_s).stream_text if retry_after_s else ""


class _Wire:
    """The connection, which a fault may cut after some bytes."""

    def __init__(self, request: web.Request, response: web.StreamResponse, fault: Fault | None) -> None:
        self._request = request
        self._response = response
        self._bytes_left = fault.cut_after_bytes if fault else None

    async def send(self, chunk: bytes) -> None:
        if not chunk:
            return
        if self._bytes_left is None:
            await self._response.write(chunk)
            return
        await self._response.write(chunk[: self._bytes_left])
        self._bytes_left -= len(chunk)
        if self._bytes_left <= 0:
            if self._request.transport is not None:
                self._request.transport.close()
            raise ConnectionResetError("cut on purpose")
