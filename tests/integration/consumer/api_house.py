"""The API in this process, over a fresh database, with the real consumer's store and the real producers' beside it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from aiohttp import ClientSession
from yarl import URL

from consumer.api import metrics
from consumer.api.app import PATH, Api
from consumer.api.cors import Origins
from consumer.api.keys import KeyRing
from consumer.api.rates import Rates
from consumer.api.service import manners, opened
from consumer.api.settings import ApiSettings
from consumer.api.store import ApiStore
from consumer.api.tokens import Rules
from consumer.api.waiting import Waiting
from consumer.wallet import Policy
from producers import answers
from producers.store import Store as ProducersStore
from schema.balance_event import BalanceEvent
from schema.service.http_connection import Manners
from schema.service.readiness import Readiness
from schema.stellar import Network
from tests.people import Person
from tests.signing import ISSUER, SECRET, claims, jwk, jwks, token
from tests.unit.consumer.worlds import POLICY, USDC
from tests.waiting import until

APP = "https://app.example.org"
MANNERS = replace(
    manners(
        ApiSettings.model_validate(
            {
                "database_url": "postgresql://nobody@127.0.0.1/none",
                "stellar_network": "testnet",
                "asset_issuer": USDC.issuer,
                "auth_jwt_secret": SECRET,
            }
        )
    ),
    stop_within_s=0.2,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer, whole."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass(slots=True, kw_only=True)
class ApiHouse:
    """The API, and ways to ask it."""

    address: URL
    api: Api
    http: ClientSession
    connection: asyncpg.Connection
    producers: ProducersStore
    stop: Callable[[], Awaitable[None]]  # as a signal does

    @property
    def url(self) -> str:
        return str(self.address)

    @property
    def connections(self) -> float:
        """How many are open."""
        return metrics.REGISTRY.get_sample_value("consumer_api_connections") or 0

    async def ask(
        self, method: str, path: str = "", *, person: Person | None = None, headers: Mapping[str, str] | None = None
    ) -> Said:
        """Ask in a person's name, or in nobody's."""
        sent = dict(headers or {})
        if person is not None:
            sent["Authorization"] = f"Bearer {token(claims(person.user_id))}"
        url = path if path.startswith("http") else f"{self.url}{path if path.startswith('/api') else PATH + path}"
        async with self.http.request(method, url, headers=sent) as response:
            is_json = response.content_type.endswith("json")
            body = await response.json(content_type=None) if is_json else await response.text()
            return Said(status=response.status, headers=response.headers, body=body)

    async def look(self, person: Person) -> Any:
        """What GET says."""
        said = await self.ask("GET", person=person)
        assert said.status == 200, said.body
        return said.body

    async def read(self, person: Person, wait: str = "") -> Said:
        """What POST says."""
        return await self.ask("POST", f"?wait={wait}" if wait else "", person=person)

    async def open_request(self, person: Person) -> UUID:
        """The request that the person made, once it is there."""
        query = "select id from read_requests where wallet_id = $1 and done_at is null"
        found: UUID = await until(lambda: self.connection.fetchval(query, person.wallet_id), "a request")
        return found

    async def tell(self, request_id: UUID, event: BalanceEvent) -> None:
        """Answer a request as a producer does that was acked."""
        await self.producers.finish_requests({request_id: answers.told(event)})

    async def refuse(self, request_id: UUID, reason: str) -> None:
        await self.producers.finish_requests({request_id: answers.refused(reason)})


@asynccontextmanager
async def api_house(
    database_url: str,
    connection: asyncpg.Connection,
    *,
    policy: Policy = POLICY,
    reads_per_minute: int = 100,
    requests_per_minute: int = 10_000,
    at_once_max: int = 100,
    manners: Manners = MANNERS,
    **changed: Any,
) -> AsyncIterator[ApiHouse]:
    """The API for the length of the block; its tasks' failures are the block's."""
    readiness = Readiness()
    default = replace(policy, **changed)
    store = await ApiStore.open(database_url, network=Network.TESTNET, asset=USDC, default_policy=default)
    await store.check_tables()
    waiting = Waiting(store, url=database_url, readiness=readiness)
    keys = KeyRing(_published, secret=None, readiness=readiness)
    await keys.look()
    api = Api(
        store=store,
        waiting=waiting,
        keys=keys,
        rules=Rules(audience="authenticated", issuer=ISSUER),
        rates=Rates(per_minute=requests_per_minute, at_once_max=at_once_max),
        reads_per_minute=reads_per_minute,
        origins=Origins(frozenset({APP})),
    )
    producers = await ProducersStore.open(database_url)
    tasks = [asyncio.create_task(each) for each in (waiting.listen(), waiting.look())]
    try:
        async with contextlib.AsyncExitStack() as door, ClientSession() as http:
            address = await door.enter_async_context(opened(api, manners, host="127.0.0.1", port=0))

            async def stop() -> None:
                waiting.end()
                await door.aclose()

            try:
                yield ApiHouse(
                    address=address, api=api, http=http, connection=connection, producers=producers, stop=stop
                )
            finally:
                waiting.end()
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await producers.close()
        store.close()


async def _published() -> bytes:
    return jwks(jwk("ES256", "a"))


async def add_person_without_wallet(connection: asyncpg.Connection) -> UUID:
    """Somebody who has signed up and no more."""
    user_id = uuid4()
    await connection.execute("insert into auth.users (id) values ($1)", user_id)
    return user_id
