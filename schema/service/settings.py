"""The environment, read once: frozen settings, every missing or malformed variable named in one error."""

import resource
import ssl
import sys
from collections.abc import Callable
from ipaddress import ip_network
from itertools import combinations
from typing import Annotated, Any, Final, NoReturn, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from schema import balance_event, deposit_command, deposit_result
from schema.service.hosts import parse_brokers, parse_host, parse_secret_url, parse_topic, parse_url
from schema.service.http_crowd import IpNetwork
from schema.stellar import Address, Asset, Network, Stroops, parse_account_id, parse_address, parse_stroops

EXIT_BAD_ENVIRONMENT = 2


class Unusable(Exception):
    """Settings that can be read and do not work here; the message names them, and says why."""


DEAD_LETTERS_TOPIC = "stellar.dead-letters"
FILES_BESIDE: Final = 300  # open files of everything but connections: brokers, database, what is being closed

_S = TypeVar("_S", bound=BaseSettings)


def _stroops(value: object) -> object:
    """Amounts come as text like 10.5; a float never gets near them."""
    return parse_stroops(value) if isinstance(value, str) else value


def _addresses(value: object) -> object:
    if not isinstance(value, str):
        return value
    return frozenset(parse_address(part.strip()) for part in value.split(",") if part.strip())


