"""`python -m consumer api` as a process, beside a stream and a consumer: from a request to what was decided."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from consumer.api.app import PATH
from sandbox.children import Child
from tests.acceptance.test_stream import environment, exit_code
from tests.fixtures_brokers import Broker
from tests.integration.producers.conftest import scene as scene  # noqa: PLC0414 - the same world
from tests.integration.producers.scene import Scene
from tests.signing import SECRET, claims, jwk, jwks, token
from tests.waiting import until

TOPICS = ("DEPOSIT_COMMANDS_TOPIC", "DEPOSIT_RESULTS_TOPIC", "DEAD_LETTERS_TOPIC")
POLICY = {"AUTO_DEPOSIT_ENABLED": "true", "AUTO_DEPOSIT_MIN_DEPOSIT": "10", "AUTO_DEPOSIT_DEPOSIT_EXISTING": "true"}


def said_at(child: Child, event: str) -> str:
    """The address that a program says in its log, with this event; empty as long as it has not."""
    log = child.log.read_bytes() if child.log.exists() else b""
    found = re.findall(rb'"address": ?"([^"]+)"[^\n]*' + event.encode(), log)
    return found[-1].decode() if found else ""


class House:
    """The processes of one installation."""

    def __init__(self, values: dict[str, str], folder: Path) -> None:
        self._values = values
        self._folder = folder
        self.children: list[Child] = []

    async def start(self, name: str, *arguments: str, **changed: str) -> Child:
        """One more of our programs."""
        child = Child(name, arguments, self._values | changed, self._folder)
        self.children.append(child)
        await child.start()
        return child

    async def start_api(self, **changed: str) -> tuple[Child, str]:
        """The API, once it is ready; where people ask it."""
        child = await self.start("api", "consumer", "api", **changed)

        async def is_ready() -> str:
            assert child.is_running, child.last_words()
            page, address = said_at(child, "health page is up"), said_at(child, "people may ask")
            if not page or not address:
                return ""
            async with aiohttp.ClientSession() as http, http.get(f"{page}/readyz") as answer:
                return address if answer.status == 200 else ""

        return child, await until(is_ready, "the API is ready")


@asynccontextmanager
async def house_of(scene: Scene, broker: Broker, folder: Path) -> AsyncIterator[House]:
    topics = {name: await broker.new_topic(3) for name in TOPICS}
    keys = folder / "jwks.json"
    keys.write_bytes(jwks(jwk("ES256", "a")))
    values = environment(scene, AUTH_JWKS_FILE=str(keys), CONSUMER_GROUP=f"group.{scene.topic}", **topics, **POLICY)
    house = House(values, folder)
    try:
        yield house
    finally:
        await asyncio.gather(*(child.kill() for child in house.children))


@pytest.fixture
async def house(scene: Scene, embedded_broker: Any, tmp_path: Path) -> AsyncIterator[House]:
    async with house_of(scene, Broker(node=embedded_broker), tmp_path) as house:
        yield house


def asking(http: aiohttp.ClientSession, url: str, user_id: UUID) -> Callable[..., Any]:
    """Asks in this person's name: the status, and the body."""

    async def ask(method: str, path: str = PATH) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token(claims(user_id))}"}
        async with http.request(method, url + path, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    return ask


async def test_from_a_persons_request_to_what_was_decided(scene: Scene, house: House) -> None:
    """A person asks and waits while nobody reads; a stream comes up, reads, the consumer records and decides: the
    answer has the fact, its snapshot is manual, the command is there. Then GET follows whatever may stop a deposit.
    """
    wallet_id = await scene.add_wallet(0)
    user_id = await scene.connection.fetchval("select user_id from stellar_wallets where id = $1", wallet_id)
    await house.start("consumer", "consumer")
    child, url = await house.start_api()
    async with aiohttp.ClientSession() as http:
        ask = asking(http, url, user_id)
        assert (await ask("GET"))[1]["reason"] == "not_read"
        waiting = asyncio.create_task(ask("POST", f"{PATH}?wait=30"))
        await until(lambda: scene.connection.fetchval("select id from read_requests"), "the request")
        await house.start("stream", "producers", "stream")
        status, said = await waiting
        if status == 202:  # the machine was busy: the same request is followed
            status, said = await until(lambda: _recorded(ask, said["location"]), "it is recorded")
        assert said["status"] == "recorded"
        assert (said["fact"]["balance"], said["fact"]["snapshot_type"]) == ("100.0000000", "manual")
        assert said["decision"]["command"]["amount"] == "100.0000000"
        snapshot = await scene.connection.fetchrow("select * from balance_snapshots")
        assert snapshot is not None
        assert (snapshot["snapshot_type"], str(snapshot["event_id"])) == ("manual", said["fact"]["event_id"])

        scene.pay(0, 30)
        scene.close()

        async def is_in() -> Any:
            looked = (await ask("GET"))[1]
            return looked if looked["balance"] == "130.0000000" else None

        looked = await until(is_in, "the payment is in")
        assert (looked["in_flight"], looked["previous"]) == ("130.0000000", "100.0000000")
        assert "130.0000000 is on its way" in looked["explanation"]
        await scene.connection.execute("delete from deposit_commands")
        await scene.connection.execute("insert into auto_deposit_policies (wallet_id) values ($1)", wallet_id)
        for policy, reason in (
            ("enabled = false", "disabled"),
            ("enabled = true, paused = true", "paused"),
            ("paused = false, min_deposit = 1000", "below_minimum"),
            ("min_deposit = 10, daily_cap = 5", "daily_cap"),
            ("daily_cap = 0", "issued"),
        ):
            await scene.connection.execute(f"update auto_deposit_policies set {policy}")  # noqa: S608 - from above
            looked = (await ask("GET"))[1]
            assert (looked["reason"], looked["would_deposit"]) == (reason, reason == "issued")
        await scene.connection.execute("update stellar_wallets set held_at = now()")
        assert (await ask("GET"))[1]["reason"] == "held"
        async with http.get(f"{said_at(child, 'health page is up')}/metrics") as answer:
            assert f'consumer_api_requests_total{{code="200",route="{PATH}"}}' in await answer.text()
    await child.stop()
    assert await exit_code(child) == 0
    assert "bug" not in child.log.read_text()


async def test_a_stop_lets_who_waits_go(scene: Scene, house: House) -> None:
    """SIGTERM: whoever waits is answered at once, that it is not done; the exit is clean."""
    wallet_id = await scene.add_wallet(0)
    user_id = await scene.connection.fetchval("select user_id from stellar_wallets where id = $1", wallet_id)
    child, url = await house.start_api()
    async with aiohttp.ClientSession() as http:
        waiting = asyncio.create_task(asking(http, url, user_id)("POST", f"{PATH}?wait=30"))
        await until(lambda: scene.connection.fetchval("select id from read_requests"), "the request")
        stopping = asyncio.create_task(child.stop())
        status, said = await asyncio.wait_for(waiting, 20)
        assert (status, said["status"]) == (202, "pending")
        await stopping
    assert await exit_code(child) == 0


async def test_old_projects_have_a_secret(scene: Scene, house: House) -> None:
    """With AUTH_JWT_SECRET alone tokens of HS256 are taken, and no others."""
    wallet_id = await scene.add_wallet(0)
    user_id = await scene.connection.fetchval("select user_id from stellar_wallets where id = $1", wallet_id)
    _, url = await house.start_api(AUTH_JWKS_FILE="", AUTH_JWT_SECRET=SECRET)
    async with aiohttp.ClientSession() as http:
        for algorithm, status in (("HS256", 200), ("ES256", 401)):
            headers = {"Authorization": f"Bearer {token(claims(user_id), algorithm=algorithm)}"}
            async with http.get(url + PATH, headers=headers) as answer:
                assert answer.status == status


async def test_a_file_without_keys_ends_it(house: House) -> None:
    """Exit code 2 and one message that names the file and what is wrong with it."""
    for file, says in (("/nowhere/jwks.json", "/nowhere/jwks.json: No such file"), (__file__, "no JSON")):
        child = await house.start("api", "consumer", "api", AUTH_JWKS_FILE=file)
        assert await exit_code(child) == 2
        assert f"AUTH_JWKS_FILE is no set of keys: {says}" in child.log.read_text()
    assert "Traceback" not in child.log.read_text()


async def test_a_door_that_is_taken_ends_it(house: House) -> None:
    """Exit code 2 and one message that names the settings and the port; it is no bug."""
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        child = await house.start("api", "consumer", "api", API_PORT=str(somebody.getsockname()[1]))
        assert await exit_code(child) == 2
    said = child.log.read_text()
    assert "API_HOST and API_PORT cannot be opened" in said
    assert "a bug" not in said
    assert "Traceback" not in said


async def _recorded(ask: Callable[..., Any], location: str) -> Any:
    status, said = await ask("GET", location)
    return (status, said) if said["status"] == "recorded" else None
