"""The two services that strangers may reach, behind one interface: the door of each has the same properties."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import asyncpg

from consumer.api import metrics as api_metrics
from consumer.api.app import PATH as API_PATH
from consumer.api.service import BODY_BYTES_MAX
from sandbox.horizon_faults import Fault
from tests.integration.consumer.api_house import MANNERS, api_house
from tests.integration.producers.scene import Scene
from tests.integration.producers.webhook_scene import door
from tests.people import account_id, add_person
from tests.signing import claims, token
from tests.webhook_senders import PATH as WEBHOOK_PATH
from tests.webhook_senders import naming, request, signed

HOST = "127.0.0.1"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
WEBHOOK_BODY_BYTES_MAX = 2_048
LATE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Doorway:
    """A service that is open, and what is said to it."""

    name: str
    port: int
    path: str
    method: str
    other_method: str  # which its page does not take
    body_bytes_max: int
    codes: dict[int, str]  # of the door's own problems, by status
    good: Callable[..., bytes]  # a request that proves itself, with so many bytes of body and these headers: 200
    unproven: bytes  # a whole one: 401
    held: Callable[[], bytes]  # one that stays in hand for a while, or until `release`
    in_hand: Callable[[], float]
    release: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[None]]  # as a signal does
    count: Callable[..., float]  # a metric without its prefix, with these labels

    @asynccontextmanager
    async def connected(self, count: int = 1, *, local: str = HOST) -> AsyncIterator[list[Streams]]:
        """So many connections from this address, to send what one likes; aborted at the end."""
        made = [await asyncio.open_connection(HOST, self.port, local_addr=(local, 0)) for _ in range(count)]
        try:
            yield made
        finally:
            for _, writer in made:
                writer.transport.abort()
            for _, writer in made:
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def say(self, *parts: bytes, pause_s: float = 0.0) -> bytes:
        """Everything that is answered to these bytes until we hang up."""
        async with self.connected() as [(reader, writer)], asyncio.timeout(LATE_S):
            for part in parts:
                writer.write(part)
                await asyncio.sleep(pause_s)
            return await reader.read()

    def connections(self) -> float:
        """How many are open."""
        return self.count("connections")

    def refusals(self) -> float:
        """How many were answered that nothing proves who asked."""
        if self.name == "api":
            return self.count("requests_total", route=self.path, code="401")
        return self.count("requests_total", outcome="unauthorized")

    def bugs(self) -> float:
        """How many were answered as a bug of ours."""
        if self.name == "api":
            return self.count("requests_total", route="none", code="500")
        return self.count("requests_total", outcome="bug")

    def cut(self, why: str) -> float:
        """How many we ended for this reason."""
        return self.count("connections_cut_total", cut=why)


def status_of(said: bytes) -> int:
    """The first status in what was answered."""
    return int(said.split(b" ", 2)[1])


OpenDoor = Callable[..., AbstractAsyncContextManager[Doorway]]


def api_of(database_url: str, connection: asyncpg.Connection) -> OpenDoor:
    """The API's door, with other manners than usual."""

    @asynccontextmanager
    async def opened(**changed: Any) -> AsyncIterator[Doorway]:
        person = await add_person(connection)
        bearer = {"authorization": f"Bearer {token(claims(person.user_id))}"}
        began = {
            (each.name, *each.labels.values()): each.value
            for metric in api_metrics.REGISTRY.collect()
            for each in metric.samples
            if each.name.endswith("_total")
        }

        def count(name: str, **labels: str) -> float:
            return _api_value(name, **labels) - began.get((f"consumer_api_{name}", *labels.values()), 0)

        async with api_house(database_url, connection, manners=replace(MANNERS, **changed)) as house:

            async def release() -> None:
                await house.refuse(await house.open_request(person), "let go")

            yield Doorway(
                name="api",
                port=house.address.port or 0,
                path=API_PATH,
                method="GET",
                other_method="DELETE",
                body_bytes_max=BODY_BYTES_MAX,
                codes={400: "bad_request", 408: "request_timeout", 413: "body_too_large", 417: "expectation_failed"},
                good=lambda size=0, **headers: _api("GET", b"x" * size, bearer | headers),
                unproven=_api("GET", b"", {}),
                held=lambda: request(b"", bearer, method="POST", path=f"{API_PATH}?wait=30"),
                in_hand=lambda: _api_value("waiting"),
                release=release,
                stop=house.stop,
                count=count,
            )

    return opened


def webhooks_of(scene: Scene) -> OpenDoor:
    """The webhooks' door, with other manners than usual."""
    names = {
        "per_address_max": "webhook_connections_per_address_max",
        "trusted": "webhook_trusted_proxies",
        "stop_within_s": "webhook_answer_within_s",
    }

    @asynccontextmanager
    async def opened(**changed: Any) -> AsyncIterator[Doorway]:
        values = {names.get(name, f"webhook_{name}"): value for name, value in changed.items()}
        many = {"webhook_requests_per_address_per_s": 1_000_000, "webhook_requests_per_s": 1_000_000}
        if not await scene.connection.fetchval("select count(*) from public.stellar_wallets"):
            await scene.add_wallet(0)
        scene.horizon.faults.add(Fault(path_prefix=f"/accounts/{scene.account(0)}", delay_s=1.0, times=3))
        values = {"webhook_body_bytes_max": WEBHOOK_BODY_BYTES_MAX} | many | values
        async with door(scene, **values) as running:

            async def stop() -> None:
                running.task.cancel()
                await asyncio.wait([running.task])

            def count(name: str, **labels: str) -> float:
                said = ",".join(f'{label}="{value}"' for label, value in labels.items())
                return running.count(f"producers_webhook_{name}" + (f"{{{said}}}" if said else ""))

            def good(size: int = 0, **headers: str) -> bytes:
                body = naming(account_id("a stranger")).ljust(size)
                return request(body, signed(body) | headers)

            held = naming(scene.account(0))
            yield Doorway(
                name="webhooks",
                port=running.port,
                path=WEBHOOK_PATH,
                method="POST",
                other_method="GET",
                body_bytes_max=WEBHOOK_BODY_BYTES_MAX,
                codes={400: "bad_http", 408: "too_slow", 413: "too_large", 417: "bad_expect"},
                good=good,
                unproven=request(b"{}", {"content-type": "application/json"}),
                held=lambda: request(held, signed(held, webhook_id=f"msg_{uuid4().hex}")),
                in_hand=lambda: running.count("producers_webhook_hints_total"),
                release=_by_itself,
                stop=stop,
                count=count,
            )

    return opened


def _api(method: str, body: bytes, headers: dict[str, str]) -> bytes:
    return request(body, headers, method=method, path=API_PATH)


def _api_value(name: str, **labels: str) -> float:
    return api_metrics.REGISTRY.get_sample_value(f"consumer_api_{name}", labels) or 0.0


async def _by_itself() -> None:
    """The wallet's read is slow, and comes to its end."""
