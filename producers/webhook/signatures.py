"""Who may send hints: Standard Webhooks v1 signatures, or a shared secret of senders that cannot sign. Pure.

The library signs, and what was sent must equal that, as text. Its own `verify` takes base64 in several spellings, lets
three kinds of errors out where a signature is malformed, and reads the clock by itself.
"""

import binascii
import hmac
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from standardwebhooks import Webhook

SIGNING_PREFIX: Final = "whsec_"
SIGNING_BYTES_MIN, SIGNING_BYTES_MAX = 24, 64  # what Standard Webhooks asks of a key
SHARED_CHARACTERS_MIN, SHARED_CHARACTERS_MAX = 32, 512
SIGNATURES_MAX: Final = 32  # of one header: a sender has a few keys at most
_ID: Final = re.compile(r"[A-Za-z0-9_:=+/-]{1,256}", re.ASCII)  # no full stop: it parts what is signed
_TIMESTAMP: Final = re.compile(r"[1-9][0-9]{0,10}", re.ASCII)
_SHARED: Final = re.compile(r"[!-+\--~]+", re.ASCII)  # visible, and no comma
_SIGNED_HEADERS: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")
HEADERS: Final = (*_SIGNED_HEADERS, "authorization")

Headers = Mapping[str, Sequence[str]]  # the values of each of HEADERS, as often as it was sent


class Unproven(Exception):
    """Nothing proves who sent this. Says what is wrong and never what would be right."""

    def __init__(self, reason: str, *, where: str, expected: str) -> None:
        super().__init__(reason)
        self.where = where
        self.expected = expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Every secret that counts now: two of a sender while it changes from one to the other."""

    signing: tuple[Webhook, ...]
    shared: tuple[bytes, ...]
    tolerance_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the headers say, before the body is read. No id: the shared secret has proved it already."""

    id: str | None
    _timestamp: datetime | None
    _signatures: tuple[bytes, ...]

    def prove(self, body: bytes, secrets: Secrets) -> None:
        """Unproven unless one of the signatures is that of this body by one of the secrets."""
        if self.id is None or self._timestamp is None:
            return
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise Unproven("the body is not UTF-8", where="body", expected="JSON in UTF-8, as it was signed") from None
        found = False
        for secret in secrets.signing:
            wanted = secret.sign(self.id, self._timestamp, text).encode()
            for signature in self._signatures:
                found |= hmac.compare_digest(signature, wanted)
        if not found:
            raise Unproven(
                "no signature is that of this id, timestamp and body by a secret that counts",
                where="webhook-signature",
                expected="v1, and the HMAC-SHA256 of id.timestamp.body in base64",
            )


def claim(headers: Headers, *, secrets: Secrets, now: datetime) -> Claim:
    """What the headers claim; Unproven where nothing that follows could prove it."""
    if any(headers.get(name) for name in _SIGNED_HEADERS):
        return _signed(headers, secrets, now)
    values = headers.get("authorization", ())
    if len(values) == 1 and values[0][:7].lower() == "bearer ":
        given = values[0][7:].strip().encode(errors="replace")
        found = False
        for secret in secrets.shared:
            found |= hmac.compare_digest(given, secret)
        if found:
            return Claim(id=None, _timestamp=None, _signatures=())
        raise Unproven("the shared secret is not one that counts", where="authorization", expected="Bearer SECRET")
    raise Unproven(
        "there is no signature and no shared secret",
        where="headers",
        expected="webhook-id, webhook-timestamp and webhook-signature; or authorization: Bearer SECRET",
    )


def _signed(headers: Headers, secrets: Secrets, now: datetime) -> Claim:
    for name in _SIGNED_HEADERS:
        if len(headers.get(name, ())) != 1:
            raise Unproven(
                f"{name} was sent {len(headers.get(name, ()))} times", where=name, expected="each of the three, once"
            )
    [webhook_id], [timestamp], [signatures] = (headers[name] for name in _SIGNED_HEADERS)
    if not _ID.fullmatch(webhook_id):
        raise Unproven(
            "the id is malformed", where="webhook-id", expected="1 to 256 letters, digits and any of _ : = + / -"
        )
    if not _TIMESTAMP.fullmatch(timestamp):
        raise Unproven("the timestamp is malformed", where="webhook-timestamp", expected="whole seconds since 1970")
    age_s = int(now.timestamp()) - int(timestamp)
    if abs(age_s) > secrets.tolerance_s:
        raise Unproven(
            f"the timestamp is {abs(age_s)} s in the {'past' if age_s > 0 else 'future'}",
            where="webhook-timestamp",
            expected=f"a time at most {secrets.tolerance_s} s from now: sign each attempt anew, with the same id",
        )
    given = signatures.split(" ")
    if len(given) > SIGNATURES_MAX:
        raise Unproven("too many signatures", where="webhook-signature", expected=f"at most {SIGNATURES_MAX}")
    return Claim(
        id=webhook_id,
        _timestamp=datetime.fromtimestamp(int(timestamp), UTC),
        _signatures=tuple(each.encode(errors="replace") for each in given if each.startswith("v1,")),
    )


def parse_signing(text: str) -> Webhook:
    """`whsec_` and 24 to 64 bytes in base64. The error does not show the secret."""
    try:
        key = b64decode(text.removeprefix(SIGNING_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(SIGNING_PREFIX) or not SIGNING_BYTES_MIN <= len(key) <= SIGNING_BYTES_MAX:
        raise ValueError(
            f"expected {SIGNING_PREFIX} and {SIGNING_BYTES_MIN} to {SIGNING_BYTES_MAX} random bytes in base64 "
            f'(echo "{SIGNING_PREFIX}$(openssl rand -base64 32)" makes one), with commas between several'
        )
    return Webhook(key)


def parse_shared(text: str) -> bytes:
    """A shared secret's bytes. The error does not show the secret."""
    if not SHARED_CHARACTERS_MIN <= len(text) <= SHARED_CHARACTERS_MAX or not _SHARED.fullmatch(text):
        raise ValueError(
            f"expected {SHARED_CHARACTERS_MIN} or more visible ASCII characters without spaces "
            "(openssl rand -hex 32 makes some), with commas between several"
        )
    return text.encode()
