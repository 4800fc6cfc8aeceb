"""The poller as a service beside others: requests, new wallets, a stream, round after round."""

from sandbox.horizon_faults import Fault
from schema.balance_event import SnapshotType
from tests.integration.producers.polling import WALLETS, Polling, add_all, running, until_stored
from tests.integration.producers.recorder import recording
from tests.integration.producers.scene import UNIT, Scene, until_true
from tests.people import account_id


async def test_requests_and_new_wallets_do_not_wait_for_the_next_round(scene: Scene) -> None:
    """With an hour between rounds: a request is answered, and a wallet whose row comes has its baseline, at once."""
    wallet_id = await scene.add_wallet(0)
    async with running(scene):
        await scene.until_told(0, units=100)
        await scene.add_wallet(1)
        assert (await scene.until_told(1, units=100)).snapshot_type is SnapshotType.POLL
        scene.pay(0, 5)
        scene.close()
        answer = await scene.answer(await scene.request(wallet_id))
        assert answer.balance_stroops == 105 * UNIT
        fact = await scene.until_told(0, units=105)
        assert (fact.snapshot_type, fact.event_id) == (SnapshotType.MANUAL, answer.event_id)


async def test_very_many_new_wallets_are_looked_for(scene: Scene) -> None:
    """A statement that inserts more rows than are named in notifications: all without a fact are read, at once; what
    is no address is nobody's.
    """
    async with running(scene):
        await scene.add_wallet(0)
        await scene.until_told(0, units=100)
        strangers = [account_id(f"stranger {number}") for number in range(150)]
        await scene.connection.execute(
            """with people as (
                 insert into auth.users (id) select gen_random_uuid() from generate_series(1, $2) returning id
               ), numbered as (select id, row_number() over () as number from people)
               insert into public.stellar_wallets (user_id, public_key, network)
               select n.id, ($1::text[])[n.number], 'testnet' from numbered n""",
            [scene.account(1), "no address", *strangers],
            len(strangers) + 2,
        )
        await scene.until_told(1, units=100)
        await scene.until(lambda facts: len({each.account_id for each in facts}) == 152, what="all have their baseline")


async def test_a_stream_that_is_alive_goes_first(scene: Scene) -> None:
    """Beside a stream requests are the stream's, and are told once."""
    wallet_id = await scene.add_wallet(0)
    async with scene.stream():
        await scene.store(await scene.until_told(0, units=100))
        await until_true(scene.saved_ledger, what="the stream saved its cursor")
        async with running(scene):
            answers = [await scene.answer(await scene.request(wallet_id)) for _ in range(3)]
    assert all(each.balance_stroops == 100 * UNIT for each in answers)
    await scene.until(lambda facts: len(facts) >= 4, what="the baseline and three answers are in the topic")
    assert [fact.snapshot_type for fact in await scene.facts_of(0)][1:] == [SnapshotType.MANUAL] * 3


async def test_round_follows_round(scene: Scene) -> None:
    """As a service it finds what changed in each of several rounds, says when the last one ended, and is ready."""
    await add_all(scene)
    async with running(scene, interval_s=0.2) as here, recording(scene):
        for units in (1, 2, 3):
            scene.pay(4, units)
            scene.close()
            await until_stored(scene)
        value = here.parts.metrics.registry.get_sample_value

        def is_said() -> bool:
            """Between two rounds; in one fewer are done."""
            rounds, wallets, done = (
                value(f"producers_poll_{name}") for name in ("rounds_total", "wallets", "wallets_done")
            )
            return (rounds or 0) >= 3 and wallets == done == WALLETS and not here.parts.readiness.reasons()

        await until_true(is_said, what="three rounds, and the page is ready")


async def test_a_new_wallet_is_not_forgotten_when_it_cannot_be_read(scene: Scene) -> None:
    """With an hour between rounds and a Horizon that is away just then: it has its baseline when Horizon is back."""
    async with running(scene) as here:
        await until_true(lambda: _rounds(here) == 1, what="the first round, of nobody, is over")
        scene.horizon.faults.add(Fault(path_prefix="/accounts", status=503, times=12))
        await scene.add_wallet(1)
        assert (await scene.until_told(1, units=100)).snapshot_type is SnapshotType.POLL


async def test_a_row_without_an_address_stops_no_poller(scene: Scene) -> None:
    """There at the start, come later, or named in a request, it is nobody's wallet until it has its address."""
    wallet_id = await scene.add_account(None)
    await scene.add_wallet(0)
    async with running(scene) as here:
        await scene.until_told(0, units=100)
        assert here.parts.metrics.registry.get_sample_value("producers_poll_wallets") == 1
        await scene.add_account(None)
        assert (await scene.answer(await scene.request(wallet_id))).refused
        await scene.connection.execute(
            "update public.stellar_wallets set public_key = $2 where id = $1", wallet_id, scene.account(1)
        )
        await scene.until_told(1, units=100)


async def test_a_new_wallets_baseline_has_what_came_before_it(scene: Scene) -> None:
    """Between rounds, too, a replica that is behind does not leave it to be taken for new money."""
    async with running(scene) as here:
        await until_true(lambda: _rounds(here) == 1, what="the first round, of nobody, is over")
        scene.pay(1, 50)
        scene.close()
        scene.horizon.faults.add(Fault(path_prefix=f"/accounts/{scene.account(1)}", lag_ledgers=1, times=2))
        await scene.add_wallet(1)
        await scene.until_told(1, units=150)
        assert len(await scene.facts_of(1)) == 1


def _rounds(here: Polling) -> float | None:
    return here.parts.metrics.registry.get_sample_value("producers_poll_rounds_total")
