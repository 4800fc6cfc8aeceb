"""`python -m sandbox.executor`: carries out deposit commands on the chain, as docs/executor.md says one must."""

import asyncio
import contextlib
import random
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from uuid import UUID

import aiohttp
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from prometheus_client import CollectorRegistry, Counter, Gauge

from sandbox.executor_core import Carrier, Rules
from sandbox.executor_horizon import HorizonClient
from sandbox.executor_lines import Lines
from sandbox.executor_settings import ExecutorSettings
from sandbox.executor_signing import SecretsFile, signing
from sandbox.executor_store import Acceptance, FolderInUse, Store
from schema import cloud_events, deposit_command, deposit_result
from schema.deposit_command import DepositCommand
from schema.deposit_result import DepositResult
from schema.service import health, kafka, logs
from schema.service.settings import Unusable, read_environment
from schema.stellar import AccountId, Address, Malformed

log = structlog.get_logger(__name__)

CLIENT_ID = "sandbox-executor"
SOURCE = "/sandbox/executor"
POLL_MS = 200
PUBLISH_DEADLINE_S = 10.0
STOP_DEADLINE_S = 5.0
RETRY_S = 1.0


class Executor:
    """The process: commands in, each remembered before its offset is committed; results out."""

    def __init__(self, settings: ExecutorSettings, store: Store, registry: CollectorRegistry) -> None:
        self._settings = settings
        self._store = store
        self._producer: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()
        self._ready = False
        self._accepted = Counter("executor_commands", "Commands that arrived", ["acceptance"], registry=registry)
        self._results = Counter("executor_results", "Results that were published", ["status"], registry=registry)
        self._waiting = Gauge("executor_commands_waiting", "Commands not yet done", registry=registry)

    def unready(self) -> dict[str, str]:
        """What is missing, for the health page."""
        return {} if self._ready else {"kafka": "not connected yet"}

    async def run(self) -> None:
        """Work until cancelled. What was left over from before comes first."""
        vault = self._settings.executor_vault_address
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
            carrier = Carrier(
                memory=self._store,
                chain=HorizonClient(session, self._settings.horizon_url),
                sign=signing(self._settings.stellar_network, SecretsFile(self._settings.executor_secrets_file)),
                publish=self._publish,
                rules=Rules(
                    network=self._settings.stellar_network,
                    asset=self._settings.asset,
                    vault_address=Address(vault) if vault else None,
                    deposit_less=self._settings.executor_deposit_less,
                ),
                objection=self._objection,
            )

            async def carry_out(command_id: UUID) -> None:
                await asyncio.sleep(self._settings.executor_delay_s * self._chance("delay", command_id))
                result = await carrier.carry_out(command_id)
                log.info("done", command_id=str(command_id), status=str(result.status), ledger=result.ledger)

            lines = Lines(tasks, carry_out, wallets_at_once=self._settings.executor_wallets_at_once)
            self._waiting.set_function(lambda: lines.commands_waiting)
            for left_over in self._store.unreported():
                lines.add(left_over.account_id, left_over.command_id)
            async with self._subscribed() as consumer:
                while True:
                    batches = await consumer.getmany(timeout_ms=POLL_MS)
                    for partition, records in batches.items():
                        with self._store.together():
                            self._take_in(records, lines)
                        await self._commit(consumer, partition, records[-1].offset + 1)

    def _take_in(self, records: Iterable[ConsumerRecord[bytes, bytes]], lines: Lines) -> None:
        for record in records:
            value = record.value or b""
            try:
                cloud_events.check_version(record.headers, deposit_command.TYPE)
                command = deposit_command.decode(value)
            except Malformed as malformed:
                self._refuse("?", value, f"{record.topic}/{record.partition}/{record.offset}: {malformed}")
                continue
            acceptance = self._store.accept(command.command_id, command.account_id, value)
            self._accepted.labels(acceptance).inc()
            if acceptance is Acceptance.CONTRADICTION:
                self._refuse(str(command.command_id), value, "this id was seen before with another content")
                continue
            lines.add(command.account_id, command.command_id)  # seen before: its stored result is said again

    def _refuse(self, command_id: str, content: bytes, reason: str) -> None:
        self._store.refuse(command_id, content, reason)
        self._accepted.labels("refused").inc()
        log.error("REFUSED a command; nothing was deposited for it", command_id=command_id, reason=reason)

    def _objection(self, command: DepositCommand) -> str | None:
        fails = self._chance("fail", command.command_id) < self._settings.executor_failure_rate
        return "failing it, as told" if fails else None

    def _chance(self, what: str, command_id: UUID) -> float:
        """From 0 to 1, the same for a command however often it is asked."""
        return random.Random(f"{self._settings.executor_seed}|{what}|{command_id}").random()

    async def _publish(self, account_id: AccountId, result: DepositResult, content: bytes) -> None:
        if self._chance("lost", result.command_id) < self._settings.executor_lost_result_rate:
            log.warning("losing a result, as told", command_id=str(result.command_id))
            return
        record = kafka.Record(
            topic=self._settings.deposit_results_topic,
            key=account_id.encode(),
            value=content,
            headers=cloud_events.headers(
                type_=deposit_result.TYPE, id_=result.result_id, source=SOURCE, trace=result.command_id
            ),
        )
        while True:
            producer = await self._open_producer()
            try:
                await kafka.send_all(producer, [record], deadline_s=PUBLISH_DEADLINE_S)
            except kafka.Undelivered as undelivered:
                command_id, reason = str(result.command_id), str(undelivered)
                log.warning("the result is not acknowledged yet", command_id=command_id, reason=reason)
                await self._drop_producer(producer)
                await asyncio.sleep(RETRY_S)
            else:
                self._results.labels(result.status).inc()
                return

    async def _open_producer(self) -> AIOKafkaProducer:
        """The one producer, started; waits for the broker as long as it takes."""
        async with self._opening:
            while self._producer is None:
                producer = kafka.producer(self._settings, client_id=CLIENT_ID)
                try:
                    await producer.start()
                    self._producer = producer
                except KafkaError as error:
                    log.warning("no broker to publish to yet", reason=repr(error))
                    await kafka.stop(producer, deadline_s=STOP_DEADLINE_S)
                    await asyncio.sleep(RETRY_S)
            return self._producer

    async def _drop_producer(self, producer: AIOKafkaProducer) -> None:
        """After an unclear send only a new producer is to be trusted."""
        async with self._opening:
            if self._producer is producer:
                self._producer = None
                await kafka.stop(producer, deadline_s=STOP_DEADLINE_S)

    @contextlib.asynccontextmanager
    async def _subscribed(self) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer of the commands; waits for the broker as long as it takes."""
        while True:
            consumer = kafka.consumer(
                self._settings,
                self._settings.deposit_commands_topic,
                client_id=CLIENT_ID,
                group_id=self._settings.executor_group,
                session_timeout_ms=self._settings.group_session_timeout_ms,
                heartbeat_interval_ms=self._settings.group_session_timeout_ms // 4,
            )
            try:
                await consumer.start()
                break
            except KafkaError as error:
                log.warning("no broker to read from yet", reason=repr(error))
                await kafka.stop_consumer(consumer, deadline_s=STOP_DEADLINE_S)
                await asyncio.sleep(RETRY_S)
        self._ready = True
        try:
            yield consumer
        finally:
            self._ready = False
            await kafka.stop_consumer(consumer, deadline_s=STOP_DEADLINE_S)
            if self._producer is not None:
                await kafka.stop(self._producer, deadline_s=STOP_DEADLINE_S)

    @staticmethod
    async def _commit(consumer: AIOKafkaConsumer, partition: TopicPartition, offset: int) -> None:
        """Say that everything before this offset is remembered. Where that fails it comes again, which does no harm."""
        try:
            await consumer.commit({partition: offset})
        except (CommitFailedError, IllegalStateError, KafkaError) as error:
            log.warning("offsets are not committed", partition=partition.partition, reason=repr(error))


async def serve(settings: ExecutorSettings) -> None:
    """Run until a signal; FolderInUse when another one is at work on the same memory."""
    registry = CollectorRegistry()
    with Store(settings.executor_folder) as store:
        executor = Executor(settings, store, registry)
        page = await health.start(
            host=settings.http_host, port=settings.http_port, registry=registry, unready=executor.unready
        )
        work = asyncio.ensure_future(executor.run())
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, work.cancel)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await work
        finally:
            await page.cleanup()


def main() -> None:
    """Read the environment and work."""
    settings = read_environment(ExecutorSettings)
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    try:
        asyncio.run(serve(settings))
    except (FolderInUse, Unusable) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
