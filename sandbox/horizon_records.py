"""Horizon's records: what the chain holds, in the JSON that a real Horizon sends, key for key."""

import base64
import struct
from typing import Any

import orjson

from sandbox import keys
from sandbox.chain_effects import TYPE_NUMBERS, Effect, asset_fields, asset_text, reserve_list
from sandbox.chain_history import Entry, LedgerHeader, Transaction
from sandbox.chain_operations import (
    AccountMerge,
    AssetChange,
    ChangeTrust,
    ClaimClaimableBalance,
    Clawback,
    ContractCall,
    CreateAccount,
    CreateClaimableBalance,
    CrossOffer,
    LiquidityPoolDeposit,
    LiquidityPoolWithdraw,
    Operation,
    PathPayment,
    Payment,
    Recorded,
    SetTrustlineFlags,
    source_of,
)
from sandbox.chain_outcomes import PoolMove, Reserve
from schema.stellar import Stroops, format_stroops

JsonObject = dict[str, Any]
CURSOR_TEMPLATE = "{?cursor,limit,order}"


def operation_record(entry: Entry, base_url: str, *, join: bool = False) -> JsonObject:
    """One element of `/payments` or `/operations`; `join` puts its transaction inside."""
    operation, transaction = entry.operation, entry.transaction
    if isinstance(operation, Recorded):
        return operation.raw
    token = str(entry.operation_id)
    type_, number, fields = _described(operation, entry)
    record = {
        "_links": {
            "self": {"href": f"{base_url}/operations/{token}"},
            "transaction": {"href": f"{base_url}/transactions/{transaction.hash}"},
            "effects": {"href": f"{base_url}/operations/{token}/effects"},
            "succeeds": {"href": f"{base_url}/effects?order=desc&cursor={token}"},
            "precedes": {"href": f"{base_url}/effects?order=asc&cursor={token}"},
        },
        "id": token,
        "paging_token": token,
        "transaction_successful": transaction.successful,
        "source_account": source_of(operation),
        "type": type_,
        "type_i": number,
        "created_at": transaction.closed_at_text,
        "transaction_hash": transaction.hash,
    }
    if join:
        record["transaction"] = transaction_record(transaction, base_url)
    return record | fields


