"""A setting that cannot work is refused at the start, by its name: it is never met later, as a bug of ours."""

import os
from pathlib import Path

import pytest

from consumer.api.settings import ApiSettings
from consumer.settings import ConsumerSettings
from producers.settings import StreamSettings, WebhookSettings
from schema.service import kafka
from schema.service.settings import KafkaSettings, Settings, read_environment
from tests.certificates import self_signed
from tests.unit.consumer.worlds import USDC

LONG_LABEL = "x" * 64  # one more than a label of a name may have
BEYOND = "9" * 400
RPC = {"BALANCE_SOURCE": "rpc"}
SASL = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}
SSL = {"KAFKA_SECURITY_PROTOCOL": "SSL"}
HOSTS = ["a..b", LONG_LABEL]
URLS = ["http://", "http://[", "https://host:99999/", "http://exa mple.org", f"http://{LONG_LABEL}.org", "http://a..b"]
BROKERS = ["localhost:abc", "localhost:99999", "localhost:-1", '"localhost:9092"', "http://localhost:9092", "[::1:9092"]
BROKERS += [",", ":9092", "a..b:9092", f"{LONG_LABEL}:9092", "host:9092,  other host:9092"]
TOPICS = ["a b", "zürich", "..", "x" * 250, '"quoted"', "/tmp"]  # noqa: S108 - no file
TOPIC_NAMES = ["BALANCE_EVENTS_TOPIC", "DEPOSIT_COMMANDS_TOPIC", "DEPOSIT_RESULTS_TOPIC", "DEAD_LETTERS_TOPIC"]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Everything that each process needs."""
    for name in os.environ.keys() & {"KAFKA_SECURITY_PROTOCOL", "BALANCE_SOURCE", "RPC_URL", *TOPIC_NAMES}:
        monkeypatch.delenv(name)
    for name, value in {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "HORIZON_URL": "http://127.0.0.1:1",
        "STELLAR_NETWORK": "testnet",
        "ASSET_ISSUER": USDC.issuer,
        "AUTH_JWT_SECRET": "s" * 40,
        "WEBHOOK_SHARED_SECRETS": "s" * 40,
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def _refusal(settings: type[Settings], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        read_environment(settings)
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "changed", "named"),
    [
        *((StreamSettings, {"HTTP_HOST": host}, "HTTP_HOST") for host in HOSTS),
        *((ApiSettings, {"API_HOST": host}, "API_HOST") for host in HOSTS),
        *((WebhookSettings, {"WEBHOOK_HOST": host}, "WEBHOOK_HOST") for host in HOSTS),
        *((StreamSettings, {"HORIZON_URL": url}, "HORIZON_URL") for url in URLS),
        *((StreamSettings, {**RPC, "RPC_URL": url}, "RPC_URL") for url in URLS),
        *((ApiSettings, {"AUTH_JWKS_URL": url}, "AUTH_JWKS_URL") for url in URLS),
        *((KafkaSettings, {"KAFKA_BOOTSTRAP_SERVERS": servers}, "KAFKA_BOOTSTRAP_SERVERS") for servers in BROKERS),
        *((KafkaSettings, {name: topic}, name) for name in TOPIC_NAMES for topic in TOPICS),
        (
            KafkaSettings,
            {"DEAD_LETTERS_TOPIC": "stellar.balance-events"},
            "BALANCE_EVENTS_TOPIC and DEAD_LETTERS_TOPIC",
        ),
        (ConsumerSettings, {"CONSUMER_GROUP": "x" * 40_000}, "CONSUMER_GROUP"),
        (ConsumerSettings, {"GROUP_SESSION_TIMEOUT_MS": "2147483648"}, "GROUP_SESSION_TIMEOUT_MS"),
        (StreamSettings, {"HORIZON_REQUESTS_PER_HOUR": BEYOND}, "HORIZON_REQUESTS_PER_HOUR"),
        (StreamSettings, {"RPC_REQUESTS_PER_HOUR": BEYOND}, "RPC_REQUESTS_PER_HOUR"),
        (WebhookSettings, {"WEBHOOK_REQUESTS_PER_S": BEYOND}, "WEBHOOK_REQUESTS_PER_S"),
        (WebhookSettings, {"WEBHOOK_REQUESTS_PER_ADDRESS_PER_S": BEYOND}, "WEBHOOK_REQUESTS_PER_ADDRESS_PER_S"),
        (KafkaSettings, SASL, "KAFKA_SASL_USERNAME is not set"),
        (KafkaSettings, {**SASL, "KAFKA_SASL_USERNAME": "u"}, "KAFKA_SASL_PASSWORD is not set"),
    ],
)
def test_what_would_end_as_a_bug_is_refused_at_the_start(
    settings: type[Settings],
    changed: dict[str, str],
    named: str,
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, the variable's name and few words, however long the value is."""
    for name, value in changed.items():
        environment.setenv(name, value)
    said = _refusal(settings, capsys)
    assert named in said
    assert len(said) < 1_000


