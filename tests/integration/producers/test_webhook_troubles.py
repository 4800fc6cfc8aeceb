"""Webhooks while something is away: 503 and nothing lost, then the same webhook again and it is done."""

import asyncio
import socket
from collections.abc import AsyncIterator

import orjson
import pytest

from producers.source import Fatal
from producers.webhook import service as webhooks
from sandbox.broker import EmbeddedBroker
from sandbox.horizon_faults import Fault
from schema.service import kafka
from tests.fixtures_brokers import Broker
from tests.integration.producers.scene import UNIT, Scene, until_true
from tests.integration.producers.webhook_scene import door, told
from tests.topics import acked
from tests.webhook_senders import naming

BROKEN = 10_000


@pytest.fixture
async def mortal(scene: Scene) -> AsyncIterator[Broker]:
    """A broker of this test alone, with the scene's topic: it may be frozen."""
    broker = EmbeddedBroker.start()
    await asyncio.to_thread(broker.create_topic, scene.topic, 3)
    yield Broker(node=broker)
    broker.kill()


async def ids(scene: Scene) -> int:
    found: int = await scene.connection.fetchval("select count(*) from public.webhook_ids")
    return found


async def test_no_2xx_before_the_brokers_ack(scene: Scene, mortal: Broker) -> None:
    """With the broker silent the answer is 503 and the id is not remembered; sent again later it is done, once."""
    assert isinstance(mortal.node, EmbeddedBroker)
    await told(scene, 0)
    body = naming(scene.account(0))
    async with door(scene, kafka=mortal.settings, webhook_answer_within_s=1.0) as opened:
        sender = opened.sender()
        assert (await sender.hint(body, webhook_id="msg_warm")).status == 200
        mortal.node.pause()
        scene.pay(0, 50)
        scene.close()
        reply = await sender.hint(body, webhook_id="msg_once")
        assert (reply.status, reply.headers["retry-after"]) == (503, "5")
        assert await ids(scene) == 1
        await until_true(lambda: opened.parts.readiness.reasons().get("broker"), what="it says so")
        mortal.node.resume()

        async def done() -> bool:
            return (await sender.hint(body, webhook_id="msg_once")).status == 200

        await until_true(done, what="the webhook is done")
        assert (await sender.hint(body, webhook_id="msg_once")).status == 409
        await until_true(lambda: not opened.parts.readiness.reasons(), what="ready again")
        facts = await scene_facts(scene, mortal)
    assert len({fact["event_id"] for fact in facts}) == 1
    assert {fact["balance"] for fact in facts} == {"150.0000000"}


async def scene_facts(scene: Scene, broker: Broker) -> list[dict[str, str]]:
    """What lies in the topic of another broker than the scene's."""
    consumer = kafka.consumer(broker.settings, scene.topic, client_id="test", group_id=None)
    await consumer.start()
    try:
        return [orjson.loads(record.value or b"") for record in await acked(consumer)]
    finally:
        await kafka.stop_consumer(consumer, deadline_s=5)


async def test_horizon_away_is_503_and_then_done(scene: Scene) -> None:
    """A state that cannot be read is no answer: 503, and the same webhook again is done."""
    await told(scene, 0)
    scene.pay(0, 50)
    scene.close()
    body = naming(scene.account(0))
    async with door(scene, webhook_answer_within_s=2.0) as opened:
        sender = opened.sender()
        scene.horizon.faults.add(Fault(path_prefix="/accounts", times=BROKEN, status=503))
        assert (await sender.hint(body, webhook_id="msg_once")).status == 503
        assert await ids(scene) == 0
        scene.horizon.faults.clear()

        async def done() -> bool:
            return (await sender.hint(body, webhook_id="msg_once")).status == 200

        await until_true(done, what="the webhook is done")
    facts = await scene.until(bool, what="a fact")
    assert {fact.balance_stroops for fact in facts} == {150 * UNIT}


