"""Whose token it is: every true one is taken, and every way known to pass off a false one is refused."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.api import tokens
from consumer.api.tokens import (
    LEEWAY_S,
    TOKEN_CHARACTERS_MAX,
    Keys,
    Refused,
    Rules,
    UnknownKey,
    parse_jwks,
    verify,
)
from tests.signing import ISSUER, SECRET, claims, encoded, jwk, jwks, private_key, token

RULES = Rules(audience="authenticated", issuer=ISSUER)
ASYMMETRIC = ("ES256", "RS256", "EdDSA")
PUBLIC = parse_jwks(jwks(jwk("ES256", "a"), jwk("RS256", "rsa"), jwk("EdDSA", "ed")))
KIDS = {"ES256": "a", "RS256": "rsa", "EdDSA": "ed"}
OLD = Keys(secret=SECRET)
BOTH = Keys(public=PUBLIC.public, secret=SECRET)
NOW = int(time.time())
ADA = UUID("3f0c7c1e-53c4-4d0e-9a57-0f6a3f1f8a11")


def refusal(text: str, keys: Keys = PUBLIC, rules: Rules = RULES) -> Refused:
    """Why this token is refused."""
    with pytest.raises(Refused) as refused:
        verify(text, keys, rules)
    return refused.value


@pytest.mark.parametrize("algorithm", [*ASYMMETRIC, "HS256"])
def test_a_persons_token_says_who_they_are(algorithm: str) -> None:
    """Of every kind of key that a project can have."""
    keys = OLD if algorithm == "HS256" else PUBLIC
    person = verify(token(claims(ADA), algorithm=algorithm, kid=KIDS.get(algorithm)), keys, RULES)
    assert (person.user_id, person.is_anonymous) == (ADA, False)
    assert verify(token(claims(ADA), algorithm=algorithm, kid=KIDS.get(algorithm)), BOTH, RULES) == person


def test_an_anonymous_sign_in_is_a_person() -> None:
    """Supabase gives it an id and the role; what it may have is decided elsewhere."""
    person = verify(token(claims(ADA, is_anonymous=True)), PUBLIC, RULES)
    assert (person.user_id, person.is_anonymous) == (ADA, True)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"exp": NOW - LEEWAY_S - 5}, "expired_token"),
        ({"exp": None}, "incomplete_token"),
        ({"exp": "never"}, "unknown_token"),
        ({"exp": []}, "unknown_token"),
        ({"exp": {}}, "unknown_token"),
        ({"exp": 1}, "expired_token"),
        ({"exp": -(10**30)}, "expired_token"),
        ({"nbf": NOW + 36_000}, "early_token"),
        ({"nbf": []}, "unknown_token"),
        ({"iat": NOW + 36_000}, "early_token"),
        ({"iat": "yesterday"}, "unknown_token"),
        ({"aud": None}, "incomplete_token"),
        ({"aud": "anon"}, "wrong_audience"),
        ({"aud": ["other"]}, "wrong_audience"),
        ({"aud": 7}, "wrong_audience"),
        ({"aud": {"authenticated": 1}}, "wrong_audience"),
        ({"iss": "https://evil.example/auth/v1"}, "wrong_issuer"),
        ({"iss": ISSUER + "/"}, "wrong_issuer"),
        ({"iss": None}, "incomplete_token"),
        ({"role": "service_role"}, "wrong_role"),
        ({"role": "anon"}, "wrong_role"),
        ({"role": "supabase_admin"}, "wrong_role"),
        ({"role": "Authenticated"}, "wrong_role"),
        ({"role": ["authenticated"]}, "wrong_role"),
        ({"role": None}, "wrong_role"),
        ({"sub": None}, "incomplete_token"),
        ({"sub": ""}, "wrong_subject"),
        ({"sub": "ada"}, "wrong_subject"),
        ({"sub": f"{{{ADA}}}"}, "wrong_subject"),
        ({"sub": f"urn:uuid:{ADA}"}, "wrong_subject"),
        ({"sub": f"{ADA}' or true --"}, "wrong_subject"),
        ({"sub": 7}, "unknown_token"),
    ],
)
def test_what_a_true_token_must_say(said: dict[str, Any], code: str) -> None:
    """A truly signed token of another time, audience, issuer, role or subject is nobody's, and says which of it."""
    assert refusal(token(claims(**said))).code == code


@pytest.mark.parametrize("role", ["anon", "service_role"])
def test_a_projects_own_key_says_that_it_is_no_persons(role: str) -> None:
    """As old projects have them, without sub and aud: supabase-js sends one where nobody is signed in. What it lacks
    helps nobody; that a session's token is wanted does. A forged one is told nothing.
    """
    said = {"iss": "supabase", "ref": "project", "role": role, "iat": NOW, "exp": NOW + 36_000}
    refused = refusal(jwt.encode(said, SECRET, algorithm="HS256"), OLD)
    assert refused.code == "wrong_role"
    assert "access token" in refused.detail
    assert refusal(jwt.encode(said, SECRET[::-1], algorithm="HS256"), OLD).code == "unknown_token"