def each_of(parse: Callable[[str], Any]) -> BeforeValidator:
    """Read each of the parts between commas."""

    def read(value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(parse(part.strip()) for part in value.split(",") if part.strip())

    return BeforeValidator(read)


def files_of(connections_max: int) -> int:
    """How many files a process has open with so many connections."""
    return connections_max + FILES_BESIDE


def within_open_files(connections_max: int) -> int:
    """Each connection is an open file: ValueError when this process may never have as many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < files_of(connections_max):
        raise ValueError(
            f"{connections_max} connections need {files_of(connections_max)} open files, and this process may have"
            f" {most}: raise its limit (ulimit -n), or set this lower"
        )
    return connections_max


def _certificates(file: str) -> None:
    """ValueError unless there are certificates in it."""
    try:
        ssl.create_default_context(cafile=file)
    except (OSError, ValueError) as error:
        raise ValueError(f"{file[:120]}: {_why(error)}, expected a file of certificates (PEM)") from error


def _why(error: OSError | ValueError) -> str:
    """OpenSSL's words, or the system's."""
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)


Amount = Annotated[Stroops, BeforeValidator(_stroops), Field(ge=0)]
Addresses = Annotated[frozenset[Address], NoDecode, BeforeValidator(_addresses)]
AddressText = Annotated[str, AfterValidator(parse_address)]
AccountText = Annotated[str, AfterValidator(parse_account_id)]
Url = Annotated[str, AfterValidator(parse_url)]
SecretUrl = Annotated[str, AfterValidator(parse_secret_url)]
Host = Annotated[str, AfterValidator(parse_host)]
Brokers = Annotated[str, AfterValidator(parse_brokers)]
Topic = Annotated[str, AfterValidator(parse_topic)]
IpNetworks = Annotated[tuple[IpNetwork, ...], NoDecode, each_of(ip_network)]


class Settings(BaseSettings):
    """What every settings class here is: read from the environment alone, frozen, empty means unset.

    The text under each field is its description in docs/configuration.md.
    """

    model_config = SettingsConfigDict(
        frozen=True, env_ignore_empty=True, extra="ignore", case_sensitive=False, use_attribute_docstrings=True
    )


class KafkaSettings(Settings):
    """How to reach the brokers, and what the topics are called."""

    kafka_bootstrap_servers: Brokers
    """The brokers, as host:port with commas between."""
    kafka_security_protocol: str = Field("PLAINTEXT", pattern="^(PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)$")
    """How the brokers are spoken to. PLAINTEXT is neither encrypted nor authenticated."""
    kafka_sasl_mechanism: str = Field("PLAIN", pattern="^(PLAIN|SCRAM-SHA-256|SCRAM-SHA-512)$")
    """How to log in, where the protocol is one of SASL."""
    kafka_sasl_username: str | None = Field(None, validate_default=True)
    """The login's name."""
    kafka_sasl_password: str | None = Field(None, repr=False, validate_default=True)
    """The login's password. Never logged."""
    kafka_ssl_cafile: str | None = None
    """File of the authorities that sign the brokers' certificates; the system's where unset."""
    kafka_ssl_certfile: str | None = None
    """File of our own certificate, where the brokers ask for one."""
    kafka_ssl_keyfile: str | None = Field(None, validate_default=True)
    """File of the key to that certificate."""
    balance_events_topic: Topic = balance_event.TOPIC
    """Facts: producers write, the consumer reads."""
    deposit_commands_topic: Topic = deposit_command.TOPIC
    """Deposit commands: the consumer writes, the executor reads."""
    deposit_results_topic: Topic = deposit_result.TOPIC
    """Deposit results: the executor writes, the consumer reads."""
    dead_letters_topic: Topic = DEAD_LETTERS_TOPIC
    """What was refused: the consumer writes, people read."""

    @field_validator("kafka_sasl_username", "kafka_sasl_password")
    @classmethod
    def _needed_to_log_in(cls, value: str | None, others: ValidationInfo) -> str | None:
        if value is None and others.data.get("kafka_security_protocol", "").startswith("SASL"):
            raise PydanticCustomError("missing", "Field required")
        return value

    @field_validator("kafka_ssl_cafile", "kafka_ssl_certfile")
    @classmethod
    def _can_be_read(cls, value: str | None, others: ValidationInfo) -> str | None:
        if value is not None and others.data.get("kafka_security_protocol", "").endswith("SSL"):
            _certificates(value)
        return value

    @field_validator("kafka_ssl_keyfile")
    @classmethod
    def _fits_its_certificate(cls, value: str | None, others: ValidationInfo) -> str | None:
        certificate = others.data.get("kafka_ssl_certfile")
        if certificate is None or not others.data.get("kafka_security_protocol", "").endswith("SSL"):
            return value
        try:
            ssl.create_default_context().load_cert_chain(certificate, value, password="")  # else it asks the terminal
        except (OSError, ValueError) as error:
            where = "the key is looked for in KAFKA_SSL_CERTFILE" if value is None else value
            raise ValueError(
                f"{where}: {_why(error)}, expected the key of {certificate}, without a password"
            ) from error
        return value

    @model_validator(mode="after")
    def _each_has_its_own_topic(self) -> Self:
        """Dead letters among the facts would be refused, and be dead letters again, for ever."""
        topics = {name: value for name, value in self if name.endswith("_topic")}
        for one, other in combinations(topics, 2):
            if topics[one] == topics[other]:
                both = f"{one.upper()} and {other.upper()}"
                raise ValueError(f"{both} are both {topics[one]}: each needs a topic of its own")
        return self


class NetworkSettings(Settings):
    """Which chain this installation is about."""

    stellar_network: Network
    """Which chain. Wallets and facts of the other one are left alone."""


class ChainSettings(NetworkSettings):
    """Which network and asset this installation is about."""

    asset_code: str = Field("USDC", pattern="^[A-Za-z0-9]{1,12}$")
    """The asset's code."""
    asset_issuer: AccountText
    """Who issues the asset. The same code of another issuer is another asset."""

    @property
    def asset(self) -> Asset:
        return Asset.parse(f"{self.asset_code}:{self.asset_issuer}")


class DatabaseSettings(Settings):
    """What even a command that only speaks to the database has."""

    database_url: str = Field(repr=False, pattern="^postgres(ql)?://")
    """Where PostgreSQL is. Through a pooler only in session mode. Never logged."""
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$")
    """The least important log lines that are written."""
    log_format: str = Field("json", pattern="^(json|console)$")
    """One JSON object a line for machines, or `console` for people. Both on standard error."""


class ServiceSettings(DatabaseSettings):
    """What every process has beyond that: a port for health and metrics."""

    http_port: int = Field(0, ge=0, le=65_535)
    """The port of `/healthz`, `/readyz` and `/metrics`. 0: a free one, said in the log."""
    http_host: Host = "127.0.0.1"
    """The address that port is opened on; 0.0.0.0 is every one."""


def read_environment(settings: type[_S]) -> _S:
    """Read the settings, or end the program with one message that names every variable at fault (exit code 2)."""
    try:
        return settings()
    except ValidationError as error:
        _refuse(settings, error)


def _refuse(settings: type[BaseSettings], error: ValidationError) -> NoReturn:
    lines = ["the environment is not complete:"]
    for fault in error.errors():
        variable = str(fault["loc"][0]).upper() if fault["loc"] else settings.__name__
        if fault["type"] == "missing":
            lines.append(f"  {variable} is not set")
        else:
            lines.append(f"  {variable}: {fault['msg'].removeprefix('Value error, ')}")
    lines.append("docs/configuration.md lists every variable, its default and an example")
    sys.stderr.write("\n".join(lines) + "\n")
    sys.exit(EXIT_BAD_ENVIRONMENT)
