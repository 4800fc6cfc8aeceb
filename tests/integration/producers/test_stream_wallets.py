"""Wallets that come, go and are asked for while the stream runs."""

import time

import pytest

from producers import answers, stream
from producers.answers import Answer
from producers.parts import Pace
from producers.telling import Teller
from producers.wallet import Touch
from sandbox.horizon_faults import Fault
from schema.balance_event import SnapshotType
from schema.stellar import Ledger
from tests.integration.producers.scene import UNIT, Scene, until_true
from tests.people import account_id


@pytest.mark.alone
async def test_a_wallet_inserted_live_has_its_baseline_within_two_seconds(scene: Scene) -> None:
    """A wallet that is added while the stream runs is told at once; its first payment afterwards is an increase."""
    await scene.add_wallet(0)
    async with scene.stream():
        await scene.until_told(0, units=100)
        scene.pay(1, 7)  # before anybody follows it: part of the baseline
        scene.close()
        began = time.monotonic()
        await scene.add_wallet(1)
        baseline = await scene.until_told(1, units=107)
        took_s = time.monotonic() - began
        scene.pay(1, 50)
        scene.close()
        fact = await scene.until_told(1, units=157)
    assert took_s < 2
    assert (baseline.snapshot_type, baseline.movements) == (SnapshotType.POLL, None)
    assert fact.movements_since == baseline.ledger
    assert fact.movements is not None
    assert [each.amount_stroops for each in fact.movements] == [50 * UNIT]


async def test_a_wallet_of_the_other_network_is_not_followed(scene: Scene) -> None:
    """Wallets of another network are nobody's here until their row says ours."""
    wallet_id = await scene.add_wallet(0, network="mainnet")
    await scene.add_wallet(1)
    async with scene.stream():
        await scene.until_told(1, units=100)
        await until_true(scene.saved_ledger, what="all that were to be told are told")
        assert await scene.facts_of(0) == []
        await scene.connection.execute("update public.stellar_wallets set network = 'testnet' where id = $1", wallet_id)
        await scene.until_told(0, units=100)


async def test_a_request_is_answered_even_when_nothing_changed(scene: Scene) -> None:
    """A read request gets its fact, of its own type and observed now, and is done only after the ack."""
    wallet_id = await scene.add_wallet(0)
    async with scene.stream():
        baseline = await scene.until_told(0, units=100)
        scene.close()
        request_id = await scene.request(wallet_id)
        _, again = await scene.until(lambda facts: len(facts) == 2, what="the answer")
        answer = await scene.answer(request_id)
    assert again.snapshot_type is SnapshotType.MANUAL
    assert again.event_id == baseline.event_id
    assert again.observed_ledger > baseline.observed_ledger
    assert answer == Answer(
        event_id=again.event_id,
        ledger=again.ledger,
        observed_ledger=again.observed_ledger,
        balance_stroops=again.balance_stroops,
    )


async def test_a_request_for_what_is_no_address_is_refused(scene: Scene) -> None:
    """A row whose public key is no address cannot be read: its requests end with the reason, and do not pile up."""
    wallet_id = await scene.add_wallet(0)
    await scene.connection.execute(
        "update public.stellar_wallets set public_key = 'GNOADDRESS' where id = $1", wallet_id
    )
    async with scene.stream():
        answer = await scene.answer(await scene.request(wallet_id))
    assert answer.event_id is None
    assert answer.refused is not None
    assert "GNOADDRESS" in answer.refused


async def test_a_row_without_an_address_stops_nobody(scene: Scene) -> None:
    """A row may come before its address does, and anybody who signs up can insert one: there at the start, come later,
    or named in a request, it is nobody's wallet. When it has its address it is followed.
    """
    wallet_id = await scene.add_account(None)
    await scene.add_wallet(0)
    async with scene.stream():
        await scene.until_told(0, units=100)
        await scene.add_account(None)
        assert (await scene.answer(await scene.request(wallet_id))).refused
        await scene.connection.execute(
            "update public.stellar_wallets set public_key = $2 where id = $1", wallet_id, scene.account(1)
        )
        await scene.until_told(1, units=100)


async def test_requests_are_answered_by_any_producer(scene: Scene) -> None:
    """What is no stream answers the requests that it was touched for in the same way."""
    wallet_id = await scene.add_wallet(0)
    scene.close()
    first, second = await scene.request(wallet_id), await scene.request(wallet_id, "poll")
    async with scene.parts() as parts:
        touch = Touch(
            at_least=Ledger(1), snapshot_type=SnapshotType.MANUAL, drain=0, requests=frozenset({first, second})
        )
        teller = Teller(parts)
        (told,) = await teller.tell(await teller.read([(scene.account(0), touch)], seconds=60))
    assert told.event is not None
    assert await scene.answer(first) == await scene.answer(second) == answers.told(told.event)


async def test_a_wallet_deleted_and_inserted_anew_is_told_anew(scene: Scene) -> None:
    """A new row of the same account gets its own baseline though nothing on the chain changed."""
    wallet_id = await scene.add_wallet(0)
    async with scene.stream():
        await scene.until_told(0, units=100)
        await scene.connection.execute("delete from public.stellar_wallets where id = $1", wallet_id)
        await scene.add_wallet(0)
        await scene.until(lambda facts: len(facts) >= 2, what="its second baseline")


