"""Who is asking: a person's token (a JWT of Supabase) to the person, or to the reason why it is none. No I/O.

What decides how a token is checked is the key that we were configured with, never the token: each public key stands
for one algorithm, and the shared secret for HS256 alone. So a token cannot choose `none`, cannot have a public key
taken for a secret, and cannot bring a key of its own (`jwk`, `jku`, `x5u` are not looked at).
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

ROLE: Final = "authenticated"
TOKEN_CHARACTERS_MAX: Final = 8 * 1024
LEEWAY_S: Final = 5  # clocks differ a little
KEYS_MAX: Final = 100
RSA_BITS_MIN: Final = 2048
_HS256: Final = "HS256"
_ALGORITHMS: Final = {("EC", "P-256"): "ES256", ("RSA", None): "RS256", ("OKP", "Ed25519"): "EdDSA"}
_PUBLIC: Final = ("kty", "crv", "x", "y", "n", "e")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


class BadKeys(Exception):
    """A set of keys that cannot be used; says why."""


class NoKeys(BadKeys):
    """A set of keys without one that can be used. It is one all the same: what was in it before is withdrawn."""

    def __init__(self, reason: str, *, is_empty: bool) -> None:
        super().__init__(reason)
        self.is_empty = is_empty


class Refused(Exception):
    """A token that is not a person's. `code` for machines; the text helps its owner, not who forges one."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class UnknownKey(Refused):
    """Signed, it says, with a key that we do not have: it may be a new one."""

    def __init__(self) -> None:
        super().__init__("unknown_token", _UNKNOWN)


_UNKNOWN: Final = "The token is not one that this installation accepts."
_NO_PERSON: Final = (
    "The token is not a signed-in person's, nor are a project's keys: send the session's access token, whose role is"
    " authenticated."
)
_MALFORMED: Final = "The token is not a JSON Web Token."


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who is asking. Anonymous sign-ins are people too."""

    user_id: UUID
    is_anonymous: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a token must say."""

    audience: str
    issuer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Public keys by their `kid` (None: it has none), and the secret of old projects."""

    public: Mapping[str | None, jwt.PyJWK] = field(default_factory=dict)
    secret: str | None = field(default=None, repr=False)
    skipped: Sequence[str] = ()  # keys of the set that cannot be used, and why


def verify(token: str, keys: Keys, rules: Rules) -> Person:
    """The person whose token this is. Refused when it is not valid now; UnknownKey when its key is not there."""
    if len(token) > TOKEN_CHARACTERS_MAX:
        raise Refused("malformed_token", f"The token has more than {TOKEN_CHARACTERS_MAX} characters.")
    if not _TOKEN.fullmatch(token):
        raise Refused("malformed_token", _MALFORMED)
    header, claims = (_json_object(part) for part in token.split(".")[:2])
    key, algorithm = _key(header, keys)
    try:
        jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=rules.audience,
            issuer=rules.issuer,
            leeway=LEEWAY_S,
            options={"require": ["exp", "sub", "aud"]},
        )
    except (jwt.InvalidTokenError, TypeError, OverflowError) as error:  # it lets out what a claim of no number raises
        if isinstance(error, jwt.MissingRequiredClaimError) and claims.get("role") != ROLE:
            raise Refused("wrong_role", _NO_PERSON) from error  # a project's own key: truly signed, and short
        raise _refusal(error) from error
    return _person(claims)


def parse_jwks(content: bytes) -> Keys:
    """The keys of a JSON Web Key Set (RFC 7517). BadKeys when it is none, NoKeys when none of them can be used."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadKeys(f"no JSON: {str(error)[:100]}") from error
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list) or len(listed) > KEYS_MAX:
        raise BadKeys(f'no set of keys: expected {{"keys": [...]}} with at most {KEYS_MAX} of them')
    if not listed:
        reason = "no key can be used, for there is none: while a project signs with its old secret, set AUTH_JWT_SECRET"
        raise NoKeys(reason, is_empty=True)
    public: dict[str | None, jwt.PyJWK] = {}
    skipped = []
    for place, each in enumerate(listed):
        try:
            key = _usable(each)
        except BadKeys as unusable:
            skipped.append(f"keys[{place}]: {unusable}")
            continue
        if key.key_id in public:
            raise BadKeys(f"keys[{place}]: a second key with the kid {key.key_id!r}")
        public[key.key_id] = key
    if not public:
        raise NoKeys("; ".join(["no key can be used", *skipped]), is_empty=False)
    return Keys(public=public, skipped=tuple(skipped))


