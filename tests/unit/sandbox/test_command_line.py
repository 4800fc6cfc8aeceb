"""What a person types wrong at the sandbox is said in a line, with no trace."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from sandbox.__main__ import app
from sandbox.torture.__main__ import main

UNREADABLE = "postgresql://nobody:pass/word@127.0.0.1/none"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (("--kafka", "localhost:abc"), 2, "host:port"),
        (("--database", UNREADABLE), 1, "DATABASE_URL cannot be read"),
    ],
)
def test_an_address_that_is_none_is_said(arguments: tuple[str, ...], exit_code: int, says: str, tmp_path: Path) -> None:
    """Before anything is started, or as what it cannot go on with; a password is not shown."""
    environment = {"HORIZON_URL": None, "RPC_URL": None}
    done = CliRunner().invoke(app, ["--seconds", "1", "--folder", str(tmp_path), *arguments], env=environment)
    assert done.exit_code == exit_code, done.output
    assert says in done.stderr
    assert "pass/word" not in done.output


def test_a_folder_that_is_a_file_is_said(tmp_path: Path) -> None:
    """By the sandbox and by the torture, as a bad option."""
    file = tmp_path / "file"
    file.touch()
    torture = typer.Typer()
    torture.command()(main)
    for each in (app, torture):
        done = CliRunner().invoke(each, ["--folder", str(file)])
        assert done.exit_code == 2, done.output
        assert "--folder" in done.stderr
