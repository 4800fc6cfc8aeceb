"""What happens to Kafka's own memory: a group's offsets wiped, the facts' topic deleted and made anew."""

import asyncio

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.admin import DeleteGroupsRequest

from sandbox import ledger_evidence
from sandbox.torture.arena import GROUP, SESSION_TIMEOUT_MS, Arena
from sandbox.torture.plan import Step
from sandbox.torture.programs import Program
from sandbox.torture.registry import fault
from schema import topics
from schema.service import kafka

_POLL_S = 0.2
_PATIENCE_S = 60.0
_EVEN = 0.5
_LEDGERS_BEFORE = 120  # the loss is noticed after minutes at most


@fault("offsets-wiped", seconds=(0, 2), costs_s=3)
async def offsets_wiped(arena: Arena, step: Step) -> None:
    """The consumers' group is deleted with its offsets while nobody is in it: everything is read again."""
    were = await _put_down(arena.consumers())
    await asyncio.sleep(step.seconds + SESSION_TIMEOUT_MS / 1000)
    admin = AIOKafkaAdminClient(**kafka.connection(arena.kafka_settings))
    await admin.start()
    try:
        name = arena.consumers()[0].environment["CONSUMER_GROUP"]
        for _ in range(int(_PATIENCE_S / _POLL_S)):
            coordinator = await admin.find_coordinator(name)
            answer = await admin._client.send(coordinator, DeleteGroupsRequest([name]))  # noqa: SLF001 - it has no word for it
            if all(code in (0, _GROUP_UNKNOWN) for _, code in answer.results):
                break
            arena.say(f"the group is not deleted yet: {[for_code(code).__name__ for _, code in answer.results]}")
            await asyncio.sleep(_POLL_S)
    finally:
        await admin.close()
        _want(were)


_GROUP_UNKNOWN = 69


@fault("topic-recreated", seconds=(0, 2), costs_s=8)
async def topic_recreated(arena: Arena, step: Step) -> None:
    """The facts' topic is deleted, under running consumers or not; then what docs/operations.md says is done."""
    were = await _put_down(arena.streams())
    if step.chance < _EVEN:
        were += await _put_down(arena.consumers())
    before = await _ledger_before(arena)
    settings = arena.kafka_settings
    arena.lost_epochs.append(await ledger_evidence.read_epoch(settings))
    admin = AIOKafkaAdminClient(**kafka.connection(settings))
    await admin.start()
    try:
        await admin.delete_topics([settings.balance_events_topic])
        for _ in range(int(_PATIENCE_S / _POLL_S)):
            if settings.balance_events_topic not in await admin.list_topics():
                break
            await asyncio.sleep(_POLL_S)
    finally:
        await admin.close()
    await asyncio.sleep(step.seconds)
    await topics.ensure(settings, say=lambda _: None)
    were += await _put_down(arena.consumers())
    arena.groups += 1
    for consumer in arena.consumers():
        consumer.environment["CONSUMER_GROUP"] = f"{GROUP}-{arena.groups}"
    await _read_again(arena, before, were)


async def _ledger_before(arena: Arena) -> int:
    """A ledger before the loss: before everything that is told and not yet stored."""
    closed = [int(ledger) for ledger in await arena.ask_chain("ledgers")]
    saved = await arena.pool.fetchval("select min(ledger) from stream_cursors")
    stored = await arena.pool.fetchval(
        "select min(balance_ledger) from stellar_wallets where balance_ledger >= $1", max(closed) - 10 * _LEDGERS_BEFORE
    )
    return max(min(closed), min(max(closed) - _LEDGERS_BEFORE, saved or 0, stored or 0))


async def _read_again(arena: Arena, before: int, were: list[Program]) -> None:
    """`--from-ledger` once: until the stream has told what it read again and saved its cursor."""
    stream = arena.streams()[0]
    asked = list(stream.arguments)
    stream.arguments = [*asked, "--from-ledger", str(before)]
    since = await arena.pool.fetchval("select pg_catalog.clock_timestamp()")
    _want(were)
    stream.wanted = True
    try:
        for _ in range(int(_PATIENCE_S / _POLL_S)):
            if await _has_saved(arena, stream.environment["STREAM_NAME"], since):
                return
            await asyncio.sleep(_POLL_S)
        raise TimeoutError(f"the stream did not read again from ledger {before} within {_PATIENCE_S:.0f} s")
    finally:
        stream.arguments = asked


async def _has_saved(arena: Arena, stream_name: str, since: object) -> bool:
    try:
        query = "select updated_at > $2 from stream_cursors where stream_name = $1"
        return bool(await arena.pool.fetchval(query, stream_name, since))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False


async def _put_down(programs: list[Program]) -> list[Program]:
    """Those that were wanted."""
    were = [program for program in programs if program.wanted]
    await asyncio.gather(*(program.put_down() for program in programs))
    return were


def _want(programs: list[Program]) -> None:
    for program in programs:
        program.wanted = True