def _usable(found: object) -> jwt.PyJWK:
    """The key; BadKeys says why it cannot be used. Only what is public of it is looked at."""
    if not isinstance(found, dict) or not isinstance(found.get("kid"), str | None):
        raise BadKeys("no key")
    kty, crv = str(found.get("kty")), found.get("crv")
    if kty == "oct":
        raise BadKeys("a shared secret: it belongs in AUTH_JWT_SECRET, nowhere that is published")
    algorithm = _ALGORITHMS.get((kty, str(crv) if crv is not None else None))
    if algorithm is None or found.get("alg", algorithm) != algorithm:
        raise BadKeys("for none of ES256, RS256 and EdDSA")
    operations = found.get("key_ops", ["verify"])
    if found.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise BadKeys("not for signatures")
    public = {name: found[name] for name in _PUBLIC if name in found}
    try:
        key = jwt.PyJWK({**public, "kid": found.get("kid")}, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
        raise BadKeys(str(error)[:100]) from error
    if isinstance(key.key, RSAPublicKey) and key.key.key_size < RSA_BITS_MIN:
        raise BadKeys(f"RSA with fewer than {RSA_BITS_MIN} bits")
    return key


def parse_secret(text: str) -> str:
    """The secret of an old project. ValueError where it is something else, on which every token would break."""
    try:
        jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).prepare_key(text)
    except jwt.InvalidKeyError:
        raise ValueError(
            "a public key or a certificate is no shared secret: that is under the project's JWT settings; public keys"
            " belong in AUTH_JWKS_FILE"
        ) from None
    return text


def _key(header: Mapping[str, Any], keys: Keys) -> tuple[jwt.PyJWK | str, str]:
    """The key to check with, and the one algorithm it is for."""
    algorithm, kid = header.get("alg"), header.get("kid")
    if "crit" in header or "b64" in header or not isinstance(kid, str | None):
        raise Refused("unknown_token", _UNKNOWN)
    if algorithm == _HS256 and keys.secret is not None:
        return keys.secret, _HS256
    if algorithm not in _ALGORITHMS.values():
        raise Refused("unknown_token", _UNKNOWN)
    key = keys.public.get(kid)
    if key is None:
        raise UnknownKey
    return key, key.algorithm_name


def _person(claims: Mapping[str, Any]) -> Person:
    role, subject = claims.get("role"), claims.get("sub")
    if role != ROLE:
        raise Refused("wrong_role", _NO_PERSON)
    if not isinstance(subject, str) or not _UUID.fullmatch(subject):
        raise Refused("wrong_subject", "The token does not say whose it is: sub must be a person's id.")
    return Person(user_id=UUID(subject), is_anonymous=claims.get("is_anonymous") is True)


def _refusal(error: Exception) -> Refused:
    """What may be said of it: of a token that is truly signed everything, of another one nothing."""
    for kind, code, detail in _SAID:
        if isinstance(error, kind):
            return Refused(code, detail)
    return Refused("unknown_token", _UNKNOWN)


_SAID: Final[tuple[tuple[type[Exception], str, str], ...]] = (
    (jwt.ExpiredSignatureError, "expired_token", "The token has expired: sign in again, or refresh the session."),
    (jwt.ImmatureSignatureError, "early_token", "The token is not valid yet: is this machine's clock right?"),
    (jwt.InvalidAudienceError, "wrong_audience", "The token is for somebody else (aud)."),
    (jwt.InvalidIssuerError, "wrong_issuer", "The token is from somebody else (iss)."),
    (
        jwt.MissingRequiredClaimError,
        "incomplete_token",
        "The token must say exp, sub and aud, and who issued it (iss).",
    ),
)


REFUSALS: Final = (
    "no_token",
    "malformed_token",
    "unknown_token",
    *(code for _, code, _ in _SAID),
    "wrong_role",
    "wrong_subject",
)


def _json_object(part: str) -> dict[str, Any]:
    """Strictly: no name twice, no number that is none. Refused otherwise."""
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        found = json.loads(raw, object_pairs_hook=_each_name_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refused("malformed_token", _MALFORMED) from error
    if not isinstance(found, dict):
        raise Refused("malformed_token", _MALFORMED)
    return found


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")