async def test_a_wallet_that_goes_is_forgotten_at_once(scene: Scene) -> None:
    """A wallet deleted, or given to the other network, is not followed a moment later; one that comes back is."""
    wallet_id = await scene.add_wallet(0)
    await scene.add_wallet(1)
    async with scene.stream(pace=Pace(idle_drain_s=20.0, wallets_refresh_s=3600.0)) as running:
        tracked = running.parts.metrics.tracked._value.get
        await until_true(lambda: tracked() == 2, what="both are followed")
        change = "update public.stellar_wallets set network = $2 where id = $1"
        await scene.connection.execute(change, wallet_id, "mainnet")
        await until_true(lambda: tracked() == 1, what="the one of the other network is not")
        await scene.connection.execute(change, wallet_id, "testnet")
        await until_true(lambda: tracked() == 2, what="it is again")
        await scene.connection.execute("delete from public.stellar_wallets where id = $1", wallet_id)
        await until_true(lambda: tracked() == 1, what="the one that was deleted is not")


async def test_a_wallet_that_is_paid_goes_before_an_import(scene: Scene) -> None:
    """While thousands of imported wallets wait for their first sight, a payment is told at once."""
    await scene.add_wallet(0)
    keys = [account_id(f"imported {number}") for number in range(3_000)]
    async with scene.stream() as running:
        await scene.store(await scene.until_told(0, units=100))
        await scene.connection.execute(
            """with people as (insert into auth.users (id) select gen_random_uuid() from generate_series(1, $2)
                               returning id),
                    numbered as (select id, row_number() over () as number from people)
               insert into public.stellar_wallets (user_id, public_key, network)
               select id, ($1::text[])[number], 'testnet' from numbered""",
            keys,
            len(keys),
        )
        waiting = running.parts.metrics.baselines._value.get
        await until_true(lambda: waiting() > 0, what="they wait")
        scene.pay(0, 50)
        scene.close()
        await scene.until_told(0, units=150)
        assert waiting() > 0
        facts = await scene.until(lambda facts: len(facts) >= 3_002, what="every baseline")
    assert len({fact.account_id for fact in facts}) == 3_001


async def test_wallets_inserted_in_one_statement_are_all_told(scene: Scene) -> None:
    """An import of several wallets at once gets all its baselines."""
    async with scene.stream():
        await until_true(scene.saved_ledger, what="the stream is under way")
        await scene.connection.execute(
            """with people as (insert into auth.users (id) select gen_random_uuid() from generate_series(1, 10)
                               returning id),
                    numbered as (select id, row_number() over () as number from people)
               insert into public.stellar_wallets (user_id, public_key, network)
               select id, ($1::text[])[number], 'testnet' from numbered""",
            [scene.account(wallet) for wallet in range(10)],
        )
        facts = await scene.until(lambda facts: len(facts) >= 10, what="ten baselines")
    assert len({fact.account_id for fact in facts}) == 10


async def test_a_first_start_with_many_wallets(scene: Scene) -> None:
    """More wallets than one cycle takes, most of them without a trustline, are all told."""
    await scene.add_wallet(0)
    keys = [account_id(f"absent {number}") for number in range(700)]
    await scene.connection.execute(
        """with people as (insert into auth.users (id) select gen_random_uuid() from generate_series(1, $2)
                           returning id),
                numbered as (select id, row_number() over () as number from people)
           insert into public.stellar_wallets (user_id, public_key, network)
           select id, ($1::text[])[number], 'testnet' from numbered""",
        keys,
        len(keys),
    )
    async with scene.stream():
        facts = await scene.until(lambda facts: len(facts) > 700, what="every baseline")
    assert len({fact.account_id for fact in facts}) == 701
    assert all(fact.is_absence for fact in facts if fact.account_id != scene.account(0))


async def test_a_read_from_before_a_rows_return_is_not_its_baseline(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read hangs while the wallet's row is deleted and comes again: what it brings in the end lacks what came before
    the new row, which would be new money then.
    """
    monkeypatch.setattr(stream, "ROUND_S", 0.2)
    await scene.add_wallet(0)
    await scene.add_wallet(1)
    async with scene.stream():
        await scene.until_told(0, units=100)
        await scene.until_told(1, units=100)
        fault = Fault(path_prefix=f"/accounts/{scene.account(1)}", delay_s=5, lag_ledgers=1)
        scene.horizon.faults.add(fault)
        scene.pay(1, 5)
        scene.close()
        await until_true(lambda: fault.asked, what="the read hangs")
        await scene.connection.execute("delete from stellar_wallets where public_key = $1", scene.account(1))
        scene.pay(0, 3)
        scene.pay(1, 50)
        scene.close()
        await scene.until_told(0, units=103)
        await scene.add_wallet(1)
        await scene.until_told(1, units=155)
    assert [fact.balance_stroops for fact in await scene.facts_of(1)] == [100 * UNIT, 155 * UNIT]


async def test_a_payment_while_the_first_read_hangs_is_new_money(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new row's read takes longer than a cycle, and the wallet is paid meanwhile: what was read is the baseline all
    the same, else the payment would be in it, and never be deposited.
    """
    monkeypatch.setattr(stream, "ROUND_S", 0.2)
    await scene.add_wallet(0)
    async with scene.stream():
        await scene.until_told(0, units=100)
        fault = Fault(path_prefix=f"/accounts/{scene.account(1)}", delay_s=3, lag_ledgers=1)
        scene.horizon.faults.add(fault)
        await scene.add_wallet(1)
        await until_true(lambda: fault.asked, what="the read hangs")
        scene.pay(1, 50)
        scene.close()
        await scene.until_told(1, units=150)
    assert [fact.balance_stroops for fact in await scene.facts_of(1)] == [100 * UNIT, 150 * UNIT]
