"""The poller's troubles: a Horizon that is away, behind, senseless, or another network's."""

from dataclasses import replace

import pytest

from producers.metrics import Metrics
from producers.poll.poller import Poll, PollPace
from producers.progress import Steps
from producers.source import Fatal, Unavailable
from sandbox.horizon_faults import Fault
from schema.stellar import Ledger, Network
from tests.integration.producers.polling import WALLETS, add_all, polling, until_stored
from tests.integration.producers.recorder import recording
from tests.integration.producers.scene import UNIT, Scene


async def test_a_horizon_that_is_away_is_waited_for(scene: Scene) -> None:
    """In the middle of a round everything fails for a while: nobody is skipped, and nobody is told wrongly."""
    await add_all(scene)
    scene.horizon.faults.add(Fault(path_prefix="/accounts", status=503, times=25, skip=6))
    scene.horizon.faults.add(Fault(path_prefix="/", status=503, times=5))
    async with polling(scene) as here, recording(scene):
        done = await here.once()
        assert (done["told"], done["whole"]) == (WALLETS, True)
        await until_stored(scene)


async def test_one_round_does_not_wait_for_ever(scene: Scene) -> None:
    """A Horizon that stays away is Unavailable when the patience is at its end."""
    await add_all(scene)
    scene.horizon.faults.add(Fault(path_prefix="/", status=503, times=100_000, skip=1))
    async with polling(scene) as here:
        with pytest.raises(Unavailable):
            await here.once(patience_s=0.5)


async def test_one_wallet_that_cannot_be_read_holds_up_nobody(scene: Scene) -> None:
    """It is left to the next round, and named; the others are told."""
    await add_all(scene)
    scene.horizon.faults.add(Fault(path_prefix=f"/accounts/{scene.account(2)}", status=504, times=100_000))
    async with polling(scene) as here:
        done = await here.once()
        assert (done["told"], done["left"], done["left_named"]) == (WALLETS - 1, 1, [scene.account(2)])
        assert not done["whole"]
        scene.horizon.faults.clear()
        again = await here.once()
        assert (again["told"], again["whole"]) == (1, True)


async def test_a_state_that_makes_no_sense_is_a_dead_letter(scene: Scene) -> None:
    """It is kept with its reason, the round says that it is not whole, and the others are told."""
    await add_all(scene)
    body = b'{"account_id": "' + scene.account(2).encode() + b'", "balances": 7}'
    ledger = str(scene.chain.latest.sequence)
    scene.horizon.faults.add(
        Fault(
            path_prefix=f"/accounts/{scene.account(2)}",
            status=200,
            body=body,
            headers={"Latest-Ledger": ledger},
            times=100_000,
        )
    )
    async with polling(scene) as here:
        done = await here.once()
    assert (done["told"], done["refused"], done["whole"]) == (WALLETS - 1, 1, False)
    [letter] = await scene.connection.fetch("select reason, key from public.dead_letters")
    assert (letter["reason"], letter["key"].decode()) == ("malformed balances", scene.account(2))


async def test_a_replica_that_is_behind_what_is_stored_is_asked_again(scene: Scene) -> None:
    """A state of a ledger before the stored version says nothing: it is read again until it is new enough."""
    await add_all(scene)
    async with polling(scene) as here, recording(scene):
        for wallet in range(WALLETS):
            scene.pay(wallet, 5)
        scene.close()
        await here.once()
        await until_stored(scene)
        scene.horizon.faults.add(Fault(path_prefix="/accounts/", lag_ledgers=1, times=WALLETS + 3))
        done = await here.once()
        assert (done["told"], done["unchanged"], done["whole"]) == (0, WALLETS, True)


async def test_a_baseline_is_of_no_ledger_before_the_round(scene: Scene) -> None:
    """What came before the wallet's row is baseline: a replica that is behind shows less, and the next round would take
    the rest for new money.
    """
    scene.pay(0, 50)
    scene.close()
    await scene.add_wallet(0)
    scene.horizon.faults.add(Fault(path_prefix=f"/accounts/{scene.account(0)}", lag_ledgers=1, times=2))
    async with polling(scene) as here:
        done = await here.once()
    assert (done["told"], done["whole"]) == (1, True)
    assert [fact.balance_stroops for fact in await scene.facts_of(0)] == [150 * UNIT]


async def test_a_network_that_was_reset_is_for_a_person(scene: Scene) -> None:
    """What is stored is far ahead of the source's newest ledger: nothing that it says can be true of that network."""
    await scene.add_wallet(0)
    async with polling(scene) as here:
        await here.once()
        fact = await scene.until_told(0, units=100)
        await scene.store(replace(fact, ledger=Ledger(fact.ledger + 1_000_000)))
        with pytest.raises(Fatal, match="the network was reset"):
            await here.once()


async def test_another_network_is_for_a_person(scene: Scene) -> None:
    """A Horizon of another network is said before anything is read, by a service too."""
    await scene.add_wallet(0)
    async with polling(scene) as here:
        mainnet = Poll(
            replace(here.parts, network=Network.MAINNET, metrics=Metrics()), here.store, PollPace(), Steps(console=None)
        )
        with pytest.raises(Fatal, match="STELLAR_NETWORK"):
            await mainnet.once(patience_s=5)
        with pytest.raises(Fatal, match="STELLAR_NETWORK"):
            await mainnet.run()
    assert await scene.read() == []
