"""Stellar's own values: what they look like on the wire, and what is refused.

Amounts are ints of stroops (1 unit of an asset = 10,000,000), text on the wire ("50.0000000"). Addresses are strkeys
(SEP-23): a version byte, a payload and a CRC-16, in base32. Horizon's operation ids carry their ledger in the upper 32
bits (stellar-horizon, toid).
"""

import binascii
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final, NewType

AccountId = NewType("AccountId", str)  # G..., 56 characters: the key of everything about a wallet
Address = NewType("Address", str)  # any strkey that money comes from or goes to: G..., C..., B..., L...
Stroops = NewType("Stroops", int)
Ledger = NewType("Ledger", int)  # a ledger's sequence number, 1 to 2**32 - 1
Cursor = NewType("Cursor", str)  # a place in Horizon, opaque: compare for equality, hand it back, no arithmetic

NOTHING: Final = Stroops(0)
STROOPS_PER_UNIT: Final = 10_000_000
STROOPS_MAX: Final = 2**63 - 1  # Stellar's own limit: amounts are int64
LEDGER_MAX: Final = 2**32 - 1
OPERATION_ID_MAX: Final = 2**63 - 1

_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,11})(?:\.([0-9]{1,7}))?", re.ASCII)
_ASSET_CODE = re.compile(r"[A-Za-z0-9]{1,12}", re.ASCII)
_OPERATION_ID = re.compile(r"[0-9]{1,19}", re.ASCII)
_STRKEY = re.compile(r"[GCL][A-Z2-7]{55}|B[A-Z2-7]{57}", re.ASCII)  # 35 bytes, or 36 for a claimable balance
_STRKEY_CHARACTERS_MAX: Final = 58
_DIGITS_OF_INT: Final = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789ABCDEFGHIJKLMNOPQRSTUV")


class Malformed(ValueError):
    """A value that is not what the wire promises: names the field, what was there, and what was expected."""

    def __init__(self, got: object, *, expected: str, field: str = "") -> None:
        try:
            shown = repr(got)
        except RecursionError:  # JSON is read to a greater depth than it can be shown
            shown = f"a {type(got).__name__} nested too deeply to show"
        self.got = shown if len(shown) <= 120 else f"{shown[:117]}..."  # noqa: PLR2004 - a line of a log
        self.expected = expected
        self.field = field
        super().__init__(f"{field or 'value'} is {self.got}, expected {expected}")

    def within(self, field: str) -> "Malformed":
        """The same complaint with its place put before it: `movements[3]` + `amount`."""
        joined = f"{field}.{self.field}" if self.field else field
        complaint = Malformed(None, expected=self.expected, field=joined)
        complaint.got = self.got
        complaint.args = (f"{joined} is {self.got}, expected {self.expected}",)
        return complaint


class Network(StrEnum):
    """Which chain; the passphrase is what Horizon's root says of itself."""

    TESTNET = "testnet"
    MAINNET = "mainnet"

    @property
    def passphrase(self) -> str:
        return _PASSPHRASES[self]


_PASSPHRASES: Final = {
    Network.TESTNET: "Test SDF Network ; September 2015",
    Network.MAINNET: "Public Global Stellar Network ; September 2015",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """An issued asset. Two assets are the same only when code and issuer are: counterfeits of a code are common."""

    code: str
    issuer: AccountId

    @classmethod
    @lru_cache(maxsize=1024)  # an installation is about one
    def parse(cls, text: str) -> "Asset":
        """Read `CODE:ISSUER`; Malformed for anything else."""
        code, colon, issuer = text.partition(":")
        if not colon or not _ASSET_CODE.fullmatch(code):
            raise Malformed(text, expected="CODE:ISSUER with a code of 1 to 12 letters or digits")
        return cls(code, parse_account_id(issuer))

    @property
    def horizon_type(self) -> str:
        """The `asset_type` under which Horizon shows it."""
        return "credit_alphanum4" if len(self.code) <= 4 else "credit_alphanum12"  # noqa: PLR2004 - the protocol's own split

    def __str__(self) -> str:
        return f"{self.code}:{self.issuer}"


def parse_stroops(text: str) -> Stroops:
    """`"50.0000000"` to 500000000; Malformed unless it is digits with at most seven decimals, within int64."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise Malformed(text, expected="an amount like 50.0000000: at most seven decimals, no sign, no exponent")
    whole, decimals = match.groups(default="")
    stroops = int(whole + decimals.ljust(7, "0"))
    if stroops > STROOPS_MAX:
        raise Malformed(text, expected="an amount of at most 922337203685.4775807")
    return Stroops(stroops)


def parse_signed_stroops(text: str) -> Stroops:
    """`"-1.5"` or `"+1.5"`: a movement's amount, sign first and never left out."""
    sign = text[:1]
    if sign not in ("+", "-"):
        raise Malformed(text, expected="a signed amount like +50.0000000 or -50.0000000")
    size = parse_stroops(text[1:])
    return size if sign == "+" else Stroops(-size)


def format_stroops(stroops: int) -> str:
    """500000000 to `"50.0000000"`; what `parse_stroops` reads back."""
    sign, size = ("-", -stroops) if stroops < 0 else ("", stroops)
    return f"{sign}{size // STROOPS_PER_UNIT}.{size % STROOPS_PER_UNIT:07d}"


def format_signed_stroops(stroops: int) -> str:
    """500000000 to `"+50.0000000"`."""
    return format_stroops(stroops) if stroops < 0 else f"+{format_stroops(stroops)}"


def _is_strkey(text: str) -> bool:
    return len(text) <= _STRKEY_CHARACTERS_MAX and _strkey_is_valid(text)  # no more is kept in memory of who sends more


@lru_cache(maxsize=65_536)
def _strkey_is_valid(text: str) -> bool:
    """Base32 by `int`, for there may be a million addresses: base64.b32decode takes ten times as long."""
    if not _STRKEY.fullmatch(text):
        return False
    spare_bits = 5 * len(text) % 8
    number = int(text.encode().translate(_DIGITS_OF_INT), 32)
    if number & ((1 << spare_bits) - 1):
        return False  # a second spelling of one address
    raw = (number >> spare_bits).to_bytes(5 * len(text) // 8, "big")
    return binascii.crc_hqx(raw[:-2], 0).to_bytes(2, "little") == raw[-2:]


def parse_account_id(text: str) -> AccountId:
    """A `G...` address whose checksum holds; Malformed otherwise."""
    if text[:1] != "G" or not _is_strkey(text):
        raise Malformed(text, expected="an account id: G and 55 more characters, with a valid checksum")
    return AccountId(text)


def parse_address(text: str) -> Address:
    """Any address money moves between (account, contract, pool, claimable balance); Malformed otherwise."""
    if not _is_strkey(text):
        raise Malformed(text, expected="a Stellar address (G..., C..., L... or B...) with a valid checksum")
    return Address(text)


def ledger_of_operation(operation_id: str) -> Ledger:
    """The ledger an operation is in: the upper 32 bits of its id, which is also its paging token."""
    if not _OPERATION_ID.fullmatch(operation_id) or (number := int(operation_id)) > OPERATION_ID_MAX:
        raise Malformed(operation_id, expected="an operation id of up to 19 digits")
    ledger = number >> 32
    if ledger < 1:
        raise Malformed(operation_id, expected="an operation id whose upper 32 bits are a ledger")
    return Ledger(ledger)


def cursor_after_ledger(ledger: Ledger) -> Cursor:
    """The place in Horizon's history behind everything of this ledger: where reading on starts with the next one."""
    return Cursor(str((ledger + 1) << 32))
