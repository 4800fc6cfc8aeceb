"""What producers are put together from."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from producers.metrics import Metrics
from producers.publisher import Publisher
from producers.source import Source
from producers.store import Store
from producers.wallets import MOVEMENTS_MAX
from schema.service.readiness import Readiness
from schema.stellar import Asset, Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a stream works with."""

    network: Network
    asset: Asset
    source: Source
    store: Store
    publisher: Publisher
    readiness: Readiness
    metrics: Metrics
    clock: Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often things are looked at when nothing wakes the stream, and how much at once."""

    idle_drain_s: float = 10.0
    wallets_refresh_s: float = 30.0
    reads_at_once: int = 16
    movements_max: int = MOVEMENTS_MAX
    changes: bool = True  # whether effects are followed beside the payments
    requests_per_hour: int = 0  # of which changes have their shares; 0: no limit
