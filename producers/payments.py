"""What a record of Horizon's history says about one asset: which wallets it moved, by how much, and to or from whom.

| operation                               | who moves                                                        |
|-----------------------------------------|------------------------------------------------------------------|
| payment                                 | `from` -amount, `to` +amount                                      |
| path_payment_strict_send, _receive      | `from` -source_amount of source_asset, `to` +amount of asset      |
| any other with asset_balance_changes    | transfer: both; mint: `to`; burn, clawback: `from`                |
| create_account, account_merge, the rest | nobody: they move XLM                                             |

Only what is about our asset is examined: a counterfeit's strange amount is nobody's concern here. A failed transaction
moved nothing. Wallets are G addresses (`to` and `from` are, for muxed accounts too); contracts are only counterparties.
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, TypeVar

from schema import wire
from schema.balance_event import Movement
from schema.stellar import (
    AccountId,
    Address,
    Asset,
    Ledger,
    Malformed,
    Stroops,
    ledger_of_operation,
    parse_account_id,
    parse_address,
    parse_stroops,
)

T = TypeVar("T")
Moved = tuple[AccountId, Movement]  # a wallet, and what one operation did to it

_PATH_PAYMENTS: Final = ("path_payment_strict_send", "path_payment_strict_receive")
_ACCOUNT: Final = re.compile(r"\bG[A-Z2-7]{55}\b")
_DEPTH_MAX: Final = 16  # of a record that made no sense, searched for addresses


def movements(record: object, asset: Asset) -> list[Moved]:
    """Every movement of the asset in this record, in its order; Malformed, with the place, when it cannot be told."""
    fields = as_object(record)
    successful = fields.get("transaction_successful")
    if not isinstance(successful, bool):
        raise Malformed(successful, expected="true or false", field="transaction_successful")
    kind = text(fields, "type")
    if not successful:
        return []
    if kind == "payment":
        legs = _payment(fields, asset)
    elif kind in _PATH_PAYMENTS:
        legs = _path_payment(fields, asset)
    else:
        return list(_balance_changes(fields, asset))
    return [_moved(fields, kind, *leg) for leg in legs]


def operation_of(record: object) -> tuple[str, Ledger]:
    """The operation's id and the ledger it is in; Malformed otherwise."""
    fields = as_object(record)
    return text(fields, "id"), read(fields, "id", ledger_of_operation)


def closed_at(record: object) -> datetime:
    """When the record's ledger closed; Malformed otherwise."""
    return read(as_object(record), "created_at", wire.parse_time)


def accounts_named(record: object) -> set[AccountId]:
    """Every account a record names anywhere: whom it may have moved when the rest of it cannot be read."""
    return {parse_account_id(found) for found in _addresses(record, _DEPTH_MAX)}


def authorized(record: object) -> list[AccountId]:
    """Accounts that the record says were given or refused permission to hold the asset: they were touched, nothing
    moved. Only Stellar RPC tells of it among the payments; Malformed when it cannot be told.
    """
    named = as_object(record).get("accounts_authorized", ())
    return [parse_account_id(each) for each in named]


Leg = tuple[AccountId, int, Address | None]  # a wallet, its signed stroops, the other side


def _payment(fields: dict[str, Any], asset: Asset) -> Iterator[Leg]:
    if not is_asset(fields, "", asset):
        return
    sender, receiver = read(fields, "from", parse_account_id), read(fields, "to", parse_account_id)
    stroops = read(fields, "amount", parse_stroops)
    yield sender, -stroops, Address(receiver)
    yield receiver, stroops, Address(sender)


def _path_payment(fields: dict[str, Any], asset: Asset) -> Iterator[Leg]:
    sent, received = is_asset(fields, "source_", asset), is_asset(fields, "", asset)
    if not sent and not received:
        return
    sender, receiver = read(fields, "from", parse_account_id), read(fields, "to", parse_account_id)
    if sent:
        yield sender, -read(fields, "source_amount", parse_stroops), Address(receiver)
    if received:
        yield receiver, read(fields, "amount", parse_stroops), Address(sender)


def _balance_changes(fields: dict[str, Any], asset: Asset) -> Iterator[Moved]:
    changes = fields.get("asset_balance_changes")
    if changes is None:
        return
    if not isinstance(changes, list):
        raise Malformed(changes, expected="a list", field="asset_balance_changes")
    for index, change in enumerate(changes):
        try:
            entry = as_object(change)
            legs = list(_change(entry, asset)) if is_asset(entry, "", asset) else []
        except Malformed as malformed:
            raise malformed.within(f"asset_balance_changes[{index}]") from None
        for leg in legs:
            yield _moved(fields, entry["type"], *leg)


def _change(entry: dict[str, Any], asset: Asset) -> Iterator[Leg]:
    """The legs of one change. Contracts may hold more than int64: where no account moves, the amount is not read."""
    kind = text(entry, "type")
    issuer = Address(asset.issuer)
    if kind == "transfer":
        sender, receiver = read(entry, "from", parse_address), read(entry, "to", parse_address)
    elif kind == "mint":
        sender, receiver = issuer, read(entry, "to", parse_address)
    elif kind in ("burn", "clawback"):
        sender, receiver = read(entry, "from", parse_address), issuer
    else:
        raise Malformed(kind, expected="transfer, mint, burn or clawback", field="type")
    if sender.startswith("G") and kind != "mint":
        yield AccountId(sender), -read(entry, "amount", parse_stroops), receiver
    if receiver.startswith("G") and kind in ("transfer", "mint"):
        yield AccountId(receiver), read(entry, "amount", parse_stroops), sender


def _moved(
    fields: dict[str, Any], kind: str, account_id: AccountId, stroops: int, counterparty: Address | None
) -> Moved:
    operation_id, ledger = operation_of(fields)
    transaction_hash = read(fields, "transaction_hash", wire.TRANSACTION_HASH.read)
    return account_id, Movement(
        operation_id=operation_id,
        ledger=ledger,
        transaction_hash=transaction_hash,
        type=kind,
        counterparty=counterparty,
        amount_stroops=Stroops(stroops),
    )


def is_asset(fields: dict[str, Any], prefix: str, asset: Asset) -> bool:
    """Whether the fields with this prefix name the asset: by type, code and issuer."""
    return (
        text(fields, f"{prefix}asset_type") == asset.horizon_type
        and fields.get(f"{prefix}asset_code") == asset.code
        and fields.get(f"{prefix}asset_issuer") == asset.issuer
    )


def as_object(value: object) -> dict[str, Any]:
    """A JSON object; Malformed otherwise."""
    if not isinstance(value, dict):
        raise Malformed(value, expected="a JSON object")
    return value


def read(fields: dict[str, Any], name: str, parse: Callable[[str], T]) -> T:
    """The field's text, parsed; Malformed, with its name, otherwise."""
    value = fields.get(name)
    if not isinstance(value, str):
        raise Malformed(value, expected="text", field=name)
    try:
        return parse(value)
    except Malformed as malformed:
        raise malformed.within(name) from None


def text(fields: dict[str, Any], name: str) -> str:
    """The field's text; Malformed, with its name, otherwise."""
    return read(fields, name, str)


def _addresses(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        for found in _ACCOUNT.findall(value):
            try:
                yield parse_account_id(found)
            except Malformed:
                continue
    elif isinstance(value, dict) and depth:
        for each in value.values():
            yield from _addresses(each, depth - 1)
    elif isinstance(value, list) and depth:
        for each in value:
            yield from _addresses(each, depth - 1)
