"""A database that refuses the login, or is not there, is the operator's to change: that is said, and is no bug."""

import asyncio
import sys

import pytest

from sandbox.children import ROOT, inherited

ENDS_WITHIN_S = 60.0
UNREADABLE = "postgresql://nobody:pass/word@127.0.0.1/none"


@pytest.mark.parametrize(
    ("program", "url", "says"),
    [
        (("consumer",), "nobody", "refused by the database"),
        (("consumer", "api"), "nobody", "refused by the database"),
        (("consumer", "release"), "nobody", "refused by the database"),
        (("producers", "stream"), "nobody", "refused by the database"),
        (("producers", "reconcile"), "no_database", "refused by the database"),
        (("producers", "poll", "--once"), UNREADABLE, "postgresql://user:password@host:port/database"),
        (("consumer",), "parameter", "unrecognized configuration parameter"),
        (("consumer", "release"), "parameter", "unrecognized configuration parameter"),
        (("producers", "stream"), "parameter", "unrecognized configuration parameter"),
        (("schema", "migrate"), "parameter", "unrecognized configuration parameter"),
        (("schema", "status"), "nobody", "refused by the database"),
        (("schema", "status"), UNREADABLE, "postgresql://user:password@host:port/database"),
    ],
)
async def test_a_database_that_refuses_is_named_and_is_no_bug(
    program: tuple[str, ...], url: str, says: str, database_url: str
) -> None:
    """Exit code 2, DATABASE_URL and why; no trace, nothing to report, and nothing of a password."""
    if url == "nobody":
        url = database_url.replace("postgres@", "nobody@")
    elif url == "no_database":
        url = database_url.replace("?", "_none?")
    elif url == "parameter":
        url = f"{database_url}&pgbouncer=true"
    environment = {
        "DATABASE_URL": url,
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "HORIZON_URL": "http://127.0.0.1:1",
        "STELLAR_NETWORK": "testnet",
        "ASSET_ISSUER": "GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5",
        "AUTH_JWT_SECRET": "s" * 40,
    }
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *program),
        env={**inherited(), **environment},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(child.communicate(), ENDS_WITHIN_S)
    words = said.decode()
    assert child.returncode == 2, words
    assert "DATABASE_URL" in words
    assert says in words
    for word in ("a bug", "Traceback", "pass"):
        assert word not in words.replace("user:password@host", "").replace("in a name or a password", "")