@pytest.mark.parametrize("said", [{"aud": ["authenticated", "other"]}, {"exp": NOW + 36_000.5}, {"nbf": 0}, {"x": {}}])
def test_what_a_token_may_say(said: dict[str, Any]) -> None:
    """An audience among several, fractions of a second, and claims that nobody asked for."""
    verify(token(claims(**said)), PUBLIC, RULES)


def test_the_clocks_may_differ_by_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """By LEEWAY_S, and by no more."""
    assert 1 <= LEEWAY_S <= 10
    now, leeway_s = int(time.time()), 1_000  # so that this machine may take its time
    monkeypatch.setattr(tokens, "LEEWAY_S", leeway_s)
    verify(token(claims(exp=now - leeway_s + 300, iat=now + leeway_s - 300)), PUBLIC, RULES)
    assert refusal(token(claims(exp=now - leeway_s - 1))).code == "expired_token"
    assert refusal(token(claims(iat=now + leeway_s + 300))).code == "early_token"


def test_the_issuer_is_not_looked_at_where_none_is_set() -> None:
    """A project under an address of its own needs no setting."""
    verify(token(claims(iss="https://elsewhere.example")), PUBLIC, Rules(audience="authenticated"))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 0, [], "HS256 ", "ES256K"])
@pytest.mark.parametrize("signature", ["", encoded("anything")])
def test_no_token_without_a_signature(algorithm: object, signature: str) -> None:
    """Whatever its header calls the lack of one."""
    text = f"{encoded({'alg': algorithm, 'typ': 'JWT', 'kid': 'a'})}.{encoded(claims())}.{signature}"
    for keys in (PUBLIC, OLD, BOTH):
        assert refusal(text, keys).code in ("unknown_token", "malformed_token")


@pytest.mark.parametrize("keys", [PUBLIC, BOTH])
@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
@pytest.mark.parametrize("shape", ["pem", "der", "jwk", "jwks"])
def test_a_public_key_is_never_a_secret(keys: Keys, algorithm: str, shape: str) -> None:
    """HS256 with the published key as its secret, in every form that it is published in."""
    public = private_key(algorithm).public_key()
    secret = {
        "pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "jwk": json.dumps(jwk(algorithm, KIDS[algorithm])).encode(),
        "jwks": jwks(jwk(algorithm, KIDS[algorithm])),
    }[shape]
    signed = f"{encoded({'alg': 'HS256', 'kid': KIDS[algorithm]})}.{encoded(claims())}"
    text = f"{signed}.{encoded(hmac.digest(secret, signed.encode(), hashlib.sha256))}"
    assert refusal(text, keys).code == "unknown_token"


@pytest.mark.parametrize("other", ["HS384", "HS512", "RS384", "RS512", "PS256", "ES384", "ES512"])
def test_only_what_is_configured(other: str) -> None:
    """Another algorithm is refused even where key and signature would fit."""
    key: Any = SECRET * 2 if other.startswith("HS") else private_key("RS256")
    if other.startswith("ES"):
        key = ec.generate_private_key(ec.SECP384R1() if other == "ES384" else ec.SECP521R1())
    keys = Keys(public=PUBLIC.public, secret=SECRET * 2)
    assert refusal(jwt.encode(claims(), key, algorithm=other, headers={"kid": "rsa"}), keys).code == "unknown_token"


def test_a_secret_takes_no_public_key_and_the_other_way_round() -> None:
    """With one kind configured the other kind's true tokens are nobody's."""
    assert refusal(token(algorithm="HS256"), PUBLIC).code == "unknown_token"
    assert refusal(token(), OLD).code == "unknown_token"


def test_the_key_is_that_of_the_kid_alone() -> None:
    """Another key of the set, another algorithm's kid, none, an unknown one: the last two may be news."""
    assert refusal(token(name="b")).code == "unknown_token"
    assert refusal(token(kid="rsa")).code == "unknown_token"
    for kid in (None, "unknown", "", "A", "../a", "a' or 1=1", "a\x00"):
        with pytest.raises(UnknownKey):
            verify(token(kid=kid, headers={"kid": kid} if kid == "" else None), PUBLIC, RULES)
    for no_text in (7, ["a"], {"a": "a"}, True):
        bent = f"{encoded({'alg': 'ES256', 'kid': no_text})}.{token().split('.', 1)[1]}"
        assert refusal(bent).code == "unknown_token"


def test_a_key_without_a_kid_is_for_tokens_without_one() -> None:
    """One that is made by hand may have none; it is not tried for tokens that name another."""
    keys = parse_jwks(jwks(jwk("ES256")))
    verify(token(kid=None), keys, RULES)
    with pytest.raises(UnknownKey):
        verify(token(kid="a"), keys, RULES)


