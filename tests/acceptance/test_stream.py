"""`python -m producers` as a process: started, killed, stopped, refused."""

import asyncio
import re
import signal
from pathlib import Path

import aiohttp
import orjson
import pytest

from sandbox.children import Child
from sandbox.database import PostgresServer
from schema import migrate
from schema.balance_event import SnapshotType
from schema.stellar import Network
from tests.integration.producers.conftest import scene as scene  # noqa: PLC0414 - the same world
from tests.integration.producers.scene import UNIT, Scene, until_true

KILLS = 6
ROUNDS_MAX = 400


def environment(scene: Scene, **changed: str) -> dict[str, str]:
    return {
        "DATABASE_URL": scene.database_url,
        "KAFKA_BOOTSTRAP_SERVERS": scene.kafka.kafka_bootstrap_servers,
        "BALANCE_EVENTS_TOPIC": scene.topic,
        "STELLAR_NETWORK": "testnet",
        "ASSET_ISSUER": scene.people.asset.issuer,
        "HORIZON_URL": scene.horizon.url,
        "RPC_URL": f"{scene.horizon.url}/rpc",
        "HORIZON_REQUESTS_PER_HOUR": "0",
        "RPC_REQUESTS_PER_HOUR": "0",
        **changed,
    }


async def exit_code(child: Child) -> int:
    assert child._running is not None
    return await asyncio.wait_for(child._running.wait(), 60)


def address_of(child: Child) -> str:
    """Where its health page is, from its log; empty as long as it has not said so."""
    found = re.search(rb'"address": ?"([^"]+)"', child.log.read_bytes())
    return found[1].decode() if found else ""


@pytest.mark.parametrize("source", ["horizon", "rpc"])
async def test_kill_9_loses_nothing_and_a_stop_is_clean(scene: Scene, tmp_path: Path, source: str) -> None:
    """Killed at any moment, again and again, while payments come in: each wallet's facts in the end tell every payment,
    and its true balance. SIGTERM ends it with exit code 0.
    """
    for wallet in range(3):
        await scene.add_wallet(wallet)
    child = Child("stream", ["producers", "stream"], environment(scene, BALANCE_SOURCE=source), tmp_path)
    await child.start()
    for wallet in range(3):
        await scene.store(await scene.until_told(wallet, units=100))
    paid = 0
    for number in range(KILLS):
        for _ in range(5):
            for wallet in range(3):
                scene.pay(wallet, 1)
            paid += 1
            scene.close()
            await asyncio.sleep(0.02 * number)
        await child.kill()
        await child.start()
    scene.pay(0, 1)
    scene.close()
    for wallet in (1, 2):
        await scene.until_told(wallet, units=100 + paid)
    await scene.until_told(0, units=101 + paid)
    for wallet in range(3):
        operations = {
            each.operation_id: each.amount_stroops
            for fact in await scene.facts_of(wallet)
            for each in fact.movements or ()
        }
        assert sum(operations.values()) == (paid + (wallet == 0)) * UNIT
    await child.stop()
    assert await exit_code(child) == 0
    assert "a bug" not in child.log.read_text()


