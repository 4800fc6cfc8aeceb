"""What the producers read from the environment."""

from typing import Annotated, Any, Final

from pydantic import Field, ValidationInfo, ValidatorFunctionWrapHandler, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import NoDecode

from producers.webhook import signatures as webhook_signatures
from schema.service.settings import (
    ChainSettings,
    DatabaseSettings,
    Host,
    IpNetworks,
    KafkaSettings,
    NetworkSettings,
    SecretUrl,
    ServiceSettings,
    Url,
    each_of,
    within_open_files,
)

READS_AT_ONCE_MAX: Final = 32
REQUESTS_PER_HOUR_MAX: Final = 1_000_000_000
WEBHOOKS_PER_S_MAX: Final = 1_000_000
RPC_STATES_AT_ONCE: Final = 800  # four calls


class ProducerSettings(KafkaSettings, ChainSettings, ServiceSettings):
    """What every producer needs."""

    balance_source: str = Field("horizon", pattern="^(horizon|rpc)$")
    """Where balances and payments are read: a Horizon, or a Stellar RPC ([deployment.md](deployment.md) compares)."""
    horizon_url: Url = Field("", validate_default=True)
    """The Horizon to ask, needed where BALANCE_SOURCE is `horizon`. It must be of STELLAR_NETWORK."""
    horizon_requests_per_hour: int = Field(3600, ge=0, le=REQUESTS_PER_HOUR_MAX)
    """How many requests one process may make; the public Horizon allows 3600. 0: no limit, for one's own."""
    rpc_url: SecretUrl = Field("", validate_default=True, repr=False)
    """The Stellar RPC to ask, needed where BALANCE_SOURCE is `rpc`. It must be of STELLAR_NETWORK, tell of classic
    operations too (EMIT_CLASSIC_EVENTS), and remember some days. Never logged, for it may carry a key."""
    rpc_requests_per_hour: int = Field(7200, ge=0, le=REQUESTS_PER_HOUR_MAX)
    """How many calls one process may make: it looks for events once a second, and needs as many again for the rest.
    0: no limit, for one's own."""
    reads_at_once: int = Field(16, ge=1, le=READS_AT_ONCE_MAX)
    """How many account states are read side by side. More than 64 connections are never opened. Of Stellar RPC it means
    nothing: up to 800 are, by four calls."""

    @field_validator("horizon_url", "rpc_url", mode="wrap")
    @classmethod
    def _needed_where_it_is_asked(cls, value: str, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> str:
        """The source's own address must be there; the other one may be left out."""
        if value:
            return str(check(value))
        if info.field_name == f"{info.data.get('balance_source')}_url":
            raise PydanticCustomError("missing", "Field required")
        return ""

    @property
    def requests_per_hour(self) -> int:
        """Of the source that is asked."""
        return self.rpc_requests_per_hour if self.balance_source == "rpc" else self.horizon_requests_per_hour

    @property
    def states_at_once(self) -> int:
        """How many reads of states may be under way."""
        return RPC_STATES_AT_ONCE if self.balance_source == "rpc" else self.reads_at_once


class StreamSettings(ProducerSettings):
    """What the stream needs beyond that."""

    stream_name: str = Field("stream", pattern="^[A-Za-z0-9_.-]{1,64}$")
    """Whose cursor: two streams side by side have two names. One that never ran begins at the newest ledger."""
    stream_idle_drain_s: float = Field(10.0, ge=0.1, le=3600)
    """After so many seconds the stream looks by itself, in case no wake-up comes. Each look is one request."""
    stream_changes: bool = True
    """Follow Horizon's effects beside its payments, for what no payment shows: offers crossed, claimable balances,
    clawbacks, pools, authorizations. They take up to a quarter of HORIZON_REQUESTS_PER_HOUR for themselves, and a
    quarter for reading what they touched. A Horizon of all Stellar has more of them than the public one lets through:
    `false` leaves them to the poller. Where payments show every change (Stellar RPC) it means nothing."""
    wallets_refresh_s: float = Field(30.0, ge=1, le=86_400)
    """After so many seconds all wallets' rows are read again, in case a notification was lost."""


class PollSettings(ProducerSettings):
    """What the poller needs beyond what every producer needs."""

    poll_interval_s: float = Field(300.0, ge=1, le=604_800)
    """A round begins so many seconds after the one before began, or at once when that one took longer."""


SigningSecrets = Annotated[tuple[Any, ...], NoDecode, each_of(webhook_signatures.parse_signing)]
SharedSecrets = Annotated[tuple[bytes, ...], NoDecode, each_of(webhook_signatures.parse_shared)]


class WebhookSettings(ProducerSettings):
    """What the webhooks need beyond what every producer needs."""

    webhook_host: Host = "127.0.0.1"
    """The address webhooks are taken in on; 0.0.0.0 is every one. The only one to open to the world, behind TLS."""
    webhook_port: int = Field(8081, ge=0, le=65_535)
    """The port they are taken in on. 0: a free one, said in the log."""
    webhook_secrets: SigningSecrets = Field((), repr=False)
    """Standard Webhooks secrets (`whsec_...`), with commas between: two of a sender while it changes. Never logged."""
    webhook_shared_secrets: SharedSecrets = Field((), repr=False)
    """Secrets of senders that cannot sign, sent as `Authorization: Bearer SECRET`: 32 characters or more, with commas
    between. Never logged. One of the two kinds must be set."""
    webhook_tolerance_s: int = Field(300, ge=1, le=3600)
    """How far the timestamp of a signature may be from our clock."""
    webhook_body_bytes_max: int = Field(65_536, ge=1024, le=16_777_216)
    """A larger body is refused."""
    webhook_requests_per_s: int = Field(1000, ge=1, le=WEBHOOKS_PER_S_MAX)
    """Requests a second from everybody, with two seconds' worth at once."""
    webhook_requests_per_address_per_s: int = Field(100, ge=1, le=WEBHOOKS_PER_S_MAX)
    """The same from one address (of IPv6: one /64). What it sends too many does not count towards everybody's."""
    webhook_connections_max: int = Field(500, ge=1, le=100_000, validate_default=True)
    """Connections at once. One too many ends the one that is longest without a request that proved itself."""
    webhook_connections_per_address_max: int = Field(100, ge=1, le=100_000)
    """The same of one address, but for WEBHOOK_TRUSTED_PROXIES."""
    webhook_headers_within_s: float = Field(10.0, ge=0.1, le=300)
    """A connection must bring a request's headers in this time from when it is made, or from their first byte on."""
    webhook_body_within_s: float = Field(10.0, ge=0.1, le=300)
    """And the body in this time from then on."""
    webhook_rest_s: float = Field(30.0, ge=0.1, le=3600)
    """How long a connection may rest between two requests."""
    webhook_answer_within_s: float = Field(20.0, ge=0.1, le=60)
    """What is not acked after this time is answered with 503; it goes on, and the sender says it again."""
    webhook_trusted_proxies: IpNetworks = ()
    """Addresses or networks of our own proxies, with commas between: behind them the limit of requests is that of the
    last other address in `X-Forwarded-For`. Nobody else's header counts."""

    _open_files = field_validator("webhook_connections_max")(within_open_files)

    @field_validator("webhook_shared_secrets")
    @classmethod
    def _proves_something(cls, value: tuple[bytes, ...], others: ValidationInfo) -> tuple[bytes, ...]:
        if not value and others.data.get("webhook_secrets") == ():
            raise ValueError("set it or WEBHOOK_SECRETS: else nobody could prove who sends a hint")
        return value


class WalletSettings(NetworkSettings, DatabaseSettings):
    """What `python -m producers wallets` needs: neither Kafka nor Horizon."""
