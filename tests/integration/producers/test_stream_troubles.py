"""The stream when something is wrong: the source, the brokers, the database, a record. Nothing is lost."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import orjson
import pytest

from producers.parts import Pace
from producers.source import Fatal
from producers.start import Wish
from sandbox.broker import EmbeddedBroker
from sandbox.horizon_faults import Fault
from schema.balance_event import SnapshotType
from schema.stellar import Network
from tests.fixtures_brokers import Broker
from tests.integration.producers.scene import UNIT, Scene, until_true
from tests.unit.producers.records import HASH


@pytest.fixture
async def mortal(scene: Scene) -> AsyncIterator[Broker]:
    """A broker of this test alone, with the scene's topic: it may be frozen."""
    broker = EmbeddedBroker.start()
    await asyncio.to_thread(broker.create_topic, scene.topic, 3)
    yield Broker(node=broker)
    broker.kill()


async def test_a_state_behind_the_payment_is_read_again(scene: Scene) -> None:
    """A replica that has not seen the payment yet is asked again; its old balance is never told as the new one."""
    await scene.add_wallet(0)
    async with scene.stream() as running:
        await scene.until_told(0, units=100)
        scene.pay(0, 50)
        scene.horizon.faults.add(Fault(path_prefix="/accounts/", lag_ledgers=1, times=3))
        ledger = scene.close()
        fact = await scene.until_told(0, units=150)
        assert running.parts.metrics.reads_lagging._value.get() == 3
    assert fact.observed_ledger >= ledger
    assert len(scene.facts) == 2


async def test_what_cannot_be_read_now_waits_and_holds_the_cursor(scene: Scene) -> None:
    """A wallet whose state the source refuses does not hold up the others; the saved cursor stays before its payment,
    so that a crash would read it again.
    """
    await scene.add_wallet(0)
    await scene.add_wallet(1)
    async with scene.stream():
        for wallet in (0, 1):
            await scene.store(await scene.until_told(wallet, units=100))
        await until_true(scene.saved_ledger, what="the cursor is saved")
        path = f"/accounts/{scene.account(0)}"
        scene.horizon.faults.add(Fault(path_prefix=path, status=504, times=1_000))
        before = await scene.saved_ledger()
        scene.pay(0, 50)
        scene.pay(1, 50)
        ledger = scene.close()
        await scene.until_told(1, units=150)
        assert await scene.saved_ledger() == before
    assert await scene.saved_ledger() == before
    scene.horizon.faults.clear()
    async with scene.stream():
        fact = await scene.until_told(0, units=150)
        await until_true(lambda: _is_saved(scene, ledger), what="the cursor moves on")
    assert fact.movements is not None
    assert [each.amount_stroops for each in fact.movements] == [50 * UNIT]


async def test_the_cursor_waits_for_the_brokers_ack(scene: Scene, mortal: Broker) -> None:
    """With the broker frozen nothing is saved, however long; once it answers, the facts come and then the cursor."""
    assert isinstance(mortal.node, EmbeddedBroker)
    await scene.add_wallet(0)
    scene.kafka = mortal.settings
    async with scene.stream() as running:
        await until_true(scene.saved_ledger, what="the cursor is saved")
        before = await scene.saved_ledger()
        mortal.node.pause()
        scene.pay(0, 50)
        ledger = scene.close()
        await until_true(lambda: running.parts.readiness.reasons().get("broker"), what="it says so")
        assert await scene.saved_ledger() == before
        mortal.node.resume()
        await until_true(lambda: _is_saved(scene, ledger), what="the cursor is saved")
        await until_true(lambda: not running.parts.readiness.reasons(), what="ready again")
        assert running.parts.metrics.facts.labels("webhook")._value.get() == 1


async def test_a_killed_stream_tells_again_what_was_not_saved(scene: Scene, mortal: Broker) -> None:
    """A stream that ends while its facts have no ack reads the same payments again at the next start."""
    assert isinstance(mortal.node, EmbeddedBroker)
    await scene.add_wallet(0)
    alive, scene.kafka = scene.kafka, mortal.settings
    async with scene.stream() as running:
        await until_true(scene.saved_ledger, what="the cursor is saved")
        mortal.node.kill()
        scene.pay(0, 50)
        scene.close()
        await until_true(lambda: running.parts.readiness.reasons().get("broker"), what="it says so")
    scene.kafka = alive
    async with scene.stream():
        await scene.until_told(0, units=150)


