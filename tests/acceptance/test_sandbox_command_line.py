"""What a person types wrong at the sandbox is said in a line, with no trace."""

import asyncio
import sys
from pathlib import Path

import pytest

from sandbox.children import ROOT, inherited

UNREADABLE = "postgresql://nobody:pass/word@127.0.0.1/none"


async def _ended(module: str, *arguments: str) -> tuple[int | None, str]:
    """The exit code, and what it said on standard error."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        env=inherited(),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(running.communicate(), 60)
    return running.returncode, said.decode()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (("--kafka", "localhost:abc"), 2, "host:port"),
        (("--database", UNREADABLE), 1, "DATABASE_URL cannot be read"),
    ],
)
async def test_an_address_that_is_none_is_said(
    arguments: tuple[str, ...], exit_code: int, says: str, tmp_path: Path
) -> None:
    """Before anything is started, or as what it cannot go on with; a password is not shown."""
    code, said = await _ended("sandbox", "--seconds", "1", "--folder", str(tmp_path), *arguments)
    assert code == exit_code, said
    assert says in said
    for word in ("pass/word", "Traceback"):
        assert word not in said


@pytest.mark.parametrize("module", ["sandbox", "sandbox.torture"])
async def test_a_folder_that_is_a_file_is_said(module: str, tmp_path: Path) -> None:
    """By the sandbox and by the torture, as a bad option."""
    file = tmp_path / "file"
    file.touch()
    code, said = await _ended(module, "--folder", str(file))
    assert code == 2, said
    assert "--folder" in said
    assert "Traceback" not in said
