"""The stream when something is wrong: the source, the brokers, the database, a record. Nothing is lost."""

import contextlib
from datetime import UTC, datetime

import orjson

from producers.parts import Pace
from sandbox.broker import EmbeddedBroker
from sandbox.horizon_faults import Fault
from schema import balance_event
from schema.balance_event import Movement, SnapshotType
from schema.stellar import Ledger, Network, Stroops
from tests.fixtures_brokers import Broker
from tests.integration.producers.scene import UNIT, Scene, until_true
from tests.unit.producers.records import HASH, LEDGER, operation_id


async def test_the_cursor_waits_for_the_brokers_ack(scene: Scene, mortal: Broker) -> None:
    """With the broker frozen nothing is saved, however long; once it answers, the facts come and then the cursor."""
    assert isinstance(mortal.node, EmbeddedBroker)
    await scene.add_wallet(0)
    scene.kafka = mortal.settings
    async with scene.stream() as running:
        baseline = running.parts.metrics.facts.labels("poll")
        await until_true(lambda: baseline._value.get() >= 1, what="the baseline is acked")
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
    """An account page with an impossible balance, again and again, is refused with its place, and who asked is told
    so; the next payment tries again.
    """
    wallet_id = await scene.add_wallet(0)
    account, asset = scene.account(0), scene.people.asset
    async with scene.stream():
        await scene.until_told(0, units=100)
        scene.pay(0, 50)
        line = {"asset_type": asset.horizon_type, "asset_code": asset.code, "asset_issuer": asset.issuer}
        body = {"account_id": account, "balances": [{**line, "balance": "150.00000001", "last_modified_ledger": 3}]}
        latest = {"Latest-Ledger": str(scene.chain.latest.sequence + 1)}
        bent = Fault(path_prefix="/accounts/", status=200, body=orjson.dumps(body), headers=latest, times=1_000)
        scene.horizon.faults.add(bent)
        scene.close()
        answer = await scene.answer(await scene.request(wallet_id))
        scene.horizon.faults.clear()
        scene.pay(0, 1)
        scene.close()
        fact = await scene.until_told(0, units=151)
    reason = await scene.connection.fetchval("select reason from public.dead_letters")
    assert reason == "malformed balances[0].balance"
    assert answer.refused is not None
    assert "150.00000001" in answer.refused
    assert [each.amount_stroops // UNIT for each in fact.movements or ()] == [50, 1]


async def test_a_fact_too_large_is_told_without_its_movements(scene: Scene) -> None:
    """What the brokers would never take does not stop the stream: the balance is told, the movements as unknown."""
    movement = Movement(
        operation_id=operation_id(),
        ledger=Ledger(LEDGER),
        transaction_hash=HASH,
        type="payment",
        counterparty=None,
        amount_stroops=Stroops(1),
    )
    facts = [
        balance_event.fact(
            snapshot_type=SnapshotType.WEBHOOK,
            network=Network.TESTNET,
            account_id=scene.account(wallet),
            asset=scene.people.asset,
            balance_stroops=Stroops(UNIT),
            authorized=True,
            ledger=Ledger(LEDGER),
            observed_ledger=Ledger(LEDGER),
            observed_at=datetime(2026, 1, 31, tzinfo=UTC),
            movements_since=Ledger(1),
            movements=(movement,) * count,
        )
        for wallet, count in enumerate((1, 60_000, 2))
    ]
    async with scene.parts() as parts:
        await parts.publisher.publish(facts)
    told = {fact.account_id: fact for fact in await scene.until(lambda found: len(found) >= 3, what="three facts")}
    sizes = [
        None if told[scene.account(n)].movements is None else len(told[scene.account(n)].movements or ())
        for n in range(3)
    ]
    assert sizes == [1, None, 2]


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
