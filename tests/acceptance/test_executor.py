"""The executor as a real process between a broker and a Horizon: killed at random, it deposits each command once."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from sandbox.children import Child
from sandbox.executor_store import Store
from schema import deposit_command, deposit_result
from schema.deposit_command import DepositCommand
from schema.deposit_result import DepositResult, ResultStatus
from schema.service import kafka
from schema.service.kafka import Record
from schema.stellar import Stroops
from tests.fixtures_brokers import Broker
from tests.integration.executor_world import UNIT, Surroundings, surroundings
from tests.topics import acked
from tests.waiting import until

WALLETS = 12
PARTITIONS = 6
SEND_DEADLINE_S = 30.0


class Workplace:
    """The topics of one test, and the executor that works between them and the chain."""

    def __init__(self, broker: Broker, around: Surroundings, commands: str, results: str) -> None:
        self.around = around
        self.results: dict[str, list[bytes]] = defaultdict(list)
        self._broker = broker
        self._commands, self._results = commands, results
        self._producer = kafka.producer(broker.settings, client_id="test")
        self._reader = kafka.consumer(broker.settings, results, client_id="test", group_id=None)
        wallets = around.horizon.people.wallets
        secrets = [{"account_id": key.account_id, "secret": key.secret} for key in wallets]
        around.folder.mkdir(exist_ok=True)
        (around.folder / "secrets.json").write_bytes(orjson.dumps(secrets))

    def executor(self, **changed: str) -> Child:
        """`python -m sandbox.executor`, not yet started."""
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": self._broker.node.bootstrap_servers,
            "DEPOSIT_COMMANDS_TOPIC": self._commands,
            "DEPOSIT_RESULTS_TOPIC": self._results,
            "EXECUTOR_GROUP": f"executor.{self._commands}",
            "GROUP_SESSION_TIMEOUT_MS": "2000",
            "HORIZON_URL": self.around.horizon.url,
            "STELLAR_NETWORK": "testnet",
            "ASSET_ISSUER": self.around.horizon.people.asset.issuer,
            "EXECUTOR_FOLDER": str(self.around.folder / "executor"),
            "EXECUTOR_SECRETS_FILE": str(self.around.folder / "secrets.json"),
        }
        return Child("executor", ["sandbox.executor"], environment | changed, self.around.folder)

    async def open(self) -> None:
        await self._producer.start()
        await self._reader.start()

    async def close(self) -> None:
        await kafka.stop(self._producer, deadline_s=10)
        await kafka.stop_consumer(self._reader, deadline_s=10)

    async def order(self, *commands: DepositCommand) -> None:
        """Publish commands."""
        await self.say(*((deposit_command.key(command), deposit_command.encode(command)) for command in commands))

    async def say(self, *keys_and_values: tuple[bytes, bytes]) -> None:
        records = [Record(topic=self._commands, key=key, value=value) for key, value in keys_and_values]
        await kafka.send_all(self._producer, records, deadline_s=SEND_DEADLINE_S)

    async def told(self, count: int) -> dict[str, DepositResult]:
        """The results by command, once there are so many. Repetitions must be the same bytes under the same ce_id."""

        async def enough() -> bool:
            for record in await acked(self._reader):
                result = deposit_result.decode(record.value or b"")
                assert dict(record.headers)["ce_id"].decode() == result.result_id
                self.results[str(result.command_id)].append(record.value or b"")
            return len(self.results) >= count

        await until(enough, f"{count} results", deadline_s=120)
        assert all(len(set(values)) == 1 for values in self.results.values())
        return {command_id: deposit_result.decode(values[0]) for command_id, values in self.results.items()}


@pytest.fixture
async def workplace(broker: Broker, tmp_path: Path) -> AsyncIterator[Workplace]:
    """On each broker in turn."""
    commands, results = await broker.new_topic(PARTITIONS), await broker.new_topic(PARTITIONS)
    async with surroundings(tmp_path, wallets=WALLETS) as around:
        place = Workplace(broker, around, commands, results)
        await place.open()
        yield place
        await place.close()


async def test_commands_are_carried_out_through_twelve_kills(workplace: Workplace) -> None:
    """Five commands for each wallet, the executor killed at random again and again: each deposited once, in order."""
    around = workplace.around
    commands = [
        around.command(wallet=wallet, amount_stroops=Stroops((1 + number) * UNIT))
        for number in range(5)
        for wallet in range(WALLETS)
    ]
    rng = random.Random(5)  # noqa: S311 - when, not a secret
    executor = workplace.executor()
    await executor.start()
    for kill in range(12):
        await workplace.order(*commands[5 * kill : 5 * kill + 5])
        await workplace.told(5 * kill + 1)
        await asyncio.sleep(rng.uniform(0, 0.15))
        await executor.kill()
        await executor.start()
    told = await workplace.told(len(commands))
    await executor.stop()
    assert {result.status for result in told.values()} == {ResultStatus.SUCCEEDED}
    for wallet in range(WALLETS):
        assert around.deposits(wallet) == [number * UNIT for number in range(1, 6)]


async def test_what_is_no_command_is_refused_and_the_rest_goes_on(workplace: Workplace) -> None:
    """Bytes that are no command, and another content under a seen id, move nothing; what comes after is carried out."""
    around = workplace.around
    first, second = around.command(wallet=0), around.command(wallet=0, units=20)
    contradicting = orjson.dumps({**orjson.loads(deposit_command.encode(first)), "amount": "90.0000000"})
    key = deposit_command.key(first)
    executor = workplace.executor()
    await executor.start()
    await workplace.order(first)
    await workplace.say((key, b"not a command"), (key, contradicting))
    await workplace.order(first, second)
    await workplace.told(2)
    await executor.stop()
    assert around.deposits(0) == [10 * UNIT, 20 * UNIT]
    with Store(around.folder / "executor") as store:
        assert [command_id for command_id, _ in store.refused()] == ["?", str(first.command_id)]
    assert "REFUSED" in executor.log.read_text()


async def test_results_fail_and_vanish_as_told(workplace: Workplace) -> None:
    """Told to fail, it fails before anything moves; told to lose results, it deposits and says nothing."""
    around = workplace.around
    failing = workplace.executor(EXECUTOR_FAILURE_RATE="1")
    await failing.start()
    await workplace.order(around.command(wallet=0))
    (failed,) = (await workplace.told(1)).values()
    await failing.stop()
    assert failed.error is not None
    assert failed.error.code == "refused_by_operator"
    losing = workplace.executor(EXECUTOR_LOST_RESULT_RATE="1")
    await losing.start()
    await workplace.order(around.command(wallet=1))

    async def deposited() -> bool:
        return bool(around.deposits(1))

    await until(deposited, "the deposit whose result is lost")
    await losing.stop()
    assert around.deposits(0) == []
    assert len(await workplace.told(1)) == 1


async def test_a_bad_environment_is_named_and_refused(tmp_path: Path) -> None:
    """Without its settings it ends with code 2 and names every one that is missing."""
    executor = Child("executor", ["sandbox.executor"], {}, tmp_path)
    await executor.start()

    async def ended() -> bool:
        return not executor.is_running

    await until(ended, "the end of an executor without settings")
    words = executor.log.read_text()
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "HORIZON_URL", "EXECUTOR_FOLDER", "ASSET_ISSUER", "STELLAR_NETWORK"):
        assert f"{name} is not set" in words
