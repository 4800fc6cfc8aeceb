"""A file of wallets, line by line: what each asks for, or everything that is wrong with it. Pure.

A record never spans lines, so that a quote that is not closed spoils its own line and no other. Which columns there are
is said by the header; only what it names wrongly makes the file as a whole useless.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, Final

from schema.stellar import AccountId, Malformed, Network, parse_account_id

LINE_BYTES_MAX: Final = 65_536
TURNKEY_CHARACTERS_MAX: Final = 200
SHOWN_CHARACTERS_MAX: Final = 120
REQUIRED: Final = ("user_id", "public_key")
COLUMNS: Final = (*REQUIRED, "network", "turnkey_wallet_id", "action")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_A_UUID: Final = "a UUID like 3d63b904-5f1c-4d6b-9a55-0c2d2f6f7a10"
_BOM: Final = b"\xef\xbb\xbf"
_SECRET: Final = re.compile(r"(?<![A-Z0-9])S[A-Z2-7]{55}(?![A-Z0-9])")


class Action(StrEnum):
    """What is to become of a wallet."""

    ADD = "add"
    REMOVE = "remove"
    PAUSE = "pause"
    UNPAUSE = "unpause"


@dataclass(frozen=True, slots=True)
class Wish:
    """What one line asks for. `user_id` is a UUID's text; empty where the line does not say whose wallet it is."""

    line: int
    action: Action
    user_id: str
    account_id: AccountId
    turnkey_wallet_id: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a line. `column` is empty where it is the line as a whole."""

    line: int
    column: str
    value: str
    expected: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.column or 'the line'} is {self.value!r}, expected {self.expected}"


class Unreadable(ValueError):
    """The file as a whole is of no use; says why, and what to do."""


def read(file: BinaryIO, network: Network) -> Iterator[Wish | list[Fault]]:
    """Every line behind the header, blank ones left out. Unreadable when there is no header to go by."""
    columns: list[str] | None = None
    for number, raw in _lines(file):
        if columns is None:
            header = raw.removeprefix(_BOM)
            columns = _header(header) if header.strip() else None
            continue
        fields = _fields(number, raw, columns)
        if isinstance(fields, dict):
            yield wish(number, fields, network)
        elif fields is not None:
            yield [fields]
    if columns is None:
        raise Unreadable(f"the file is empty: its first line must name the columns, {', '.join(REQUIRED)} at least")


def read_addresses(file: BinaryIO, network: Network, action: Action) -> Iterator[Wish | list[Fault]]:
    """A file with nothing but an address on each line."""
    for number, raw in _lines(file):
        fields = _fields(number, raw.removeprefix(_BOM) if number == 1 else raw, ["public_key"])
        if isinstance(fields, dict):
            yield wish(number, {**fields, "action": action}, network)
        elif fields is not None:
            yield [fields]


def wish(line: int, fields: dict[str, str], network: Network) -> Wish | list[Fault]:
    """What these fields ask for, or all that is wrong with them."""
    faults: list[Fault] = []

    def refuse(column: str, expected: str) -> None:
        faults.append(Fault(line, column, _shown(fields.get(column, "")), expected))

    action = _ACTIONS.get(fields.get("action") or Action.ADD)
    if action is None:
        refuse("action", f"{', '.join(_ACTIONS)}, or nothing, which is add")
    user_id = fields.get("user_id", "")
    if not _UUID.fullmatch(user_id) and (user_id or action is Action.ADD):
        refuse("user_id", _A_UUID)
    public_key = fields.get("public_key", "")
    try:
        parse_account_id(public_key)
    except Malformed as malformed:
        refuse("public_key", malformed.expected)
    if fields.get("network") not in (None, "", network.value):
        refuse("network", f"{network}, as STELLAR_NETWORK says, or nothing")
    turnkey_wallet_id = fields.get("turnkey_wallet_id", "")
    if len(turnkey_wallet_id) > TURNKEY_CHARACTERS_MAX or not (turnkey_wallet_id.isprintable()):
        refuse("turnkey_wallet_id", f"at most {TURNKEY_CHARACTERS_MAX} characters, none of them for control")
    if faults or action is None:
        return faults
    return Wish(line, action, user_id, AccountId(public_key), turnkey_wallet_id)


_ACTIONS: Final = {action.value: action for action in Action}


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each line without its end. Of one that is too long comes what there is room for."""
    number = 0
    while raw := file.readline(LINE_BYTES_MAX):
        number += 1
        rest = raw
        while not rest.endswith(b"\n") and (rest := file.readline(LINE_BYTES_MAX)):
            pass
        yield number, raw.rstrip(b"\r\n")


def _header(raw: bytes) -> list[str]:
    if b"\0" in raw or raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable("the file is no UTF-8 text (UTF-16, it seems): save it as CSV in UTF-8")
    if b"\r" in raw:
        raise Unreadable("the file's lines end with CR alone: save it with LF or CR LF")
    fields = _split(1, raw)
    if isinstance(fields, Fault):
        raise Unreadable(f"the header cannot be read: {fields}")
    unknown = [name for name in fields if name not in COLUMNS]
    if any(sign in raw for sign in (b";", b"\t")) and len(fields) == 1:
        raise Unreadable(f"the header is {_shown(fields[0])!r}: columns are separated by commas")
    if unknown:
        named = ", ".join(repr(_shown(name)) for name in unknown)
        raise Unreadable(f"the header names {named}; the columns are {', '.join(COLUMNS)}")
    missing = [name for name in REQUIRED if name not in fields]
    if missing:
        raise Unreadable(f"the header does not name {' and '.join(missing)}; it is {','.join(fields)!r}")
    twice = {name for name in fields if fields.count(name) > 1}
    if twice:
        raise Unreadable(f"the header names {', '.join(sorted(twice))} more than once")
    return fields


def _fields(number: int, raw: bytes, columns: Sequence[str]) -> dict[str, str] | Fault | None:
    """The line's fields by name; None when it is blank."""
    if len(raw) >= LINE_BYTES_MAX - 2:
        shown = _shown(raw.decode(errors="replace"))
        return Fault(number, "", shown, f"less than {LINE_BYTES_MAX:,} bytes")
    if not raw.strip():
        return None
    values = _split(number, raw)
    if isinstance(values, Fault):
        return values
    if len(values) != len(columns):
        expected = f"{len(columns)} fields, as the header has ({','.join(columns)}), not {len(values)}"
        return Fault(number, "", _shown(raw.decode()), expected)
    return dict(zip(columns, values, strict=True))


def _shown(text: str) -> str:
    """What is said of it: its beginning, no secret key, and nothing that a table cannot hold."""
    shown = _SECRET.sub("S... (a secret key, not shown)", text)[:SHOWN_CHARACTERS_MAX]
    return shown.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _split(number: int, raw: bytes) -> list[str] | Fault:
    try:
        text = raw.decode()
        values = next(csv.reader([text], strict=True)) if '"' in text else text.split(",")
    except UnicodeDecodeError as error:
        shown = _shown(raw.decode(errors="replace"))
        return Fault(number, "", shown, f"UTF-8 text (byte {error.start + 1} of the line is not)")
    except csv.Error as error:
        return Fault(number, "", _shown(raw.decode()), f"a line of CSV ({error})")
    return [value.strip() for value in values]
