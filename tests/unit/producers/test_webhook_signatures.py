"""Who may send: the one who holds a secret, and nobody else, whatever is sent."""

import os
import re
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from producers.webhook import signatures as webhook_signatures
from producers.webhook.signatures import Secrets, Unproven, parse_shared, parse_signing
from tests.webhook_senders import OTHER_SECRET, SECRET, SHARED, STRANGE_SECRET, signature, signed

NOW_S = 1_700_000_000
NOW = datetime.fromtimestamp(NOW_S, UTC)
BODY = '{"account_id": "ö"}'.encode()
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
SECRETS = Secrets(
    signing=(parse_signing(SECRET), parse_signing(OTHER_SECRET)), shared=(parse_shared(SHARED),), tolerance_s=300
)


def sent(**changed: Any) -> dict[str, list[str]]:
    """The headers of a good webhook, some of them changed; None takes one away."""
    good = {
        "webhook-id": ID,
        "webhook-timestamp": str(NOW_S),
        "webhook-signature": signature(SECRET, ID, str(NOW_S), BODY),
    }
    headers: dict[str, Any] = {**good, **{name.replace("_", "-"): value for name, value in changed.items()}}
    return {name: value if isinstance(value, list) else [value] for name, value in headers.items() if value is not None}


def proved(headers: dict[str, list[str]], body: bytes = BODY, *, secrets: Secrets = SECRETS) -> str | None:
    """The id; Unproven otherwise."""
    claim = webhook_signatures.claim(headers, secrets=secrets, now=NOW)
    claim.prove(body, secrets)
    return claim.id


def test_the_well_known_example_is_proved() -> None:
    """The webhook that implementations of the specification test themselves with, byte for byte."""
    key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    secrets = Secrets(signing=(parse_signing(key),), shared=(), tolerance_s=300)
    headers = {
        "webhook-id": [ID],
        "webhook-timestamp": ["1614265330"],
        "webhook-signature": ["v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="],
    }
    claim = webhook_signatures.claim(headers, secrets=secrets, now=datetime.fromtimestamp(1_614_265_330, UTC))
    claim.prove(b'{"test": 2432232314}', secrets)


@pytest.mark.parametrize("secret", [SECRET, OTHER_SECRET])
def test_while_secrets_rotate_both_count(secret: str) -> None:
    """A signature by any of our secrets proves, alone or beside others and beside versions that are not known."""
    mine, strange = (signature(each, ID, str(NOW_S), BODY) for each in (secret, STRANGE_SECRET))
    for signatures in (mine, f"{strange} {mine}", f"{mine} {strange}", f"v2,abc v1a,x? nonsense {mine}  v1,"):
        assert proved(sent(webhook_signature=signatures)) == ID


def test_other_versions_prove_nothing() -> None:
    """The right bytes under another version's name are no signature."""
    mine = signature(SECRET, ID, str(NOW_S), BODY).removeprefix("v1,")
    for version in ("v2", "v1a", "V1", "", "v1 ", "v01"):
        with pytest.raises(Unproven):
            proved(sent(webhook_signature=f"{version},{mine}"))


def test_every_byte_counts() -> None:
    """Any one byte of the body, the id, the timestamp or the signature changed: not proved."""
    for index in range(len(BODY)):
        for bit in range(8):
            tampered = bytearray(BODY)
            tampered[index] ^= 1 << bit
            with pytest.raises(Unproven):
                proved(sent(), bytes(tampered))
    for name, (value,) in sent().items():
        for index in range(len(value)):
            for bit in range(7):
                tampered_value = value[:index] + chr(ord(value[index]) ^ 1 << bit) + value[index + 1 :]
                with pytest.raises(Unproven):
                    proved(sent(**{name.replace("-", "_"): tampered_value}))


@pytest.mark.parametrize("name", ["webhook_id", "webhook_timestamp", "webhook_signature"])
@pytest.mark.parametrize("value", [None, "", [], ["a", "a"]])
def test_each_header_comes_once(name: str, value: object) -> None:
    """One that is missing, empty or there twice proves nothing, even beside a good shared secret."""
    with pytest.raises(Unproven):
        proved(sent(**{name: value, "authorization": f"Bearer {SHARED}"}))


@pytest.mark.parametrize("off_s", [-301, 301, -(10**9), 10**9])
def test_old_and_future_timestamps_are_refused(off_s: int) -> None:
    """Beyond the tolerance a good signature proves nothing; within it, it does."""
    for seconds, is_good in ((off_s, False), (max(-300, min(300, off_s)), True)):
        timestamp = str(NOW_S + seconds)
        headers = sent(webhook_timestamp=timestamp, webhook_signature=signature(SECRET, ID, timestamp, BODY))
        if is_good:
            assert proved(headers) == ID
            continue
        with pytest.raises(Unproven, match="s in the"):
            proved(headers)


@pytest.mark.parametrize(
    "timestamp",
    ["", "+1700000000", "1700000000.0", "17e8", "1_700_000_000", " 1700000000", "01700000000", "nan", "\uff11\uff17"],
)
def test_a_timestamp_has_one_spelling(timestamp: str) -> None:
    """What Python would read as the same number is not what was signed."""
    with pytest.raises(Unproven, match="timestamp is malformed"):
        proved(sent(webhook_timestamp=timestamp, webhook_signature=signature(SECRET, ID, timestamp, BODY)))