@pytest.mark.parametrize("status", [429, 500, 503, 504])
async def test_a_source_in_trouble_is_asked_again(scene: Scene, status: int) -> None:
    """Refusals of every kind, with a body that is no JSON, delay a fact and lose nothing."""
    await scene.add_wallet(0)
    async with scene.stream():
        await scene.until_told(0, units=100)
        headers = {"Retry-After": "1"} if status == 429 else {}
        for path in ("/payments", "/accounts/", "/payments"):
            scene.horizon.faults.add(Fault(path_prefix=path, status=status, headers=headers, body=b"<html>", times=2))
        began = time.monotonic()
        scene.pay(0, 50)
        scene.close()
        fact = await scene.until_told(0, units=150)
    assert fact.movements is not None
    if status == 429:
        assert time.monotonic() - began >= 1


async def test_a_body_cut_short_is_asked_for_again(scene: Scene) -> None:
    """A connection that ends inside a body is a failure, not a shorter page."""
    await scene.add_wallet(0)
    async with scene.stream():
        await scene.until_told(0, units=100)
        for path in ("/payments", "/accounts/"):
            scene.horizon.faults.add(Fault(path_prefix=path, cut_after_bytes=100, times=2))
        scene.pay(0, 50)
        scene.close()
        await scene.until_told(0, units=150)


async def test_a_proxys_404_is_no_balance_of_zero(scene: Scene) -> None:
    """A 404 that does not come from Horizon's state (no ledger in its headers) never becomes an absence."""
    await scene.add_wallet(0)
    async with scene.stream():
        await scene.until_told(0, units=100)
        scene.horizon.faults.add(Fault(path_prefix="/accounts/", status=404, body=b"not here", times=6))
        scene.pay(0, 50)
        scene.close()
        await scene.until_told(0, units=150)
        assert len(await scene.facts_of(0)) == 2


async def test_a_silent_stream_is_dead(scene: Scene) -> None:
    """A stream without a byte for too long is said to be dead and connected anew; its payments come by the interval."""
    await scene.add_wallet(0)
    async with scene.stream(pace=Pace(idle_drain_s=1.0), silence_s_max=0.2) as running:
        await scene.until_told(0, units=100)
        await until_true(lambda: "dead" in running.parts.readiness.reasons().get("stream", ""), what="it says so")
        scene.pay(0, 50)
        scene.close()
        await scene.until_told(0, units=150)


async def test_a_stream_that_ends_with_an_error_is_connected_anew(scene: Scene) -> None:
    """`event: error` ends a stream early; the next one wakes again."""
    await scene.add_wallet(0)
    scene.horizon.faults.add(Fault(path_prefix="/payments", stream_error="sql: no rows in result set", times=4))
    async with scene.stream() as running:
        await scene.until_told(0, units=100)
        scene.close()
        await until_true(lambda: "no rows" in running.parts.readiness.reasons().get("stream", ""), what="it says so")
        await until_true(lambda: not running.parts.readiness.reasons(), what="the stream is up again")
        scene.pay(0, 50)
        scene.close()
        await scene.until_told(0, units=150)


async def test_a_record_that_cannot_be_read_is_a_dead_letter(scene: Scene) -> None:
    """It is kept with its place and reason, the wallet it names is read, its movements are not claimed to be known, and
    the rest goes on.
    """
    for wallet in (0, 1):
        await scene.add_wallet(wallet)
    async with scene.stream():
        for wallet in (0, 1):
            await scene.store(await scene.until_told(wallet, units=100))
        ledger = scene.chain.latest.sequence + 1
        token = str(ledger << 32 | 4097)
        asset = scene.people.asset
        bent = {
            "id": token,
            "paging_token": token,
            "transaction_successful": True,
            "source_account": scene.people.payers[0].account_id,
            "type": "payment",
            "created_at": "2026-01-31T12:00:00Z",
            "transaction_hash": HASH[:-1],
            "asset_type": asset.horizon_type,
            "asset_code": asset.code,
            "asset_issuer": asset.issuer,
            "from": scene.people.payers[0].account_id,
            "to": scene.account(0),
            "amount": "9.0000000",
        }
        scene.chain.replay(bent)
        scene.pay(1, 50)
        scene.close()
        fact = await scene.until_told(0, units=109)
        await scene.until_told(1, units=150)
        await until_true(lambda: _is_saved(scene, ledger), what="the cursor moves on")
        scene.pay(0, 1)
        scene.close()
        after = await scene.until_told(0, units=110)
    assert (fact.movements, fact.movements_since) == (None, None)
    assert (after.movements_since, len(after.movements or ())) == (fact.ledger, 1)
    row = await scene.connection.fetchrow("select * from public.dead_letters")
    assert (row["topic"], row["partition"], row["offset"]) == ("horizon:payments", 0, int(token))
    assert row["key"] == token.encode()
    assert row["reason"] == "malformed transaction_hash"
    assert orjson.loads(row["value"]) == bent


