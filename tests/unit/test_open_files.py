"""Each connection is an open file: more than a process may ever have are refused where the setting is read."""

import subprocess
import sys

import pytest

from tests.signing import SECRET
from tests.unit.consumer.worlds import USDC

READ = "from schema.service.settings import read_environment; from {} import {} as wanted; read_environment(wanted)"
VALUES = {
    "DATABASE_URL": "postgresql://nobody@127.0.0.1/none",
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "HORIZON_URL": "http://127.0.0.1:1",
    "STELLAR_NETWORK": "testnet",
    "ASSET_ISSUER": USDC.issuer,
    "AUTH_JWT_SECRET": SECRET,
    "WEBHOOK_SHARED_SECRETS": SECRET,
}


@pytest.mark.parametrize(
    ("module", "settings", "variable"),
    [
        ("consumer.api.settings", "ApiSettings", "API_CONNECTIONS_MAX"),
        ("producers.settings", "WebhookSettings", "WEBHOOK_CONNECTIONS_MAX"),
    ],
)
def test_more_connections_than_open_files_are_refused(module: str, settings: str, variable: str) -> None:
    """Exit code 2, the setting's name, and both ways out; one that fits is taken; the default is checked, too."""
    limited = 'ulimit -Sn 700 && ulimit -Hn 700 && exec "$0" -c "$1"'
    for connections, exit_code in (("400", 0), ("", 2)):
        done = subprocess.run(
            ["sh", "-c", limited, sys.executable, READ.format(module, settings)],
            env=VALUES | {variable: connections},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == exit_code, done.stderr
        if exit_code:
            assert f"{variable}: 500 connections need" in done.stderr
            assert "this process may have 700: raise its limit (ulimit -n), or set this lower" in done.stderr
