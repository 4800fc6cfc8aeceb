"""Horizon's answers, read: bytes and JSON in, values out. What makes no sense is Malformed, with its place."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import orjson

from producers.source import PAGE_RECORDS_MAX, History, Page, State
from schema import wire
from schema.stellar import AccountId, Asset, Cursor, Ledger, Malformed, Stroops

DETAIL_CHARACTERS_MAX: Final = 200
DIGITS_MAX: Final = 40  # of a number that anything here could mean; Python refuses to read one of thousands
RESET_S_MAX: Final = 60.0  # when a bucket is full again says little about when it lets one through


def parse(body: bytes) -> Any:
    """The body as JSON. Python's own reader takes what orjson refuses (NaN, odd UTF-8, endless numbers): one bad record
    must not hide the page it is on.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            return json.loads(body.decode(errors="replace"), parse_int=_integer)
        except (json.JSONDecodeError, RecursionError) as error:
            raise Malformed(body[:80], expected=f"JSON ({error})", field="body") from error


def history(body: Any) -> History:
    """Horizon's root page."""
    root = _object(body, "body")
    return History(
        passphrase=_field(root, "network_passphrase", wire.text(characters_max=200)),
        elder=_field(root, "history_elder_ledger", wire.LEDGER),
        latest=_field(root, "history_latest_ledger", wire.LEDGER),
    )


def page(body: Any) -> Page:
    """A page of records, which are not looked into but for where the page ends."""
    embedded = _object(_object(body, "body").get("_embedded"), "_embedded")
    records = embedded.get("records")
    if not isinstance(records, list):
        raise Malformed(records, expected="a list", field="_embedded.records")
    after = _token(records[-1]) or _next_cursor(body) if records else None
    if records and after is None:
        raise Malformed(records[-1], expected="a paging_token", field=f"_embedded.records[{len(records) - 1}]")
    return Page(records=records, cursor=after, full=len(records) >= PAGE_RECORDS_MAX)


def closed_at(body: Any) -> datetime:
    """When the ledger of a ledger's page closed."""
    time: datetime = _field(_object(body, "body"), "closed_at", wire.TIME)
    return time


def absence(account_id: AccountId, observed: Ledger) -> State:
    """No trustline, or no account."""
    return State(
        account_id=account_id, balance_stroops=Stroops(0), authorized=False, version=observed, observed=observed
    )


def state(body: Any, account_id: AccountId, asset: Asset, observed: Ledger) -> State:
    """What an account's page says of the asset: its trustline by type, code and issuer, or the absence of one."""
    account = _object(body, "body")
    if account.get("account_id") != account_id:
        raise Malformed(account.get("account_id"), expected=account_id, field="account_id")
    lines = account.get("balances")
    if not isinstance(lines, list):
        raise Malformed(lines, expected="a list", field="balances")
    wanted = (asset.horizon_type, asset.code, asset.issuer)
    for index, entry in enumerate(lines):
        line = _object(entry, f"balances[{index}]")
        if (line.get("asset_type"), line.get("asset_code"), line.get("asset_issuer")) == wanted:
            try:
                return State(
                    account_id=account_id,
                    balance_stroops=_field(line, "balance", wire.AMOUNT),
                    authorized=_field(line, "is_authorized", wire.BOOL),
                    version=_field(line, "last_modified_ledger", wire.LEDGER),
                    observed=observed,
                )
            except Malformed as malformed:
                raise malformed.within(f"balances[{index}]") from None
    return absence(account_id, observed)


def holders(body: Any, asset: Asset) -> int:
    """How many accounts have a trustline of the asset, by the page of assets; 0 when nobody has."""
    for number, record in enumerate(page(body).records):
        found = _object(record, f"_embedded.records[{number}]")
        if (found.get("asset_code"), found.get("asset_issuer")) != (asset.code, asset.issuer):
            continue
        accounts = found.get("accounts")
        counts: list[Any] = list(accounts.values()) if isinstance(accounts, dict) else [found.get("num_accounts")]
        if not all(isinstance(each, int) and each >= 0 for each in counts):
            raise Malformed(accounts, expected="numbers of accounts", field=f"_embedded.records[{number}].accounts")
        return sum(counts)
    return 0


def problem(body: bytes) -> str:
    """What an error's body says in words; it may be empty, or no JSON."""
    try:
        parsed = parse(body)
    except Malformed:
        return body[:DETAIL_CHARACTERS_MAX].decode(errors="replace")
    if not isinstance(parsed, dict):
        return ""
    return f"{parsed.get('title', '')}: {parsed.get('detail', '')}"[:DETAIL_CHARACTERS_MAX]


def is_problem(body: bytes, name: str) -> bool:
    """Whether an error is Horizon's own, and this one: what stands before it answers with the same numbers."""
    try:
        parsed = parse(body)
    except Malformed:
        return False
    kind = parsed.get("type") if isinstance(parsed, dict) else None
    return isinstance(kind, str) and kind.rpartition("/")[2] == name


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """How long a 429 asks to be left alone; None when it does not say."""
    asked_s = _seconds(headers.get("Retry-After", ""))
    if asked_s is not None:
        return asked_s
    reset_s = _seconds(headers.get("X-RateLimit-Reset", ""))
    return None if reset_s is None else min(reset_s, RESET_S_MAX)


def latest_ledger(headers: Mapping[str, str]) -> Ledger | None:
    """In which ledger a state was read; histories have no such header."""
    value = headers.get("Latest-Ledger", "")
    try:
        found: Ledger = wire.LEDGER.read(int(value[:DIGITS_MAX]))
    except (ValueError, Malformed):
        return None
    return found if value.isascii() and value.isdigit() else None


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= DIGITS_MAX else digits


def _seconds(value: str) -> float | None:
    return float(value) if value.isascii() and value.isdigit() else None


def _token(record: object) -> Cursor | None:
    token = record.get("paging_token") if isinstance(record, dict) else None
    return Cursor(token) if isinstance(token, str) and token else None


def _next_cursor(body: Any) -> Cursor | None:
    """The cursor in the page's own link to the next: for a last record that does not say its place."""
    try:
        href = body["_links"]["next"]["href"]
        return Cursor(parse_qs(urlsplit(href).query)["cursor"][0])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _object(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(value, expected="a JSON object", field=place)
    return value


def _field(fields: dict[str, Any], name: str, kind: wire.Kind) -> Any:
    try:
        return kind.read(fields.get(name))
    except Malformed as malformed:
        raise malformed.within(name) from None
