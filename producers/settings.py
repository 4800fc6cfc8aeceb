"""What the producers read from the environment."""

from typing import Final

from pydantic import Field

from schema.service.settings import ChainSettings, KafkaSettings, ServiceSettings, Url

READS_AT_ONCE_MAX: Final = 32


class ProducerSettings(KafkaSettings, ChainSettings, ServiceSettings):
    """What every producer needs."""

    horizon_url: Url
    """The Horizon to ask. It must be of STELLAR_NETWORK."""
    horizon_requests_per_hour: int = Field(3600, ge=0)
    """How many requests one process may make; the public Horizon allows 3600. 0: no limit, for one's own."""
    reads_at_once: int = Field(16, ge=1, le=READS_AT_ONCE_MAX)
    """How many account states are read side by side. More than 64 connections are never opened."""


class StreamSettings(ProducerSettings):
    """What the stream needs beyond that."""

    stream_name: str = Field("stream", pattern="^[A-Za-z0-9_.-]{1,64}$")
    """Whose cursor: two streams side by side have two names. One that never ran begins at the newest ledger."""
    stream_idle_drain_s: float = Field(10.0, ge=0.1, le=3600)
    """After so many seconds the stream looks by itself, in case no wake-up comes. Each look is one request."""
    wallets_refresh_s: float = Field(30.0, ge=1, le=86_400)
    """After so many seconds all wallets' rows are read again, in case a notification was lost."""