@pytest.mark.parametrize("source", ["horizon", "rpc"])
async def test_read_tells_wallets_now(scene: Scene, tmp_path: Path, source: str) -> None:
    """`read` prints what the wallets hold, publishes it as manual, and lists the payments since what is stored; an
    account that is nobody's wallet here is printed and not published.
    """
    for wallet in (0, 1):
        await scene.add_wallet(wallet)
    async with scene.stream():
        baseline = await scene.until_told(0, units=100)
        await scene.until_told(1, units=100)
    await scene.store(baseline)
    for units in (1, 2):
        scene.pay(0, units)
        scene.close()
    accounts = [scene.account(0), scene.account(1), scene.account(2)]
    child = Child(
        "read", ["producers", "read", *accounts, scene.account(0)], environment(scene, BALANCE_SOURCE=source), tmp_path
    )
    await child.start()
    assert child._running is not None
    printed, _ = await asyncio.wait_for(child._running.communicate(), 60)
    said = {line["account_id"]: line for line in map(orjson.loads, printed.splitlines())}
    assert child._running.returncode == 1
    assert f"not published: {accounts[2]}: no wallet has this address on testnet" in child.log.read_text()
    assert len(printed.splitlines()) == 3, "the one that was named twice is read once"
    assert [said[account]["balance"] for account in accounts] == ["103.0000000", "100.0000000", "100.0000000"]
    assert [said[account]["published"] for account in accounts] == [True, True, False]
    fact = await scene.until_told(0, units=103)
    assert (fact.snapshot_type, fact.movements_since) == (SnapshotType.MANUAL, baseline.ledger)
    assert [each.amount_stroops // UNIT for each in fact.movements or ()] == [1, 2]


async def test_a_read_that_is_interrupted_is_not_done(scene: Scene, tmp_path: Path) -> None:
    """The brokers are away and somebody has had enough: exit code 1, for nothing was told."""
    await scene.add_wallet(0)
    nowhere = environment(scene, KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:9")
    child = Child("read", ["producers", "read", scene.account(0)], nowhere, tmp_path)
    await child.start()
    await until_true(lambda: b"KafkaConnectionError" in child.log.read_bytes(), what="it asks for the brokers")
    assert child._running is not None
    child._running.send_signal(signal.SIGINT)
    assert await exit_code(child) == 1
    assert (await child._running.communicate())[0] == b""


async def test_the_wrong_network_ends_it_with_the_remedy(scene: Scene, tmp_path: Path) -> None:
    """Exit code 2, and the log says which variable to change."""
    scene.chain.network = Network.MAINNET
    child = Child("stream", ["producers", "stream"], environment(scene), tmp_path)
    await child.start()
    assert await exit_code(child) == 2
    assert "HORIZON_URL" in child.last_words()
    assert "Traceback" not in child.last_words()


@pytest.mark.parametrize("command", [["stream"], ["read", "GA5ZSEJYB37JRC5AVCIA5MOP4RHTM335X2KGX3IHOJAPP5RE34K4KZVN"]])
async def test_without_its_environment_it_names_every_variable(command: list[str], tmp_path: Path) -> None:
    """One error with all that is missing or malformed, exit code 2."""
    bad = {"STELLAR_NETWORK": "moonnet", "HORIZON_REQUESTS_PER_HOUR": "-1"}
    child = Child("bare", ["producers", *command], bad, tmp_path)
    await child.start()
    assert await exit_code(child) == 2
    wanted = ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "ASSET_ISSUER", "HORIZON_URL", *bad)
    assert [name for name in wanted if name not in child.last_words()] == []


async def test_what_is_not_there_yet_is_waited_for(scene: Scene, tmp_path: Path) -> None:
    """Started before its database and its tables, it is alive, not ready, and says what is missing; when they are there
    it does its work.
    """
    server = PostgresServer(durable=False)
    try:
        url = server.start()
        server.stop()
        child = Child("stream", ["producers", "stream"], environment(scene, DATABASE_URL=url), tmp_path)
        await child.start()
        await until_true(lambda: address_of(child), what="the health page is up")
        async with aiohttp.ClientSession() as session:
            assert await _status(session, f"{address_of(child)}/healthz") == 200
            assert await _status(session, f"{address_of(child)}/readyz") == 503
            server.start()
            await until_true(lambda: "not migrated" in child.log.read_text(), what="it says what the tables need")
            await migrate.migrate(url, dry_run=False, wait_s=10, say=lambda _: None)
            await until_true(lambda: _is_ready(session, child), what="it is ready")
            async with session.get(f"{address_of(child)}/metrics") as response:
                assert "producers_wallets_tracked" in await response.text()
        await child.stop()
        assert await exit_code(child) == 0
    finally:
        server.remove()


async def _status(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(url) as response:
        return response.status


async def _is_ready(session: aiohttp.ClientSession, child: Child) -> bool:
    return await _status(session, f"{address_of(child)}/readyz") == 200
