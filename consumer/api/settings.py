"""The environment of `python -m consumer api`, with the reason for each default."""

from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_settings import NoDecode

from consumer.api.tokens import parse_secret
from consumer.settings import PolicySettings
from schema.service.settings import ChainSettings, Host, IpNetworks, ServiceSettings, Url, within_open_files
from schema.stellar import Malformed

SECRET_CHARACTERS_MIN: Final = 32  # RFC 7518: a key of HS256 has at least as many bits as its hash


def _origins(value: object) -> object:
    if not isinstance(value, str):
        return value
    return frozenset(_origin(part.strip()) for part in value.split(",") if part.strip())


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if text != f"{parts.scheme}://{parts.netloc}" or parts.scheme not in ("http", "https") or "*" in text:
        raise Malformed(text, expected="an origin like https://app.example.org: no path, no * for all of them")
    return text


Origins = Annotated[frozenset[str], NoDecode, BeforeValidator(_origins)]


class ApiSettings(PolicySettings, ChainSettings, ServiceSettings):
    """Everything `python -m consumer api` reads. The default policy must be the consumer's: it answers for it."""

    api_host: Host = "127.0.0.1"
    """The address that people's requests come to; 0.0.0.0 is every one. TLS is the proxy's in front of it."""
    api_port: int = Field(0, ge=0, le=65_535)
    """The port that people's requests come to. 0: a free one, said in the log."""
    api_allowed_origins: Origins = frozenset()
    """Origins of web pages that may ask: `https://app.example.org`, with commas between. None: no other origin's."""
    api_connections_max: int = Field(500, ge=1, le=20_000, validate_default=True)
    """Connections at once. One too many ends the one that is longest without a request of a person."""
    api_connections_per_address_max: int = Field(100, ge=1, le=20_000)
    """The same of one address (of IPv6: one /64), but for API_TRUSTED_PROXIES."""
    api_trusted_proxies: IpNetworks = ()
    """Addresses or networks of our own proxies, with commas between: through them come everybody's connections, which
    only API_CONNECTIONS_MAX limits."""
    api_rest_s: float = Field(75.0, ge=0.1, le=3600)
    """How long a connection may rest between two requests: longer than proxies keep theirs (nginx: 60 s), so that we do
    not hang up on a request that is on its way."""
    api_requests_per_minute: int = Field(120, ge=1, le=100_000)
    """How many requests one person may make in a minute, of each process."""
    api_reads_per_minute: int = Field(6, ge=1, le=1_000)
    """How many reads of their wallet one person may ask for in a minute; each costs the producers a request."""
    auth_jwks_url: Url | None = None
    """Where the keys of people's tokens are: `https://<project>.supabase.co/auth/v1/.well-known/jwks.json`."""
    auth_jwks_file: str | None = None
    """The same keys as a file, where the address is not to be asked. Read again when a token names an unknown key."""
    auth_jwt_secret: str | None = Field(None, repr=False, min_length=SECRET_CHARACTERS_MIN)
    """The secret of old projects, whose tokens are HS256. Never logged."""
    auth_issuer: str | None = None
    """Who must have issued a token (`iss`): `https://<project>.supabase.co/auth/v1`. None: not looked at."""
    auth_audience: str = Field("authenticated", min_length=1)
    """Whom a token must be for (`aud`)."""

    _open_files = field_validator("api_connections_max")(within_open_files)
    _secret = field_validator("auth_jwt_secret")(lambda text: None if text is None else parse_secret(text))

    @model_validator(mode="after")
    def _keys_are_somewhere(self) -> "ApiSettings":
        if self.auth_jwks_url and self.auth_jwks_file:
            raise ValueError("AUTH_JWKS_URL and AUTH_JWKS_FILE are both set: say one place")
        if not (self.auth_jwks_url or self.auth_jwks_file or self.auth_jwt_secret):
            raise ValueError(
                "nothing says how people's tokens are checked: set AUTH_JWKS_URL or AUTH_JWKS_FILE, or AUTH_JWT_SECRET"
                " for a project with the old shared secret"
            )
        return self
