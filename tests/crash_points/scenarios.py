"""What must go on around a process so that it comes by a point: its pace, its environment, and what is done to it."""

import importlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.crash_points import urges
from tests.crash_points.nursery import Life
from tests.crash_points.scene import World

# Every life looks, tries again and gives up sooner than in production, so that a kill takes a moment and not minutes.
PACE: Final[Mapping[str, float]] = {
    "producers.stream.CHECK_S": 0.3,
    "producers.waking.AGAIN_S": 0.05,
    "producers.waking.AGAIN_S_MAX": 0.3,
    "producers.wallet_feed.REQUESTS_POLL_S": 0.3,
    "producers.store.ALIVE_S": 0.3,
    "producers.store.AGAIN_S": 0.1,
    "producers.reader.LAGGING_WAIT_S": 0.05,
    "producers.reader.FAILED_WAIT_S_MAX": 0.5,
    "producers.asking.RETRY_WAIT_S_MAX": 0.1,
    "producers.asking.RETRY_JITTER_S": 0.05,
    "producers.asking.PAUSE_S": 0.3,
    "producers.publisher.AGAIN_S_MAX": 0.2,
    "consumer.loop.RECONNECT_DELAY_S": 0.1,
    "consumer.loop.SILENT_AFTER_S": 0.3,
    "consumer.outbox.FAILED_RETRY_S": 0.1,
    "consumer.starting.MIGRATED_CHECK_S": 0.1,
    "consumer.waits.DUE_EVERY_S": 0.2,
    "consumer.waits.EXPIRED_EVERY_S": 0.3,
    "schema.service.database.AGAIN_S_MAX": 0.2,
    "schema.service.kafka._ABANDON_STEP_S": 0.1,
}
HASTE_S: Final = 0.0  # no time at all: a deadline that a fast machine might meet would be a matter of luck

Urge = Callable[[World, Life, str], Coroutine[Any, Any, None]]  # is cancelled when the process has died


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`urge` is done to the process while it lives; `constants` and `environment` are its own."""

    urge: Urge
    constants: Mapping[str, float] = field(default_factory=dict)
    environment: Callable[[World], Mapping[str, str]] = lambda _world: {}
    prepare: Callable[[World], Awaitable[None]] | None = None  # before it starts
    within_s: float = 15.0  # not passed within this it is tried once more
    hits_max: int = 3  # which pass it dies at is drawn from so many; 1 where a life passes once
    has_faults: bool = False  # in Horizon: they end with the life, or they would pile up


def _elsewhere(**changed: str) -> Callable[[World], Mapping[str, str]]:
    return lambda _world: changed


def _not_migrated(world: World) -> Mapping[str, str]:
    """The server's own database, which has no tables of ours."""
    name = world.stage.database_url.partition("@/")[2].partition("?")[0]
    return {"DATABASE_URL": world.stage.database_url.replace(f"@/{name}?", "@/postgres?")}


def _hasty(*names: str) -> dict[str, float]:
    return dict.fromkeys(names, HASTE_S)


_HASTY_STOP: Final = _hasty(
    "producers.publisher.STOP_WITHIN_S", "consumer.outbox.STOP_DEADLINE_S", "consumer.loop.STOP_DEADLINE_S"
)
SCENARIOS: Final[Mapping[str, Scenario]] = {
    "payments": Scenario(urge=urges.nothing),
    "portions": Scenario(urge=urges.nothing, constants={"producers.publisher.FACTS_AT_ONCE": 2}),
    "stop": Scenario(urge=urges.stop, hits_max=1),
    "stop_at_work": Scenario(urge=urges.stop_at_work, hits_max=1),
    "connections_lost": Scenario(urge=urges.lose_connections),
    "wallets_locked": Scenario(urge=urges.lock_wallets, hits_max=1),
    "wallets_spoken_of": Scenario(urge=urges.speak_of_wallets),
    "offers_crossed": Scenario(urge=urges.cross_offers),
    "account_puzzling": Scenario(urge=urges.puzzle, hits_max=1, has_faults=True),
    "read_only": Scenario(urge=urges.read_only),
    "source_troubles": Scenario(urge=urges.source_troubles, has_faults=True),
    "source_silent": Scenario(urge=urges.nothing, prepare=urges.silence_source, has_faults=True),
    "push_broken": Scenario(urge=urges.nothing, prepare=urges.break_push, has_faults=True),
    "source_behind": Scenario(
        urge=urges.nothing,
        constants={"producers.history.REPLICA_LAG_LEDGERS": -(10**9), "producers.history.LAGGING_WAIT_S": 0.05},
    ),
    "census": Scenario(
        urge=urges.nothing,
        constants={"producers.census.SINGLY_MAX": 2},
        environment=lambda world: {"STREAM_NAME": f"census-{world.rng.getrandbits(32)}"},  # a first start each time
        hits_max=1,
    ),
    "quiet": Scenario(
        urge=urges.nothing, constants={"consumer.loop.SILENT_AFTER_S": 0.0, "consumer.loop.POLL_TIMEOUT_MS": 1}
    ),
    "outbox_held": Scenario(urge=urges.hold_outbox),
    "batch_stalled": Scenario(urge=urges.stall_batch, hits_max=1),
    "capped": Scenario(urge=urges.pay_capped),
    "put_back": Scenario(urge=urges.put_back, hits_max=1, within_s=40.0),
    "no_broker": Scenario(urge=urges.nothing, environment=_elsewhere(KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")),
    "not_migrated": Scenario(urge=urges.nothing, environment=_not_migrated),
    "hasty_start": Scenario(urge=urges.nothing, constants=_hasty("schema.service.kafka.START_WITHIN_S")),
    "hasty_send": Scenario(
        urge=urges.nothing, constants=_hasty("producers.publisher.ACKS_WITHIN_S", "consumer.outbox.SEND_DEADLINE_S")
    ),
    "hasty_stop": Scenario(urge=urges.stop_at_work, hits_max=1, constants=_HASTY_STOP),
    "broker_frozen": Scenario(
        urge=urges.freeze_broker,
        hits_max=1,
        constants={**_HASTY_STOP, "producers.publisher.ACKS_WITHIN_S": 0.3, "consumer.outbox.SEND_DEADLINE_S": 0.3},
    ),
}


def missing_constants() -> list[str]:
    """The constants above that the code does not have."""
    named = {name for scenario in SCENARIOS.values() for name in scenario.constants} | PACE.keys()
    return [name for name in sorted(named) if not _is_there(*name.rsplit(".", 1))]


def _is_there(module: str, name: str) -> bool:
    return hasattr(importlib.import_module(module), name)
