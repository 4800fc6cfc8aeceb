"""Which accounts a webhook's body names. It is never believed: their state is read before anything is said. Pure.

| body                                                        | who is named                                     |
|-------------------------------------------------------------|--------------------------------------------------|
| `{"account_id": "G..."}`                                    | that one                                         |
| `{"accounts": ["G...", ...]}`                               | those                                            |
| `{"type", "table", "record", "old_record"}` (Supabase)      | the rows' `public_key` or `account_id`           |
| the same: `stellar_wallets` updated, key and network kept   | nobody: it may be our own note of the last fact  |
| a record of Horizon's payments                              | every account in it; read in its ledger or later |
| `{"data": {...}}` around one of them                        | the same                                         |
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from producers import payments
from schema import wire
from schema.stellar import AccountId, Ledger, Malformed

ACCOUNTS_MAX: Final = 100
_KNOWN: Final = "account_id, accounts, a database webhook's record, or a record of Horizon's payments"
_ROW_KEYS: Final = ("public_key", "account_id")
_WALLETS_TABLE: Final = "stellar_wallets"


class NotJson(Exception):
    """The body is not JSON; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """Whom to read, and in which ledger or later. `ledger` None: no ledger was named."""

    accounts: frozenset[AccountId]
    ledger: Ledger | None = None


def read(body: bytes) -> Hint:
    """What the body says; NotJson, or Malformed with the place of what is wrong."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotJson(str(error)) from None
    try:
        hint = _hint(_object(parsed, "body"))
    except RecursionError:
        raise Malformed("nesting without end", expected="rows as a database has them", field="body") from None
    if len(hint.accounts) > ACCOUNTS_MAX:
        raise Malformed(len(hint.accounts), expected=f"at most {ACCOUNTS_MAX} accounts", field="body")
    return hint


def _hint(fields: dict[str, Any]) -> Hint:
    if "account_id" in fields:
        return Hint(accounts=frozenset({_account(fields["account_id"], "account_id")}))
    if "accounts" in fields:
        return Hint(accounts=_accounts(fields["accounts"]))
    if "record" in fields or "old_record" in fields:
        return Hint(accounts=_row_change(fields))
    if "transaction_hash" in fields and "id" in fields:
        _, ledger = payments.operation_of(fields)
        return Hint(accounts=frozenset(payments.accounts_named(fields)), ledger=ledger)
    if isinstance(fields.get("data"), dict) and "data" not in fields["data"]:
        try:
            return _hint(fields["data"])
        except Malformed as malformed:
            raise malformed.within("data") from None
    raise Malformed(sorted(fields)[:8], expected=_KNOWN, field="body")


def _accounts(value: object) -> frozenset[AccountId]:
    if not isinstance(value, list) or not 1 <= len(value) <= ACCOUNTS_MAX:
        raise Malformed(value, expected=f"a list of 1 to {ACCOUNTS_MAX} accounts", field="accounts")
    return frozenset(_account(each, f"accounts[{index}]") for index, each in enumerate(value))


def _row_change(fields: dict[str, Any]) -> frozenset[AccountId]:
    rows = {name: _object(fields[name], name) for name in ("record", "old_record") if fields.get(name) is not None}
    if fields.get("table") == _WALLETS_TABLE and len(rows) > 1:
        before, after = ([row.get("public_key"), row.get("network")] for row in rows.values())
        if before == after:
            return frozenset()
    found = set()
    named = False
    for name, row in rows.items():
        for key in _ROW_KEYS:
            named |= key in row
            if row.get(key) is not None:
                found.add(_account(row[key], f"{name}.{key}"))
    if not named:
        raise Malformed(None, expected=f"a row with {' or '.join(_ROW_KEYS)}", field="record")
    return frozenset(found)


def _account(value: object, place: str) -> AccountId:
    try:
        account_id: AccountId = wire.ACCOUNT_ID.read(value)
    except Malformed as malformed:
        raise malformed.within(place) from None
    return account_id


def _object(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(value, expected="a JSON object", field=place)
    return value
