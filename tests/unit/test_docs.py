"""The documentation says nothing that is not there."""

import importlib
import importlib.util
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import click
import pytest
import typer

from consumer.__main__ import app as consumer_app
from consumer.api.settings import ApiSettings
from consumer.outcome import Verdict
from consumer.settings import ConsumerSettings
from docs import generate, metrics_page
from producers.__main__ import app as producers_app
from producers.history import Position, SavedCursor
from producers.settings import PollSettings, StreamSettings, WebhookSettings
from producers.source import Fatal, History
from producers.start import Saved, Wish, begin
from sandbox.__main__ import app as sandbox_app
from sandbox.executor_settings import ExecutorSettings
from schema.__main__ import app as schema_app
from schema.service.settings import Settings, read_environment
from schema.stellar import Cursor, Ledger, Network

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = ROOT / "README.md"
OPERATIONS = ROOT / "docs" / "operations.md"

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(
    r"(?:\.ci|bench|consumer|docs|producers|sandbox|schema|tests)(?:/[\w.-]+)+/?|[\w.]+\.(?:md|toml|yaml|txt)"
)
DOTTED = re.compile(r"(?:consumer|docs|producers|sandbox|schema)(?:\.\w+)+")
TEST = re.compile(r"test_\w+")
METRIC = re.compile(r"((?:consumer|producers)_\w+)(?:\{.*\})?")
VARIABLE = re.compile(r"([A-Z]+_[A-Z_]+)(?:=.*)?")
OF_TESTS: Final = {
    name
    for path in (ROOT / "tests").rglob("*.py")
    for name in re.findall(r'os\.environ\.get\("([A-Z_]+)"', path.read_text(encoding="utf-8"))
}
OF_COMPOSE: Final = {"POSTGRES_PASSWORD"}
VALUES: Final = {"SASL_PLAINTEXT", "SASL_SSL"}
OF_STELLAR_CORE: Final = {"EMIT_CLASSIC_EVENTS"}
MADE_ON_THE_WAY: Final = {".kafka/", ".venv"}


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def each_page(pages: Iterable[Path] = PAGES) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=shown)


def spans(page: Path) -> list[str]:
    """What stands between backticks, outside of fenced blocks."""
    return SPAN.findall(FENCE.sub("", page.read_text(encoding="utf-8")).replace("\n", " "))


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [body for said, body in FENCE.findall(page.read_text(encoding="utf-8")) if said == language]


