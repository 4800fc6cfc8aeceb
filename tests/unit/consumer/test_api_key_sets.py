"""The set of keys that a project publishes: what of it is taken, what is passed over, and when it is refused whole."""

from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from consumer.api.tokens import (
    BadKeys,
    Rules,
    parse_jwks,
    verify,
)
from tests.signing import ISSUER, encoded, jwk, jwks, private_key, token

RULES = Rules(audience="authenticated", issuer=ISSUER)


def test_what_cannot_be_used_is_passed_over_and_named() -> None:
    """Keys for encryption, of other curves, weak ones, shared secrets: the good ones beside them are taken."""
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()  # noqa: S505 - that it is refused
    bad: list[Any] = [
        jwk("ES256", "enc", use="enc"),
        jwk("ES256", "ops", key_ops=["sign"]),
        jwk("ES256", "no ops", key_ops=None),
        jwk("ES256", "ops in words", key_ops="verify"),
        jwk("RS256", "alg", alg="PS256"),
        {"kty": "oct", "k": encoded("secret"), "kid": "oct"},
        {"kty": "EC", "crv": "P-384", "kid": "curve"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "no point"},
        {"kty": "RSA", "kid": "no numbers"},
        {**jwt.algorithms.RSAAlgorithm.to_jwk(weak, as_dict=True), "kid": "weak"},
        {"kid": 7, **jwk("ES256")} | {"kid": 7},
        {},
        None,
        "text",
    ]
    keys = parse_jwks(jwks(*bad, jwk("ES256", "good")))
    assert set(keys.public) == {"good"}
    assert [each.split(":")[0] for each in keys.skipped] == [f"keys[{place}]" for place in range(len(bad))]


def test_the_private_half_is_not_taken() -> None:
    """A file with private keys in it works as one without: nothing of ours could sign."""
    key = private_key("ES256")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    private = jwt.algorithms.ECAlgorithm.to_jwk(key, as_dict=True)
    assert "d" in private
    keys = parse_jwks(jwks({**private, "kid": "a"}))
    assert isinstance(keys.public["a"].key, ec.EllipticCurvePublicKey)
    verify(token(), keys, RULES)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no JSON"),
        (b"\xff", "no JSON"),
        (b"<html>", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no set of keys"),
        (b"{}", "no set of keys"),
        (b'{"keys": {}}', "no set of keys"),
        (b'{"keys": []}', "no key can be used.*AUTH_JWT_SECRET"),
        (jwks(*[jwk("ES256", str(each)) for each in range(101)]), "at most 100"),
        (jwks({"kty": "oct", "k": "AAAA"}), "AUTH_JWT_SECRET"),
        (jwks(jwk("ES256", "a"), jwk("ES256", "a", name="b")), "a second key with the kid 'a'"),
        (jwks(jwk("ES256"), jwk("RS256")), "a second key with the kid None"),
    ],
)
def test_a_set_that_cannot_be_used(content: bytes, says: str) -> None:
    """No set, an empty one, none that is for us, two keys of one name: refused whole, with the reason."""
    with pytest.raises(BadKeys, match=says):
        parse_jwks(content)


@given(st.binary(max_size=300))
def test_no_bytes_are_a_set_of_keys(content: bytes) -> None:
    """Nor does reading any end otherwise."""
    with pytest.raises(BadKeys):
        parse_jwks(content)
