"""The executor's environment."""

from pathlib import Path

from pydantic import Field

from schema.service.settings import AddressText, ChainSettings, Host, KafkaSettings, Url


class ExecutorSettings(KafkaSettings, ChainSettings):
    """Where the sandbox's executor works, and how it misbehaves when it is told to."""

    horizon_url: Url
    executor_folder: Path  # its memory: never share it, never lose it
    executor_secrets_file: Path  # [{"account_id", "secret"}, ...]
    executor_group: str = "sandbox-executor"
    group_session_timeout_ms: int = Field(6_000, ge=1_000, le=1_800_000)  # how long a killed one keeps its partitions
    executor_vault_address: AddressText | None = None  # for commands that name none
    executor_deposit_less: bool = False
    executor_wallets_at_once: int = Field(16, ge=1, le=1000)  # each waits for a ledger most of its time

    executor_seed: int = 1  # decides which commands the next three hit
    executor_failure_rate: float = Field(0.0, ge=0.0, le=1.0)  # commands that fail before anything is signed
    executor_lost_result_rate: float = Field(0.0, ge=0.0, le=1.0)  # results that nobody is ever told
    executor_delay_s: float = Field(0.0, ge=0.0, le=3600.0)  # up to so long before each command

    http_host: Host = "127.0.0.1"
    http_port: int = Field(0, ge=0, le=65_535)
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$")
    log_format: str = Field("json", pattern="^(json|console)$")