@pytest.mark.parametrize("webhook_id", ["msg.1", "", "a b", "ö", "x" * 257, "a\n"])
def test_an_id_has_a_shape(webhook_id: str) -> None:
    """Above all no full stop: else one signature would do for two ways to part id, timestamp and body."""
    with pytest.raises(Unproven):
        proved(sent(webhook_id=webhook_id, webhook_signature=signature(SECRET, webhook_id, str(NOW_S), BODY)))


def test_huge_headers_and_bodies_are_judged_like_others() -> None:
    """A megabyte of signatures is refused; a megabyte of a body is proved."""
    with pytest.raises(Unproven, match="too many"):
        proved(sent(webhook_signature="v1,a " * 200_000))
    large = b'"' + b"x" * 1_000_000 + b'"'
    assert proved(sent(webhook_signature=signature(SECRET, ID, str(NOW_S), large)), large) == ID


@given(st.dictionaries(st.sampled_from(webhook_signatures.HEADERS), st.lists(st.text(), max_size=2)), st.binary())
def test_nothing_else_is_proved_and_nothing_else_is_raised(headers: dict[str, list[str]], body: bytes) -> None:
    """Whatever comes, surrogates and control characters among it: it is not proved, in one way."""
    with pytest.raises(Unproven):
        proved(headers, body)


@given(st.text(alphabet=st.characters(codec="utf-8")), st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True))
def test_what_the_library_takes_we_take(text: str, webhook_id: str) -> None:
    """A webhook signed by hand now is good by the library's own judgment and by ours."""
    body = text.encode()
    headers = signed(body, webhook_id=webhook_id)
    Webhook(SECRET).verify(body, headers, json_parse=False)
    claim = webhook_signatures.claim(
        {name: [value] for name, value in headers.items()},
        secrets=SECRETS,
        now=datetime.fromtimestamp(time.time(), UTC),
    )
    claim.prove(body, SECRETS)
    with pytest.raises(WebhookVerificationError):
        Webhook(STRANGE_SECRET).verify(body, headers, json_parse=False)


def test_the_pages_example_signs(tmp_path: Path) -> None:
    """The lines for a shell in docs/webhooks.md, run as they stand with a curl that only writes down what it is given:
    what they send is proved.
    """
    page = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text(encoding="utf-8")
    [lines] = [block for block in re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) if "curl" in block]
    said = tmp_path / "said"
    script = f"curl() {{ printf '%s\\0' \"$@\" > {said}; }}\n{lines}"
    subprocess.run(["bash", "-euc", script], check=True, env={**os.environ, "WEBHOOK_SECRETS": SECRET})
    words = said.read_bytes().decode().split("\0")
    headers = dict(
        word.lower().split(": ", 1) for word, before in zip(words[1:], words, strict=False) if before == "-H"
    )
    assert headers["content-type"] == "application/json"
    [body] = [word for word, before in zip(words[1:], words, strict=False) if before == "--data-binary"]
    exact = {
        name: [word.split(": ", 1)[1]] for word in words for name in [word.split(": ", 1)[0]] if "webhook-" in name
    }
    now = datetime.fromtimestamp(time.time(), UTC)
    webhook_signatures.claim(exact, secrets=SECRETS, now=now).prove(body.encode(), SECRETS)


def test_a_shared_secret_proves_without_an_id() -> None:
    """`Authorization: Bearer` with one of ours; the scheme's case does not matter, everything else does."""
    for scheme in ("Bearer", "bearer"):
        assert proved({"authorization": [f"{scheme} {SHARED}"]}) is None
    for value in (SHARED, f"Basic {SHARED}", f"Bearer {SHARED}x", f"Bearer {SHARED[:-1]}", "Bearer ", "Bearer \udcff"):
        with pytest.raises(Unproven):
            proved({"authorization": [value]})
    with pytest.raises(Unproven):
        proved({"authorization": [f"Bearer {SHARED}"] * 2})


def test_without_shared_secrets_none_is_right() -> None:
    """An empty list of secrets is met by nothing, above all not by the empty secret."""
    nobody = Secrets(signing=(), shared=(), tolerance_s=300)
    for headers in ({"authorization": ["Bearer "]}, {"authorization": ["Bearer x"]}, sent()):
        with pytest.raises(Unproven):
            proved(headers, secrets=nobody)


@pytest.mark.parametrize(
    "text", ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_!" + "A" * 40]
)
def test_secrets_that_are_none_are_refused_without_being_shown(text: str) -> None:
    """Too short, not base64 or without its prefix: the message says what is expected and not what was there."""
    with pytest.raises(ValueError, match="whsec_") as refused:
        parse_signing(text)
    assert not text or text == "whsec_" or text not in str(refused.value)


@pytest.mark.parametrize("text", ["", "short", "x" * 31, "with space " * 4, "ö" * 40, "x" * 513])
def test_shared_secrets_that_are_none_are_refused_without_being_shown(text: str) -> None:
    """The same for what is too short to be a secret."""
    with pytest.raises(ValueError, match="32 or more") as refused:
        parse_shared(text)
    assert not text or text not in str(refused.value)