@pytest.mark.parametrize("header", ["jku", "x5u", "jwk", "x5c"])
def test_a_token_brings_no_key_of_its_own(header: str) -> None:
    """What its header says of keys is not looked at: with it a true token is true, and a forged one forged."""
    evil = {"jku": "https://evil.example/jwks", "x5u": "https://evil.example/x5", "x5c": ["MIIB"]}
    value = evil.get(header, jwk("ES256", "a", name="evil"))
    verify(token(headers={header: value}), PUBLIC, RULES)
    assert refusal(token(name="evil", headers={header: value})).code == "unknown_token"


@pytest.mark.parametrize("header", [{"crit": ["exp"]}, {"crit": []}, {"b64": False, "crit": ["b64"]}, {"b64": True}])
def test_what_must_be_understood_and_is_not(header: dict[str, Any]) -> None:
    """Extensions that a token insists on are refused, and so is a body beside the token."""
    bent = f"{encoded({'alg': 'ES256', 'kid': 'a', **header})}.{token().split('.', 1)[1]}"
    assert refusal(bent).code == "unknown_token"


NO_TOKENS: dict[str, Callable[[], str]] = {
    "nothing": lambda: "",
    "a dot": lambda: ".",
    "empty parts": lambda: "..",
    "two parts": lambda: "a.b",
    "four parts": lambda: "a.b.c.d",
    "words": lambda: "not a token",
    "umlauts": lambda: "ä.ö.ü",
    "a zero": lambda: "\x00",
    "padding": lambda: token() + "=",
    "a space behind": lambda: token() + " ",
    "a line's end": lambda: token() + "\n",
    "a space before": lambda: " " + token(),
    "spaces in it": lambda: token().replace(".", ". "),
    "dots in it": lambda: token().replace(".", ".."),
    "a list for a header": lambda: parts(b"[]"),
    "null for a header": lambda: parts(b"null"),
    "half a header": lambda: parts(b"{"),
    "a header of no text": lambda: parts(b"\xff\xfe"),
    "a header without end": lambda: parts(b"[" * 3000),
    "claims without end": lambda: parts(said=b"[" * 3000),
    "a list for claims": lambda: parts(said=b"[]"),
    "an endless life": lambda: parts(said=b'{"exp": Infinity}'),
    "a time that is none": lambda: parts(said=b'{"exp": NaN}'),
    "two algorithms": lambda: parts(b'{"alg": "none", "alg": "ES256", "kid": "a"}'),
    "two roles": lambda: parts(said=b'{"role": "anon", "role": "authenticated"}'),
    "too long": lambda: "a" * (TOKEN_CHARACTERS_MAX + 1),
    "too long, though true": lambda: token(claims(filler="x" * TOKEN_CHARACTERS_MAX)),
}


def parts(header: bytes = b'{"alg": "ES256", "kid": "a"}', said: bytes = b"{}") -> str:
    """A token of these two, with a signature of nobody."""
    return f"{encoded(header)}.{encoded(said)}.{encoded('x')}"


@pytest.mark.parametrize("kind", NO_TOKENS)
def test_what_is_no_token(kind: str) -> None:
    """Garbage, other alphabets, names that stand twice, numbers that are none, nesting without end, too long."""
    assert refusal(NO_TOKENS[kind](), BOTH).code == "malformed_token"


def test_a_name_that_stands_twice_is_refused_though_truly_signed() -> None:
    """Readers differ in which of the two they take."""
    said = json.dumps(claims())[:-1] + ', "role": "authenticated"}'
    signed = f"{encoded({'alg': 'HS256'})}.{encoded(said)}"
    text = f"{signed}.{encoded(hmac.digest(SECRET.encode(), signed.encode(), hashlib.sha256))}"
    assert refusal(text, OLD).code == "malformed_token"


@given(st.data(), st.sampled_from([*ASYMMETRIC, "HS256"]))
def test_flipping_any_bit_refuses(data: st.DataObject, algorithm: str) -> None:
    """A true token with one bit of one character changed is nobody's."""
    text = _TRUE[algorithm]
    place = data.draw(st.integers(0, len(text) - 1))
    bit = data.draw(st.integers(0, 6))
    bent = text[:place] + chr(ord(text[place]) ^ (1 << bit)) + text[place + 1 :]
    refusal(bent, BOTH)


@given(st.text(max_size=200) | st.text("abcABC012-_.", max_size=200) | st.binary(max_size=100).map(encoded))
def test_no_text_is_a_person(text: str) -> None:
    """Nor does any end in another way than a refusal."""
    refusal(text, BOTH)


@settings(max_examples=40)
@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.dictionaries(st.text(), inner))
)
def test_no_header_and_no_claims_end_otherwise(value: Any) -> None:
    """Any JSON for a header, and any for the claims behind a good one, is refused."""
    part = encoded(json.dumps(value))
    refusal(f"{part}.{encoded(claims())}.{encoded('x')}", BOTH)
    refusal(f"{encoded({'alg': 'ES256', 'kid': 'a'})}.{part}.{encoded('x')}", BOTH)


_TRUE = {each: token(claims(uuid4()), algorithm=each, kid=KIDS.get(each)) for each in (*ASYMMETRIC, "HS256")}
