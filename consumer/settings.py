"""The consumer's environment, with the reason for each default."""

from datetime import timedelta

from pydantic import Field, model_validator

from consumer.wallet import Policy
from schema.service.settings import (
    Addresses,
    AddressText,
    Amount,
    ChainSettings,
    DatabaseSettings,
    KafkaSettings,
    NetworkSettings,
    ServiceSettings,
    Settings,
)
from schema.stellar import NOTHING, Address, Malformed


class PolicySettings(Settings):
    """The policy of a wallet that has none of its own. 0 for a maximum or a cap is no limit."""

    auto_deposit_enabled: bool = False
    """Whether to deposit at all. Nobody's money moves unless somebody said so."""
    auto_deposit_paused: bool = False
    """Hold back for a while: what comes in meanwhile is deposited within a minute after the pause."""
    auto_deposit_min_deposit: Amount = NOTHING
    """No command is for less. What is below it waits for more."""
    auto_deposit_max_deposit: Amount = NOTHING
    """No command is for more; the rest follows when it has ended. 0: no limit."""
    auto_deposit_daily_cap: Amount = NOTHING
    """No wallet is commanded more in one UTC day; the rest follows on the next. 0: no limit."""
    auto_deposit_reserve: Amount = NOTHING
    """No deposit leaves less than this in the wallet."""
    auto_deposit_deposit_existing: bool = False
    """Whether what is there at the first sight of a wallet counts as new money."""
    auto_deposit_excluded_sources: Addresses = frozenset()
    """What comes from these is never deposited: the vault's own withdrawals, refunds, fee funding."""
    auto_deposit_vault_address: AddressText | None = None
    """Named in each command as where to deposit; where unset the executor must know."""
    auto_deposit_command_ttl_s: int = Field(300, ge=10, le=86_400)
    """Seconds until a command expires: long enough for an executor's restart."""
    auto_deposit_retry_delay_s: int = Field(30, ge=1, le=86_400)
    """Seconds from a failure to the next attempt. Doubles with every failure in a row, up to a day."""
    auto_deposit_attempts_max: int = Field(5, ge=1, le=100)
    """After so many failed attempts in a row the wallet waits for new money or an operator."""

    @model_validator(mode="after")
    def _maximum_reaches_minimum(self) -> "PolicySettings":
        if 0 < self.auto_deposit_max_deposit < self.auto_deposit_min_deposit:
            raise Malformed(
                self.auto_deposit_max_deposit,
                expected="stroops of at least AUTO_DEPOSIT_MIN_DEPOSIT, or 0 for no maximum",
                field="AUTO_DEPOSIT_MAX_DEPOSIT",
            )
        return self

    @property
    def policy(self) -> Policy:
        vault = self.auto_deposit_vault_address
        return Policy(
            enabled=self.auto_deposit_enabled,
            paused=self.auto_deposit_paused,
            min_deposit_stroops=self.auto_deposit_min_deposit,
            max_deposit_stroops=self.auto_deposit_max_deposit,
            daily_cap_stroops=self.auto_deposit_daily_cap,
            reserve_stroops=self.auto_deposit_reserve,
            deposit_existing=self.auto_deposit_deposit_existing,
            excluded_sources=self.auto_deposit_excluded_sources,
            vault_address=None if vault is None else Address(vault),
            command_ttl=timedelta(seconds=self.auto_deposit_command_ttl_s),
            retry_delay=timedelta(seconds=self.auto_deposit_retry_delay_s),
            attempts_max=self.auto_deposit_attempts_max,
        )


class ReleaseSettings(DatabaseSettings, NetworkSettings):
    """What `python -m consumer release` reads."""


class ConsumerSettings(PolicySettings, ChainSettings, KafkaSettings, ServiceSettings):
    """Everything `python -m consumer` reads."""

    consumer_group: str = Field("stellar-auto-deposit", max_length=255)
    """Who shares the partitions. A name that never ran reads both topics from their beginning."""
    batch_events_max: int = Field(2_000, ge=1, le=20_000)
    """Records in one transaction. Larger ones only hold locks longer."""
    outbox_batch_max: int = Field(500, ge=1, le=10_000)
    """Commands, and dead letters, that the relay sends before it marks them."""
    group_session_timeout_ms: int = Field(10_000, ge=1_000, le=1_800_000)
    """How soon the others take over from a consumer that died. Brokers allow 6,000 to 1,800,000 by themselves."""