def test_the_rpc_url_is_not_quoted_when_it_is_none(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without its https:// it may carry a key all the same."""
    environment.setenv("BALANCE_SOURCE", "rpc")
    for url in ("rpc.example/hidden", "https://rpc.example:hidden/", "https://hidden..example"):
        environment.setenv("RPC_URL", url)
        said = _refusal(StreamSettings, capsys)
        assert "RPC_URL" in said
        assert "hidden" not in said


@pytest.mark.parametrize(
    "servers", ["localhost:9092", "one,two:9093", "[::1]:9092", "a.b-c_d.example:9092, 10.0.0.1:1"]
)
def test_brokers_are_taken_as_they_are_written(servers: str, environment: pytest.MonkeyPatch) -> None:
    """Names, addresses, several of them, with a port or Kafka's own; spaces after a comma do no harm."""
    environment.setenv("KAFKA_BOOTSTRAP_SERVERS", servers)
    assert read_environment(KafkaSettings).kafka_bootstrap_servers == servers.replace(" ", "")


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate that is its own authority, and its key."""
    return self_signed(tmp_path, "broker")


def test_certificates_that_fit_are_taken(certificate: tuple[Path, Path], environment: pytest.MonkeyPatch) -> None:
    """An authority, a certificate and its key: clients can be made of them."""
    own, key = certificate
    for name, value in {**SSL, **_files(CAFILE=own, CERTFILE=own, KEYFILE=key)}.items():
        environment.setenv(name, value)
    assert kafka.connection(read_environment(KafkaSettings))["ssl_context"] is not None


@pytest.mark.parametrize("name", ["CAFILE", "CERTFILE", "KEYFILE"])
@pytest.mark.parametrize("wrong", ["missing", "a folder", "nonsense"])
def test_a_certificate_that_cannot_be_used_is_named(  # noqa: PLR0917 - fixtures
    name: str,
    wrong: str,
    certificate: tuple[Path, Path],
    tmp_path: Path,
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The variable, the file, and why. Where TLS is not spoken nobody looks at it."""
    file = tmp_path / "file.pem"
    if wrong == "a folder":
        file.mkdir()
    elif wrong == "nonsense":
        file.write_text("no certificate")
    own, key = certificate
    for variable, value in {**_files(CERTFILE=own, KEYFILE=key), **_files(**{name: file})}.items():
        environment.setenv(variable, value)
    read_environment(KafkaSettings)
    environment.setenv("KAFKA_SECURITY_PROTOCOL", "SSL")
    said = _refusal(KafkaSettings, capsys)
    assert f"KAFKA_SSL_{name}" in said
    assert str(file) in said


def _files(**named: Path) -> dict[str, str]:
    return {f"KAFKA_SSL_{name}": str(file) for name, file in named.items()}
