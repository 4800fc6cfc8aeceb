"""A port that somebody else has is the operator's to change: every process names the setting, and calls it no bug."""

import asyncio
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.children import ROOT, inherited

ENDS_WITHIN_S = 60.0
ISSUER = "GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of this machine at which somebody listens."""
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        yield somebody.getsockname()[1]


@pytest.mark.parametrize(
    ("program", "exit_code"),
    [
        (("consumer",), 2),
        (("consumer", "api"), 2),
        (("producers", "stream"), 2),
        (("producers", "poll"), 2),
        (("producers", "webhooks"), 2),
        (("sandbox.executor",), 1),
    ],
)
async def test_a_port_that_is_taken_is_named_and_is_no_bug(
    program: tuple[str, ...], exit_code: int, taken: int, tmp_path: Path
) -> None:
    """The setting and the port are in the message; no trace, nothing to report."""
    environment = {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "HORIZON_URL": "http://127.0.0.1:1",
        "STELLAR_NETWORK": "testnet",
        "ASSET_CODE": "USDC",
        "ASSET_ISSUER": ISSUER,
        "AUTH_JWT_SECRET": "s" * 40,
        "WEBHOOK_SHARED_SECRETS": "s" * 40,
        "EXECUTOR_FOLDER": str(tmp_path),
        "EXECUTOR_SECRETS_FILE": str(tmp_path / "secrets.json"),
        "HTTP_PORT": str(taken),
    }
    (tmp_path / "secrets.json").write_bytes(b"[]")
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *program),
        env={**inherited(), **environment},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(child.communicate(), ENDS_WITHIN_S)
    words = said.decode()
    assert child.returncode == exit_code, words
    assert "HTTP_HOST and HTTP_PORT cannot be opened" in words
    assert str(taken) in words
    assert "a bug" not in words
    assert "Traceback" not in words