def commands(page: Path) -> Iterator[str]:
    """Whatever a reader may type: lines of shell blocks, and spans that begin like a command."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    yield from (re.sub(r"^(?:\w+=\S* )*(?:\S*/)?(?=python )", "", said) for said in (*lines, *spans(page)))


def without(page: Path, heading: str) -> str:
    """The page's text but for one section."""
    return re.sub(rf"^## {heading}\n.*?(?=^## )", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def of_typer(app: typer.Typer) -> dict[str, set[str]]:
    """The commands of a program and the options of each; "" where it is one command."""
    program: Any = typer.main.get_command(app)
    found: dict[str, click.Command] = getattr(program, "commands", {"": program})
    return {
        name: {option for parameter in command.params for option in parameter.opts} for name, command in found.items()
    }


PROGRAMS = {
    "schema": of_typer(schema_app),
    "producers": of_typer(producers_app),
    "consumer": of_typer(consumer_app),
    "sandbox": of_typer(sandbox_app),
}


@each_page()
def test_links_lead_somewhere(page: Path) -> None:
    """Every link between the pages names a file that is there, and a heading that is in it."""
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, link


@each_page()
def test_paths_exist(page: Path) -> None:
    """Every file and folder named is there."""
    for span in spans(page):
        if PATH.fullmatch(span) and "NNN" not in span and span not in MADE_ON_THE_WAY:
            assert (ROOT / span).exists() or (page.parent / span).exists(), span


@each_page()
def test_names_of_the_code_exist(page: Path) -> None:
    """Every `module.function` named can be imported."""
    for span in spans(page):
        if DOTTED.fullmatch(span) and not PATH.fullmatch(span):
            assert resolve(span) is not None, span


def resolve(dotted: str) -> object:
    """What a dotted name stands for. A dataclass's field counts as one of its names."""
    parts = dotted.split(".")
    depth = max(depth for depth in range(1, len(parts) + 1) if is_module(".".join(parts[:depth])))
    found: Any = importlib.import_module(".".join(parts[:depth]))
    for part in parts[depth:]:
        found = getattr(found, part, None) or getattr(found, "__dataclass_fields__", {}).get(part)
    return found


def is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@each_page([page for page in PAGES if page != README])
def test_commands_exist(page: Path) -> None:
    """Every `make` target and every `python -m` module named, with its command, is there."""
    for command in commands(page):
        check_command(command)


def test_the_readmes_commands_exist() -> None:
    """The same for the README, but for what it says is not there; and each option it names is one of ours."""
    text = without(README, "Not there yet")
    lines = [line for _, body in FENCE.findall(text) for line in body.splitlines()]
    for command in (*lines, *SPAN.findall(FENCE.sub("", text))):
        check_command(re.sub(r"^\S*/(?=python )", "", command))
    known = {option for program in PROGRAMS.values() for options in program.values() for option in options}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
    assert named <= known | {"--help"}


def check_command(command: str) -> None:
    words = command.partition(" #")[0].split()
    if words[:1] == ["make"]:
        unquoted = re.sub(r'"[^"]*"', "", command.partition(" #")[0]).split()
        called = {word for word in unquoted[1:] if re.fullmatch(r"[a-z][a-z-]*", word)}
        assert called <= targets(), command
    if words[:2] == ["python", "-m"]:
        module = words[2]
        assert is_module(module), command
        assert not getattr(importlib.import_module(module), "__path__", None) or is_module(f"{module}.__main__"), (
            command
        )
        chosen = words[3] if len(words) > 3 and words[3][0].isalpha() else None
        if module in PROGRAMS and chosen:
            assert set(chosen.split("|")) <= PROGRAMS[module].keys(), command


def test_what_is_said_not_to_be_there_is_not_there() -> None:
    """The README's list of what is missing is up to date."""
    text = README.read_text(encoding="utf-8")
    section = text.partition("## Not there yet\n")[2].partition("\n## ")[0]
    missing = [SPAN.findall(line.partition(".")[0]) for line in section.splitlines() if line.startswith("- ")]
    assert missing
    for first, *others in missing:
        program, *words = first.removeprefix("python -m ").split()
        names = {*words, *others}
        there = targets() if program == "make" else PROGRAMS.get(program, {}).keys()
        assert names.isdisjoint(there), f"{program}: {names & there}"


@each_page()
def test_tests_exist(page: Path) -> None:
    """Every test named as a proof is one."""
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {span for span in spans(page) if TEST.fullmatch(span)} <= there


@each_page()
def test_metrics_exist(page: Path) -> None:
    """Every metric named is served, under this very name."""
    named = {match[1] for span in spans(page) if (match := METRIC.fullmatch(span))}
    assert named <= metrics_page.names()


@each_page()
def test_variables_exist(page: Path) -> None:
    """Every variable named is one that some process reads."""
    settings: tuple[type[Settings], ...] = (
        ConsumerSettings,
        ApiSettings,
        PollSettings,
        StreamSettings,
        WebhookSettings,
        ExecutorSettings,
    )
    known = (
        {name.upper() for each in settings for name in each.model_fields}
        | OF_TESTS
        | OF_COMPOSE
        | OF_STELLAR_CORE
        | VALUES
    )
    assert {match[1] for span in spans(page) if (match := VARIABLE.fullmatch(span))} <= known


@each_page([README, ROOT / "docs" / "configuration.md"])
def test_the_environment_shown_is_enough(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variables of the page and no others, both processes accept their environment."""
    [block] = [block for block in blocks(page, "sh") if "DATABASE_URL=" in block]
    for settings in (ConsumerSettings, StreamSettings):
        for name in settings.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)
    for name, value in re.findall(r"^(?:export )?(\w+)=(\S+)$", block, re.MULTILINE):
        monkeypatch.setenv(name, value)
    assert read_environment(StreamSettings).horizon_url.startswith("https://")
    assert read_environment(ConsumerSettings).asset.code == "USDC"


def test_generated_pages_are_up_to_date() -> None:
    """What follows from the code says what the code says."""
    assert generate.differing() == []


def test_every_reason_of_a_dead_letter_has_its_remedy() -> None:
    """Whoever is on call finds each reason that the consumer can give."""
    text = OPERATIONS.read_text(encoding="utf-8")
    for reason in ("malformed", "refused_by_database", *(each for each in Verdict if each.is_refusal)):
        assert f"\n| `{reason}` |" in text, reason


HISTORY = History(passphrase=Network.TESTNET.passphrase, elder=Ledger(1000), latest=Ledger(2000))


@pytest.mark.parametrize(
    ("network", "saved", "ledger", "wish"),
    [
        (Network.MAINNET, None, 1500, Wish()),
        (Network.TESTNET, "mainnet", 1500, Wish()),
        (Network.TESTNET, "testnet", 5000, Wish()),
        (Network.TESTNET, "testnet", 10, Wish()),
        (Network.TESTNET, "testnet", 1500, Wish(from_ledger=Ledger(10))),
    ],
)
def test_every_cursor_problem_has_its_remedy(network: Network, saved: str | None, ledger: int, wish: Wish) -> None:
    """What the stream says when it stops stands in operations.md, word for word."""
    cursor = SavedCursor(network=saved or "", position=Position(cursor=Cursor("1"), ledger=Ledger(ledger)))
    cursors = Saved(payments=cursor if saved else None, changes=None, follows_changes=True)
    with pytest.raises(Fatal) as stopped:
        begin(history=HISTORY, network=network, saved=cursors, stream_name="stream", wish=wish)
    messages = [re.sub(r"\b[NM]\b", r"\\d+", span) for span in spans(OPERATIONS)]
    assert any(len(message) > 20 and re.match(message, str(stopped.value)) for message in messages), stopped.value