async def test_the_database_away_is_503_and_nothing_is_read(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the table of ids nobody knows what was done before: 503, no read, and the page says what to run."""
    monkeypatch.setattr(webhooks, "ASK_EVERY_S", 0.1)
    await told(scene, 0)
    body = naming(scene.account(0))
    async with door(scene) as opened:
        sender = opened.sender()
        await scene.connection.execute("alter table public.webhook_ids rename to elsewhere")
        reply = await sender.hint(body, webhook_id="msg_once")
        assert (reply.status, reply.json["detail"]) == (
            503,
            "the database is away: send it again, with the same id",
        )
        assert opened.reads() == 0
        await until_true(
            lambda: "schema migrate" in opened.parts.readiness.reasons().get("database", ""), what="it says so"
        )
        await scene.connection.execute("alter table public.elsewhere rename to webhook_ids")
        assert (await sender.hint(body, webhook_id="msg_once")).status == 200
        await until_true(lambda: not opened.parts.readiness.reasons(), what="ready again")


async def test_a_state_that_makes_no_sense_is_a_dead_letter_and_acked(scene: Scene) -> None:
    """It cannot be told, now or later: kept with its reason, counted in the answer, and other wallets are told."""
    await told(scene, 0)
    await told(scene, 1)
    scene.pay(1, 50)
    scene.close()
    account, asset = scene.account(0), scene.people.asset
    bent = {
        "account_id": account,
        "balances": [
            {"asset_type": asset.horizon_type, "asset_code": asset.code, "asset_issuer": asset.issuer, "balance": "-1"}
        ],
    }
    scene.horizon.faults.add(
        Fault(
            path_prefix=f"/accounts/{account}",
            times=BROKEN,
            status=200,
            body=orjson.dumps(bent),
            headers={"Latest-Ledger": str(scene.chain.latest.sequence)},
        )
    )
    async with door(scene) as opened:
        reply = await opened.sender().hint(naming(account, scene.account(1)))
        assert (reply.status, reply.json["published"], reply.json["refused"]) == (200, 1, 1)
    row = await scene.connection.fetchrow("select topic, reason from public.dead_letters")
    assert tuple(row) == ("horizon:accounts", "malformed balances[0].balance")


@pytest.mark.parametrize("units", [100, 150], ids=["a first sight", "a hint without a ledger"])
async def test_a_replica_that_is_behind_hides_nothing(scene: Scene, units: int) -> None:
    """A baseline lacks nothing that came before it; and a hint is of what has happened by now, whatever its sender left
    unsaid: it is not done by a look at what was before.
    """
    if units > 100:
        await told(scene, 0)
    else:
        await scene.add_wallet(0)
    scene.pay(0, 50)
    scene.close()
    scene.horizon.faults.add(Fault(path_prefix=f"/accounts/{scene.account(0)}", lag_ledgers=1, times=2))
    async with door(scene) as opened:
        reply = await opened.sender().hint(naming(scene.account(0)))
    assert orjson.loads(reply.body)["published"] == 1
    assert [fact.balance_stroops for fact in await scene.facts_of(0)] == [150 * UNIT]


async def test_the_newest_ledger_does_not_go_back(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that is behind in all that it says does not have a hint done by a look at what was before: a newer
    ledger was seen.
    """
    monkeypatch.setattr(webhooks, "AGAIN_S", 0.0)
    await told(scene, 0)
    await told(scene, 1)
    scene.pay(0, 50)
    scene.close()
    async with door(scene) as opened:
        await opened.sender().hint(naming(scene.account(1)))
        scene.horizon.faults.add(Fault(lag_ledgers=1, times=2))
        reply = await opened.sender().hint(naming(scene.account(0)))
    assert orjson.loads(reply.body)["published"] == 1
    assert (await scene.facts_of(0))[-1].balance_stroops == 150 * UNIT


async def test_a_source_that_refuses_to_say_its_newest_ledger_is_503(scene: Scene) -> None:
    """A gateway before Stellar RPC that wants to be paid, or a replica that is far behind: away, and no bug of ours."""
    await told(scene, 0)
    error = orjson.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": -32600, "message": "not today"}})
    async with door(scene, rpc=True) as opened:
        scene.horizon.faults.add(Fault(path_prefix="/rpc/getHealth", method="POST", status=200, body=error))
        reply = await opened.sender().hint(naming(scene.account(0)))
        assert (reply.status, reply.headers["retry-after"]) == (503, "5")
        assert (await opened.sender().hint(naming(scene.account(0)))).status == 200


async def test_a_port_that_is_taken_is_said(scene: Scene) -> None:
    """It is no bug: it ends, and names the settings."""
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(Fatal, match="WEBHOOK_HOST and WEBHOOK_PORT cannot be opened"),
    ):
        async with door(scene, webhook_port=other.getsockname()[1]):
            raise AssertionError


async def test_one_wallet_that_hangs_holds_up_no_other(scene: Scene) -> None:
    """While one wallet's read hangs the hints of the others are done."""
    for wallet in range(5):
        await told(scene, wallet)
    scene.horizon.faults.add(Fault(path_prefix=f"/accounts/{scene.account(0)}", times=BROKEN, delay_s=30.0))
    async with door(scene, webhook_answer_within_s=2.0) as opened:
        hanging = asyncio.create_task(opened.sender().hint(naming(scene.account(0))))
        replies = await asyncio.gather(*(opened.sender().hint(naming(scene.account(each))) for each in range(1, 5)))
        assert [reply.status for reply in replies] == [200] * 4
        assert not hanging.done()
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)
        opened.task.cancel()
        scene.horizon.faults.clear()
