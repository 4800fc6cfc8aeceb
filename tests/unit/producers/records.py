"""Records as Horizon sends them, to be bent in tests."""

from typing import Any

from producers import payments
from schema.stellar import AccountId, Address, Asset
from tests.people import account_id

ISSUER = account_id("issuer")
ASSET = Asset("USDC", ISSUER)
ALICE, BOB = account_id("alice"), account_id("bob")
CONTRACT = Address("CA6ZW2UWYV4Z4XARCQ66S2DCWEXPDZTMFNOK63FH2SAWXAIS56EGHGH5")
HASH = "d5b3b11e39b9450a79645de31a2503c45b9cfe1567b81f52b4a212afd834492e"
LEDGER = 52_446_860
UNIT = 10_000_000


def operation_id(ledger: int = LEDGER, number: int = 1) -> str:
    """An operation's id: 18 digits for a ledger of these years."""
    return str(ledger << 32 | number)


def asset_fields(asset: Asset = ASSET, prefix: str = "") -> dict[str, Any]:
    return {
        f"{prefix}asset_type": asset.horizon_type,
        f"{prefix}asset_code": asset.code,
        f"{prefix}asset_issuer": asset.issuer,
    }


def record(kind: str, *, ledger: int = LEDGER, number: int = 1, **fields: Any) -> dict[str, Any]:
    """What every record has."""
    token = operation_id(ledger, number)
    return {
        "id": token,
        "paging_token": token,
        "transaction_successful": True,
        "source_account": ALICE,
        "type": kind,
        "created_at": "2024-07-06T10:13:42Z",
        "transaction_hash": HASH,
        **fields,
    }


def payment(
    *, to: AccountId = BOB, sender: AccountId = ALICE, amount: object = "39.0000000", **fields: Any
) -> dict[str, Any]:
    """A payment of the asset."""
    return record("payment", **{**asset_fields(), "from": sender, "to": to, "amount": amount, **fields})


def contract_call(*changes: dict[str, Any]) -> dict[str, Any]:
    """A contract call with these balance changes."""
    return record("invoke_host_function", asset_balance_changes=list(changes))


def change(kind: str, amount: str = "5.0000000", **sides: str) -> dict[str, Any]:
    """One balance change of the asset; `sender` and `to` as they are given."""
    named = {("from" if side == "sender" else side): address for side, address in sides.items()}
    return {**asset_fields(), "type": kind, "amount": amount, **named}


def effect(
    kind: str, *, account: str = ALICE, ledger: int = LEDGER, number: int = 1, order: int = 1, **fields: Any
) -> dict[str, Any]:
    """An effect of an operation, the `order`th."""
    operation = operation_id(ledger, number)
    return {
        "_links": {"operation": {"href": f"https://horizon.example/operations/{operation}"}},
        "id": f"{int(operation):019d}-{order:010d}",
        "paging_token": f"{operation}-{order}",
        "account": account,
        "type": kind,
        "type_i": 0,
        "created_at": "2024-07-06T10:13:42Z",
        **fields,
    }


def pool(*assets: Asset | None) -> dict[str, Any]:
    """What an effect says of a liquidity pool of these assets; None is XLM."""
    return {
        "id": "a6cad36777565bf0d52f89319416fb5e73149d07b9814c5baaddea0d53ef2baa",
        "fee_bp": 30,
        "type": "constant_product",
        "total_trustlines": "1",
        "total_shares": "1.0000000",
        "reserves": [{"asset": "native" if each is None else str(each), "amount": "1.0000000"} for each in assets],
    }


def moved(each: object, asset: Asset = ASSET) -> list[tuple[AccountId, int, str | None]]:
    """Wallet, stroops and the other side, of each movement."""
    return [
        (wallet, movement.amount_stroops, movement.counterparty) for wallet, movement in payments.movements(each, asset)
    ]