async def test_a_state_that_makes_no_sense_is_a_dead_letter(scene: Scene) -> None:
    """An account page with an impossible balance is refused with its place; the next payment tries again."""
    await scene.add_wallet(0)
    account, asset = scene.account(0), scene.people.asset
    async with scene.stream():
        await scene.until_told(0, units=100)
        scene.pay(0, 50)
        line = {"asset_type": asset.horizon_type, "asset_code": asset.code, "asset_issuer": asset.issuer}
        body = {"account_id": account, "balances": [{**line, "balance": "150.00000001", "last_modified_ledger": 3}]}
        latest = {"Latest-Ledger": str(scene.chain.latest.sequence + 1)}
        scene.horizon.faults.add(Fault(path_prefix="/accounts/", status=200, body=orjson.dumps(body), headers=latest))
        scene.close()
        await until_true(
            lambda: scene.connection.fetchval("select reason from public.dead_letters"), what="a dead letter"
        )
        scene.pay(0, 1)
        scene.close()
        fact = await scene.until_told(0, units=151)
    reason = await scene.connection.fetchval("select reason from public.dead_letters")
    assert reason == "malformed balances[0].balance"
    assert [each.amount_stroops // UNIT for each in fact.movements or ()] == [50, 1]


async def test_a_full_page_of_the_same_records_does_not_run_for_ever(scene: Scene) -> None:
    """A proxy that answers every cursor with the same full page is a source in trouble, and no payment counts twice."""
    await scene.add_wallet(0)
    async with scene.stream() as running:
        await scene.store(await scene.until_told(0, units=100))
        await until_true(scene.saved_ledger, what="the cursor is saved")
    for _ in range(250):
        scene.pay(0, 1)
    scene.close()
    url = f"{scene.horizon.url}/payments?order=asc&limit=200&cursor="
    async with scene.parts() as parts:
        first = await parts.source._session.get(url)  # type: ignore[attr-defined]
        page = await first.read()
    scene.horizon.faults.add(Fault(path_prefix="/payments", status=200, body=page, times=4))
    async with scene.stream() as running:
        await until_true(lambda: running.parts.readiness.reasons().get("cycle"), what="it says so")
        fact = await scene.until_told(0, units=350)
    assert len(fact.movements or ()) == 250


@pytest.mark.parametrize("problem", ["network", "beyond", "before"])
async def test_what_a_person_must_decide_stops_the_stream(scene: Scene, problem: str) -> None:
    """The wrong network, a cursor beyond the tip and one before the history end the stream with the remedy."""
    await scene.add_wallet(0)
    async with scene.stream():
        await scene.store(await scene.until_told(0, units=100))
        await until_true(scene.saved_ledger, what="the cursor is saved")
    remedy = "--accept-gap"
    if problem == "network":
        scene.chain.network, remedy = Network.MAINNET, "STELLAR_NETWORK"
    elif problem == "beyond":
        await scene.connection.execute("update public.stream_cursors set ledger = ledger + 1000000")
    else:
        for _ in range(5):
            scene.close()
        scene.chain.history.trim(before_ledger=scene.chain.latest.sequence)
    with pytest.raises(Fatal, match=remedy):
        async with scene.stream() as running:
            await asyncio.wait([running.task], timeout=30)


async def test_an_accepted_gap_reads_every_wallet(scene: Scene) -> None:
    """After a gap every balance is right again, and movements that nobody can know are not claimed."""
    for wallet in (0, 1):
        await scene.add_wallet(wallet)
    async with scene.stream():
        for wallet in (0, 1):
            await scene.store(await scene.until_told(wallet, units=100))
        await until_true(scene.saved_ledger, what="the cursor is saved")
    scene.pay(0, 50)
    for _ in range(5):
        scene.close()
    scene.chain.history.trim(before_ledger=scene.chain.latest.sequence)
    async with scene.stream(wish=Wish(accept_gap=True)) as running:
        fact = await scene.until_told(0, units=150)
        await until_true(lambda: running.parts.metrics.duplicates._value.get() == 1, what="the other is as it was")
    assert (fact.movements, fact.movements_since, fact.snapshot_type) == (None, None, SnapshotType.POLL)


async def test_the_database_may_go_away(scene: Scene) -> None:
    """Connections that are cut come back by themselves: new wallets are still heard of."""
    await scene.add_wallet(0)
    async with scene.stream(pace=Pace(idle_drain_s=1.0)):
        await scene.until_told(0, units=100)
        with contextlib.suppress(Exception):
            await scene.connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where pid <> pg_backend_pid() and datname = current_database()"
            )
        await scene.add_wallet(1)
        await scene.until_told(1, units=100)
        scene.pay(0, 50)
        scene.close()
        await scene.until_told(0, units=150)


async def _is_saved(scene: Scene, ledger: int) -> bool:
    return (await scene.saved_ledger() or 0) >= ledger
