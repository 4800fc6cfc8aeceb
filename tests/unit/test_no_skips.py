"""The rule that CI skips nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = """
import pytest

def test_fine():
    pass

@pytest.mark.skip(reason="no broker")
def test_looked_away():
    pass

@pytest.mark.xfail
def test_known():
    raise AssertionError
"""
ROOT = Path(__file__).parents[2]


def run(folder: Path, *, ci: str, chosen: str) -> subprocess.CompletedProcess[str]:
    """Run some of the cases in a pytest of their own, with the plugin."""
    (folder / "test_cases.py").write_text(CASES)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-c", os.devnull, "-p", "tests.fixtures_no_skips", "-k", chosen, str(folder)],
        cwd=ROOT,
        env={**os.environ, "CI": ci, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("ci", "chosen", "status"),
    [("true", "test_", 1), ("true", "fine or known", 0), ("", "test_", 0)],
    ids=["CI with a skip", "CI without", "a person's own run"],
)
def test_only_ci_fails_on_a_skip(tmp_path: Path, ci: str, chosen: str, status: int) -> None:
    """A skipped test ends a CI run with status 1 and its name; a known failure is none, and a person may skip."""
    ended = run(tmp_path, ci=ci, chosen=chosen)
    assert ended.returncode == status, ended.stdout
    assert ("skipped, which CI does not allow" in ended.stdout) == bool(status)