def _described(operation: Operation, entry: Entry) -> tuple[str, int, JsonObject]:  # noqa: C901, PLR0911, PLR0912
    match operation:
        case Payment():
            moved = {"from": operation.source, "to": operation.to, "amount": format_stroops(operation.stroops)}
            return "payment", 1, asset_fields(operation.asset) | moved
        case PathPayment():
            return _path_payment(operation)
        case CreateAccount():
            starting = format_stroops(operation.starting_stroops)
            fields = {"starting_balance": starting, "funder": operation.source, "account": operation.account}
            return "create_account", 0, fields
        case AccountMerge():
            return "account_merge", 8, {"account": operation.source, "into": operation.into}
        case ContractCall():
            return "invoke_host_function", 24, _contract_call(operation)
        case Clawback():
            moved = {"from": operation.account, "amount": format_stroops(operation.stroops)}
            return "clawback", 19, asset_fields(operation.asset) | moved
        case ChangeTrust():
            limit = format_stroops(operation.limit_stroops)
            sides = {"limit": limit, "trustee": operation.asset.issuer, "trustor": operation.source}
            return "change_trust", 6, asset_fields(operation.asset) | sides
        case SetTrustlineFlags():
            changed = "set" if operation.authorized else "clear"
            flags = {"trustor": operation.trustor, f"{changed}_flags": [1], f"{changed}_flags_s": ["authorized"]}
            return "set_trust_line_flags", 21, asset_fields(operation.asset) | flags
        case CreateClaimableBalance():
            claimants = [{"destination": operation.claimant, "predicate": {"unconditional": True}}]
            fields = {"asset": asset_text(operation.asset), "amount": format_stroops(operation.stroops)}
            return "create_claimable_balance", 14, fields | {"claimants": claimants}
        case ClaimClaimableBalance():
            fields = {"balance_id": operation.balance_id or entry.outcome.balance_id, "claimant": operation.source}
            return "claim_claimable_balance", 15, fields
        case LiquidityPoolDeposit() | LiquidityPoolWithdraw():
            return _pooled(operation, entry.outcome.pool)
        case CrossOffer():
            offer: JsonObject = {
                "amount": format_stroops(operation.sold_stroops),
                "price": format_stroops(operation.bought_stroops * 10_000_000 // operation.sold_stroops),
                "price_r": {"n": int(operation.bought_stroops), "d": int(operation.sold_stroops)},
                **asset_fields(operation.bought, "buying_"),
                **asset_fields(operation.sold, "selling_"),
                "offer_id": "0",
            }
            return "manage_sell_offer", 3, offer
        case Recorded():
            raise AssertionError(entry)


def _pooled(
    operation: LiquidityPoolDeposit | LiquidityPoolWithdraw, move: PoolMove | None
) -> tuple[str, int, JsonObject]:
    moved = reserve_list(move.moved if move else ())
    pool: JsonObject = {"liquidity_pool_id": keys.pool_id(operation.asset_a, operation.asset_b)}
    if isinstance(operation, LiquidityPoolWithdraw):
        least = reserve_list((Reserve(operation.asset_a, Stroops(0)), Reserve(operation.asset_b, Stroops(0))))
        shares = format_stroops(operation.shares_stroops)
        fields: JsonObject = {"reserves_min": least, "shares": shares, "reserves_received": moved}
        return "liquidity_pool_withdraw", 23, pool | fields
    limits = (Reserve(operation.asset_a, operation.a_stroops), Reserve(operation.asset_b, operation.b_stroops))
    price: JsonObject = {"min_price": "0.0000001", "min_price_r": {"n": 1, "d": 10_000_000}}
    price |= {"max_price": "10000000.0000000", "max_price_r": {"n": 10_000_000, "d": 1}}
    shares = format_stroops(move.shares_stroops if move else 0)
    fields = {"reserves_max": reserve_list(limits), **price, "reserves_deposited": moved, "shares_received": shares}
    return "liquidity_pool_deposit", 22, pool | fields


def _path_payment(operation: PathPayment) -> tuple[str, int, JsonObject]:
    sent, received = format_stroops(operation.sent_stroops), format_stroops(operation.received_stroops)
    fields = {
        **asset_fields(operation.received),
        "from": operation.source,
        "to": operation.to,
        "amount": received,
        "path": [],
        "source_amount": sent,
        **({"destination_min": received} if operation.strict_send else {"source_max": sent}),
        **asset_fields(operation.sent, "source_"),
    }
    if operation.strict_send:
        return "path_payment_strict_send", 13, fields
    return "path_payment_strict_receive", 2, fields


def _contract_call(operation: ContractCall) -> JsonObject:
    parameters = [_address_parameter(operation.contract), _symbol_parameter("transfer")]
    for change in operation.changes[:1]:
        parameters += [_address_parameter(side) for side in (change.source, change.to) if side]
        amount = struct.pack(">iqQ", 10, 0, change.stroops)
        parameters.append({"value": base64.b64encode(amount).decode(), "type": "I128"})
    return {
        "function": "HostFunctionTypeHostFunctionTypeInvokeContract",
        "parameters": parameters,
        "address": "",
        "salt": "",
        "asset_balance_changes": [_balance_change(change) for change in operation.changes],
    }


def _balance_change(change: AssetChange) -> JsonObject:
    record: JsonObject = {**asset_fields(change.asset), "type": change.kind.value}
    if change.source is not None:
        record["from"] = change.source
    if change.to is not None:
        record["to"] = change.to
    record["amount"] = format_stroops(change.stroops)
    if change.destination_muxed_id is not None:
        record["destination_muxed_id"] = change.destination_muxed_id
    return record


def _address_parameter(address: str) -> JsonObject:
    payload = base64.b32decode(address)[1:-2]
    kind = struct.pack(">ii", 18, 1) if address[0] == "C" else struct.pack(">iii", 18, 0, 0)
    return {"value": base64.b64encode(kind + payload).decode(), "type": "Address"}


def _symbol_parameter(name: str) -> JsonObject:
    padded = name.encode().ljust(-(-len(name) // 4) * 4, b"\0")
    return {"value": base64.b64encode(struct.pack(">ii", 15, len(name)) + padded).decode(), "type": "Sym"}


def transaction_record(transaction: Transaction, base_url: str) -> JsonObject:
    """`/transactions/{hash}`, and the answer to a submission. The metadata that nobody here reads is left empty."""
    here = f"{base_url}/transactions/{transaction.hash}"
    token = transaction.token
    return {
        "_links": {
            "self": {"href": here},
            "account": {"href": f"{base_url}/accounts/{transaction.source}"},
            "ledger": {"href": f"{base_url}/ledgers/{transaction.ledger}"},
            "operations": {"href": f"{here}/operations{CURSOR_TEMPLATE}", "templated": True},
            "effects": {"href": f"{here}/effects{CURSOR_TEMPLATE}", "templated": True},
            "precedes": {"href": f"{base_url}/transactions?order=asc&cursor={token}"},
            "succeeds": {"href": f"{base_url}/transactions?order=desc&cursor={token}"},
            "transaction": {"href": here},
        },
        "id": transaction.hash,
        "paging_token": str(token),
        "successful": transaction.successful,
        "hash": transaction.hash,
        "ledger": transaction.ledger,
        "created_at": transaction.closed_at_text,
        "source_account": transaction.source,
        "source_account_sequence": str(transaction.sequence),
        "fee_account": transaction.source,
        "fee_charged": str(transaction.fee_stroops),
        "max_fee": str(transaction.fee_stroops),
        "operation_count": transaction.operation_count,
        "envelope_xdr": transaction.envelope,
        "result_xdr": "",
        "result_meta_xdr": "",
        "fee_meta_xdr": "",
        "memo_type": "none",
        "signatures": [],
        "preconditions": {"timebounds": {"min_time": "0", "max_time": str(transaction.max_time)}},
    }


def effect_record(entry: Entry, number: int, effect: Effect, base_url: str) -> JsonObject:
    """One element of `/effects`: the `number`th of its operation."""
    operation = str(entry.operation_id)
    token = f"{operation}-{number}"
    return {
        "_links": {
            "operation": {"href": f"{base_url}/operations/{operation}"},
            "succeeds": {"href": f"{base_url}/effects?order=desc&cursor={token}"},
            "precedes": {"href": f"{base_url}/effects?order=asc&cursor={token}"},
        },
        "id": f"{entry.operation_id:019d}-{number:010d}",
        "paging_token": token,
        "account": effect.account,
        "type": effect.type,
        "type_i": TYPE_NUMBERS[effect.type],
        "created_at": entry.transaction.closed_at_text,
        **effect.fields,
    }


def ledger_record(header: LedgerHeader, base_url: str) -> JsonObject:
    """`/ledgers/{sequence}`, without `header_xdr`."""
    here = f"{base_url}/ledgers/{header.sequence}"
    return {
        "_links": {
            "self": {"href": here},
            "transactions": {"href": f"{here}/transactions{CURSOR_TEMPLATE}", "templated": True},
            "operations": {"href": f"{here}/operations{CURSOR_TEMPLATE}", "templated": True},
            "payments": {"href": f"{here}/payments{CURSOR_TEMPLATE}", "templated": True},
            "effects": {"href": f"{here}/effects{CURSOR_TEMPLATE}", "templated": True},
        },
        "id": header.hash,
        "paging_token": str(header.sequence << 32),
        "hash": header.hash,
        "prev_hash": header.previous_hash,
        "sequence": header.sequence,
        "successful_transaction_count": header.successful_transactions,
        "failed_transaction_count": header.failed_transactions,
        "operation_count": header.operations,
        "tx_set_operation_count": header.operations,
        "closed_at": header.closed_at_text,
        "total_coins": "105443902087.3472865",
        "fee_pool": "4294000.1234567",
        "base_fee_in_stroops": 100,
        "base_reserve_in_stroops": 5_000_000,
        "max_tx_set_size": 1000,
        "protocol_version": 22,
    }


def dump(record: JsonObject) -> bytes:
    """One line of JSON, with no escapes but those JSON needs."""
    return orjson.dumps(record)
