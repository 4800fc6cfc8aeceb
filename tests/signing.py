"""Tokens as Supabase makes them, keys of every kind, the set they are published in, tokens true and false."""

import base64
import json
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ISSUER: Final = "https://project.supabase.co/auth/v1"
SECRET: Final = "a-shared-secret-of-an-old-project-0123456789"  # noqa: S105 - for tests
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
_ALGORITHMS: Final[Mapping[str, Any]] = jwt.algorithms.get_default_algorithms()


def private_key(algorithm: str, name: str = "a") -> PrivateKey:
    """A key of this algorithm, the same for the same name."""
    return _made(algorithm, name)


@lru_cache
def _made(algorithm: str, _name: str) -> PrivateKey:
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm == "RS256":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ed25519.Ed25519PrivateKey.generate()


def jwk(algorithm: str, kid: str | None = None, name: str = "a", **more: Any) -> dict[str, Any]:
    """The public half, as it is published."""
    public = _ALGORITHMS[algorithm].to_jwk(private_key(algorithm, name).public_key(), as_dict=True)
    return {**public, "alg": algorithm, "use": "sig", **({"kid": kid} if kid else {}), **more}


def jwks(*keys: Mapping[str, Any]) -> bytes:
    """The set as it is served."""
    return json.dumps({"keys": keys}).encode()


def claims(user_id: UUID | None = None, **other: Any) -> dict[str, Any]:
    """What a signed-in person's token says; None leaves a claim out."""
    now = int(time.time())
    said = {
        "iss": ISSUER,
        "sub": str(user_id or uuid4()),
        "aud": "authenticated",
        "role": "authenticated",
        "exp": now + 3600,
        "iat": now,
        "email": "ada@example.org",
        "session_id": str(uuid4()),
        "is_anonymous": False,
        "app_metadata": {"provider": "email"},
    }
    return {name: value for name, value in {**said, **other}.items() if value is not None}


def token(
    said: Mapping[str, Any] | None = None,
    *,
    algorithm: str = "ES256",
    kid: str | None = "a",
    name: str = "a",
    headers: Mapping[str, Any] | None = None,
) -> str:
    """A token, truly signed."""
    key: Any = SECRET if algorithm == "HS256" else private_key(algorithm, name)
    more = {**({"kid": kid} if kid else {}), **(headers or {})}
    content = json.dumps(claims() if said is None else said).encode()  # PyJWT itself would not sign what is not sound
    return jwt.PyJWS().encode(content, key, algorithm=algorithm, headers=more)


def encoded(value: bytes | str | Mapping[str, Any]) -> str:
    """One part of a token, of whatever is given."""
    raw = (
        json.dumps(value).encode()
        if isinstance(value, Mapping)
        else value.encode()
        if isinstance(value, str)
        else value
    )
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
