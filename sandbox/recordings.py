"""Recorded Horizon responses from files: the payment records in them, and the wallets these touch."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from schema.stellar import AccountId, Asset, Malformed, ledger_of_operation, parse_account_id

_NO_PAYMENTS = ("create_account", "account_merge")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recordings:
    """Payment records of one asset, oldest first, and the accounts that they name."""

    payments: tuple[dict[str, Any], ...]
    accounts: tuple[AccountId, ...]

    @property
    def first_ledger(self) -> int:
        return min(ledger_of_operation(record["paging_token"]) for record in self.payments)


def read(paths: Iterable[Path], asset: Asset) -> Recordings:
    """Every record of the asset in these files and folders: single records, pages, or lists of records."""
    found: dict[str, dict[str, Any]] = {}
    accounts: dict[AccountId, None] = {}
    for path in paths:
        for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
            for record in _records(orjson.loads(file.read_bytes())):
                named = list(_accounts(record, asset))
                if named and _has_place(record):
                    found[record["paging_token"]] = record
                    accounts |= dict.fromkeys(named)
    payments = sorted(found.values(), key=lambda record: int(record["paging_token"]))
    return Recordings(payments=tuple(payments), accounts=tuple(accounts))


def _records(contents: Any) -> Iterator[dict[str, Any]]:
    if isinstance(contents, list):
        yield from (record for record in contents if isinstance(record, dict))
    elif isinstance(contents, dict) and "_embedded" in contents:
        yield from contents["_embedded"]["records"]
    elif isinstance(contents, dict):
        yield contents


def _accounts(record: dict[str, Any], asset: Asset) -> Iterator[AccountId]:
    """The accounts that hold the asset after this record, but for its issuer, as far as they are valid."""
    for part in [record, *record.get("asset_balance_changes", ())]:
        if (part.get("asset_code"), part.get("asset_issuer")) != (asset.code, asset.issuer):
            continue
        for side in ("from", "to"):
            try:
                account_id = parse_account_id(str(part.get(side, "")))
            except Malformed:
                continue
            if account_id != asset.issuer:
                yield account_id


def _has_place(record: dict[str, Any]) -> bool:
    try:
        ledger_of_operation(str(record.get("paging_token", "")))
    except Malformed:
        return False
    return "transaction_hash" in record
