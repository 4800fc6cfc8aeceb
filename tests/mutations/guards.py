"""The list of guards, and what it takes to remove one and ask its tests."""

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.mutations.trees import ROOT
from tests.recordings import FOLDER

LIST = Path(__file__).with_name("guards.toml")
TIMEOUT_S = 600
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """One guard: the text that makes it, what stands there without it, and the tests that must notice."""

    name: str
    file: str
    old: str
    new: str
    protects: str
    tests: tuple[str, ...]

    def removed_from(self, tree: Path) -> tuple[str, str]:
        """The file as it is, and without the guard. ValueError unless its text stands there exactly once."""
        text = (tree / self.file).read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: its text stands {text.count(self.old)} times in {self.file}")
        return text, text.replace(self.old, self.new)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caught:
    """Which test noticed; an empty one means that the guard's absence survived."""

    guard: Guard
    test: str


def guards() -> list[Guard]:
    """All of them, in the list's order."""
    entries = tomllib.loads(LIST.read_text())["guard"]
    return [Guard(**entry | {"tests": tuple(entry["tests"])}) for entry in entries]


def without(guard: Guard, tree: Path) -> Caught:
    """Remove one guard in this copy, run its tests until one fails, and put it back."""
    whole, bent = guard.removed_from(tree)
    path = tree / guard.file
    path.write_text(bent)
    try:
        return Caught(guard=guard, test=_first_failure(guard, tree))
    finally:
        path.write_text(whole)


def _first_failure(guard: Guard, tree: Path) -> str:
    environment = os.environ | {"HORIZON_RECORDINGS": str(FOLDER), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *guard.tests]
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return guard.tests[0]  # it never ended: noticed, too
    if done.returncode == 0:
        return ""
    found = _FAILED.search(done.stdout)
    if done.returncode != 1 or found is None:
        raise SystemExit(
            f"{guard.name}: pytest ended with {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-2000:]}"
        )
    return found.group(1)


def exists(test: str, root: Path = ROOT) -> bool:
    """Whether a named test exists, without collecting it."""
    file, _, name = test.partition("::")
    path = root / file
    return path.is_file() and f"def {name.partition('[')[0]}(" in path.read_text()
