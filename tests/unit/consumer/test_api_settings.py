"""What `python -m consumer api` cannot work with is refused at its start, with what to do."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner

from consumer.__main__ import app
from consumer.api.settings import ApiSettings
from schema.service.settings import read_environment
from tests.signing import SECRET, jwk, jwks, private_key
from tests.unit.consumer.worlds import USDC

PEM = private_key("ES256").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Everything that is needed, with the keys in a file."""
    file = tmp_path / "jwks.json"
    file.write_bytes(jwks(jwk("ES256", "a")))
    for name, value in {
        "DATABASE_URL": "postgresql://nobody:hidden@127.0.0.1:1/none",
        "STELLAR_NETWORK": "testnet",
        "ASSET_ISSUER": USDC.issuer,
        "AUTH_JWKS_FILE": str(file),
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"AUTH_JWKS_FILE": ""}, "nothing says how people's tokens are checked: set AUTH_JWKS_URL"),
        ({"AUTH_JWKS_URL": "https://a.example/jwks"}, "AUTH_JWKS_URL and AUTH_JWKS_FILE are both set"),
        ({"AUTH_JWKS_FILE": "", "AUTH_JWKS_URL": "a.example/jwks"}, "expected a URL that starts with http"),
        ({"AUTH_JWT_SECRET": "short"}, "AUTH_JWT_SECRET: String should have at least 32 characters"),
        ({"AUTH_JWT_SECRET": PEM}, "AUTH_JWT_SECRET: a public key or a certificate is no shared secret"),
        ({"AUTH_JWT_SECRET": json.dumps(jwk("ES256", "a"))}, "AUTH_JWT_SECRET: a public key or a certificate is no"),
        ({"API_ALLOWED_ORIGINS": "*"}, "expected an origin like https://app.example.org"),
        ({"API_ALLOWED_ORIGINS": "https://app.example.org/path"}, "expected an origin like"),
        ({"API_ALLOWED_ORIGINS": "https://*.example.org"}, "expected an origin like"),
        ({"API_ALLOWED_ORIGINS": "app.example.org"}, "expected an origin like"),
        ({"DATABASE_URL": "", "STELLAR_NETWORK": ""}, "STELLAR_NETWORK is not set"),
    ],
)
def test_what_cannot_work_ends_with_what_to_do(
    environment: pytest.MonkeyPatch, changed: dict[str, str], says: str
) -> None:
    """Exit code 2 and one message that names the setting; no secret is in it."""
    for name, value in changed.items():
        environment.setenv(name, value)
    done = CliRunner().invoke(app, ["api"])
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert "short" not in done.stderr.replace("at least", "")
    assert "hidden" not in done.stderr


def test_each_way_to_the_keys_is_enough(environment: pytest.MonkeyPatch) -> None:
    """A file, an address, or the old secret, alone or beside the new keys; origins are taken as a browser says them."""
    environment.setenv("API_ALLOWED_ORIGINS", "https://app.example.org, http://localhost:3000")
    assert read_environment(ApiSettings).api_allowed_origins == {"https://app.example.org", "http://localhost:3000"}
    environment.setenv("AUTH_JWT_SECRET", SECRET)
    assert read_environment(ApiSettings).auth_jwt_secret == SECRET
    assert SECRET not in repr(read_environment(ApiSettings))
    environment.delenv("AUTH_JWKS_FILE")
    read_environment(ApiSettings)
    environment.delenv("AUTH_JWT_SECRET")
    environment.setenv("AUTH_JWKS_URL", "https://project.supabase.co/auth/v1/.well-known/jwks.json")
    read_environment(ApiSettings)
