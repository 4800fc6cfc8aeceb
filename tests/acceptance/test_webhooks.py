"""`python -m producers webhooks` as a process: killed, stopped, refused."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from sandbox.children import Child
from sandbox.horizon_faults import Fault
from tests.acceptance.test_stream import environment, exit_code
from tests.integration.producers.conftest import scene as scene  # noqa: PLC0414 - the same world
from tests.integration.producers.scene import UNIT, Scene, until_true
from tests.integration.producers.webhook_scene import told
from tests.webhook_senders import SECRET, SHARED, Reply, Sender, naming

KILLS = int(os.environ.get("WEBHOOK_KILLS", "5"))
WALLETS = 3


class House:
    """The process, and where its door is now."""

    def __init__(self, scene: Scene, folder: Path, **changed: str) -> None:
        self.port = 0
        self._said = 0
        self._senders: list[Sender] = []
        values = {"WEBHOOK_PORT": "0", "WEBHOOK_SECRETS": SECRET, "WEBHOOK_SHARED_SECRETS": SHARED, **changed}
        self._environment = environment(scene, **values)
        self._folder = folder
        self.child = self._new()

    async def start(self) -> None:
        """Up to where the door is open."""
        await self.child.start()
        await until_true(self._is_open, what="the door is open")

    async def restart(self) -> None:
        """Kill -9, and start again, at another port."""
        await self.child.kill()
        self.child = self._new()
        await self.start()

    def sender(self) -> Sender:
        self._senders.append(Sender(host="127.0.0.1", port=self.port))
        return self._senders[-1]

    async def close(self) -> None:
        """Kill it, and let its senders go."""
        await self.child.kill()
        for sender in self._senders:
            sender.close()
        await asyncio.sleep(0)

    def _new(self) -> Child:
        return Child("webhooks", ["producers", "webhooks"], self._environment, self._folder)

    def _is_open(self) -> bool:
        assert self.child.is_running, self.child.last_words()
        doors = re.findall(rb'"door": ?"http://127.0.0.1:(\d+)"', self.child.log.read_bytes())
        if len(doors) <= self._said:
            return False
        self._said, self.port = len(doors), int(doors[-1])
        return True


@asynccontextmanager
async def house(scene: Scene, folder: Path, **changed: str) -> AsyncIterator[House]:
    """The process for the length of the block."""
    found = House(scene, folder, **changed)
    try:
        await found.start()
        yield found
    finally:
        await found.close()


async def test_a_death_between_the_ack_and_the_id_loses_nothing(scene: Scene, tmp_path: Path) -> None:
    """Killed when the fact is acked and its id not yet noted: the sender's next attempt is done again, with the same
    fact, and only then is the id refused.
    """
    await told(scene, 0)
    scene.pay(0, 50)
    scene.close()
    body = naming(scene.account(0))
    async with house(scene, tmp_path) as running:
        other = await asyncpg.connect(scene.database_url)
        holding = other.transaction()
        await holding.start()
        await other.execute("lock table public.webhook_ids in exclusive mode")  # may be read, not written
        attempt = asyncio.create_task(running.sender().hint(body, webhook_id="msg_once"))
        await scene.until(bool, what="the fact is acked")
        await running.child.kill()
        with contextlib.suppress(ConnectionError):
            assert (await attempt).status == 0, "answered before the id was noted"
        await holding.rollback()
        await other.close()
        assert await scene.connection.fetchval("select count(*) from public.webhook_ids") == 0
        await running.restart()
        sender = running.sender()
        assert (await sender.hint(body, webhook_id="msg_once")).status == 200
        assert (await sender.hint(body, webhook_id="msg_once")).status == 409
        sender.close()
    facts = await scene.until(lambda facts: len(facts) == 2, what="it was told again")
    assert len({fact.event_id for fact in facts}) == 1


async def test_killed_at_any_time_every_webhook_is_done_in_the_end(scene: Scene, tmp_path: Path) -> None:
    """Payments are announced by a sender that tries until it hears 200 or 409, while the process is killed again and
    again: every payment is told, every id is noted once, and nothing that the chain did not have is told.
    """
    for wallet in range(WALLETS):
        await told(scene, wallet)
    done: list[int] = []

    async def announce(wallet: int, number: int) -> None:
        body = naming(scene.account(wallet))
        for _ in range(1_000):
            with contextlib.suppress(ConnectionError):
                status = (await running.sender().hint(body, webhook_id=f"msg_{number}_{wallet}")).status
                if status in (200, 409):
                    done.append(number)
                    break
            await asyncio.sleep(0.05)

    async with house(scene, tmp_path) as running:
        announced = []
        for number in range(KILLS):
            for wallet in range(WALLETS):
                scene.pay(wallet, 1)
            scene.close()
            announced += [asyncio.create_task(announce(wallet, number)) for wallet in range(WALLETS)]
            await asyncio.sleep(0.013 * number)
            await running.restart()
        await asyncio.wait_for(asyncio.gather(*announced), 60)
    assert len(done) == KILLS * WALLETS
    assert await scene.connection.fetchval("select count(*) from public.webhook_ids") == KILLS * WALLETS
    for wallet in range(WALLETS):
        await scene.until_told(wallet, units=100 + KILLS)
        facts = await scene.facts_of(wallet)
        operations = {each.operation_id: each.amount_stroops for fact in facts for each in fact.movements or ()}
        assert sum(operations.values()) == KILLS * UNIT
        assert all(fact.balance_stroops <= (100 + KILLS) * UNIT for fact in facts)


async def test_a_stop_finishes_what_is_in_hand(scene: Scene, tmp_path: Path) -> None:
    """SIGTERM while a read takes its time: the webhook is answered with 200, nobody new is let in, exit code 0."""
    await told(scene, 0)
    scene.horizon.faults.add(Fault(path_prefix=f"/accounts/{scene.account(0)}", delay_s=4.0))
    async with house(scene, tmp_path) as running:
        in_hand = asyncio.create_task(running.sender().hint(naming(scene.account(0))))
        await until_true(lambda: scene.horizon.faults._waiting == [], what="the read has begun")
        stopping = asyncio.create_task(running.child.stop())
        await until_true(lambda: refused(running.port), what="the door is closed")
        assert not in_hand.done()
        reply: Reply = await in_hand
        assert reply.status == 200
        await stopping
        assert await exit_code(running.child) == 0
        assert SECRET not in running.child.log.read_text()
        assert SHARED not in running.child.log.read_text()


async def refused(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return True
    writer.transport.abort()
    return False


async def test_another_networks_horizon_is_refused(scene: Scene, tmp_path: Path) -> None:
    """Nobody is read before the source has said that it is of our network: exit code 2, with the remedy."""
    values = environment(scene, STELLAR_NETWORK="mainnet", WEBHOOK_PORT="0", WEBHOOK_SECRETS=SECRET)
    child = Child("webhooks", ["producers", "webhooks"], values, tmp_path)
    await child.start()
    assert await exit_code(child) == 2
    assert "set one of the two right" in child.last_words()


async def test_without_a_secret_it_does_not_start(scene: Scene, tmp_path: Path) -> None:
    """Nobody could prove anything: exit code 2, and both variables are named."""
    child = Child("webhooks", ["producers", "webhooks"], environment(scene), tmp_path)
    await child.start()
    assert await exit_code(child) == 2
    assert "WEBHOOK_SHARED_SECRETS: set it or WEBHOOK_SECRETS" in child.last_words()
