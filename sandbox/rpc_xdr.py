"""What Stellar RPC shows as XDR, made from the simulated chain: trustlines' entries and transactions' envelopes."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import stellar_sdk
from stellar_sdk import Address as SdkAddress
from stellar_sdk import StrKey, xdr

from sandbox.chain_history import Entry, Transaction
from sandbox.chain_operations import (
    AccountMerge,
    ChangeTrust,
    ClaimClaimableBalance,
    Clawback,
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
from sandbox.chain_state import Trustline
from sandbox.keys import pool_id
from schema.stellar import Asset, Malformed, Network, format_stroops

ANY_CONTRACT = b"\0" * 32


def read_key(encoded: str) -> tuple[str, Asset] | None:
    """Whose trustline of which asset a key names; None: it names something else; Malformed: it is no key."""
    try:
        line: Any = xdr.LedgerKey.from_xdr(encoded).trust_line
        if line is None or line.asset.type is xdr.AssetType.ASSET_TYPE_POOL_SHARE:
            return None
        asset = stellar_sdk.Asset.from_xdr_object(line.asset)
        account_id = StrKey.encode_ed25519_public_key(line.account_id.account_id.ed25519.uint256)
    except (ValueError, TypeError, EOFError, AttributeError) as error:
        raise Malformed(encoded[:80], expected="a ledger key as XDR") from error
    return account_id, Asset.parse(f"{asset.code}:{asset.issuer}")


def trustline_entry(account_id: str, asset: Asset, line: Trustline) -> str:
    """A trustline as a ledger entry. One that is not authorized may still maintain its liabilities."""
    entry = xdr.TrustLineEntry(
        account_id=stellar_sdk.Keypair.from_public_key(account_id).xdr_account_id(),
        asset=_asset(asset).to_trust_line_asset_xdr_object(),
        balance=xdr.Int64(line.balance_stroops),
        limit=xdr.Int64(line.limit_stroops),
        flags=xdr.Uint32(1 if line.authorized else 2),
        ext=xdr.TrustLineEntryExt(0),
    )
    return xdr.LedgerEntryData(xdr.LedgerEntryType.TRUSTLINE, trust_line=entry).to_xdr()


def envelope_of(transaction: Transaction, entries: Sequence[Entry], network: Network) -> str:
    """The transaction as it was signed: the bytes that were submitted, or some with the same operations."""
    if transaction.envelope:
        return transaction.envelope
    built = stellar_sdk.Transaction(
        source=stellar_sdk.Keypair.from_public_key(transaction.source),
        sequence=max(1, transaction.sequence),
        fee=transaction.fee_stroops,
        operations=[_operation(entry) for entry in entries],
        v1=True,
    )
    return stellar_sdk.TransactionEnvelope(built, network.passphrase).to_xdr()


def _operation(entry: Entry) -> stellar_sdk.Operation:  # noqa: PLR0911 - one per operation
    operation = entry.operation
    source = source_of(operation)
    match operation:
        case Payment():
            return stellar_sdk.Payment(operation.to, _asset(operation.asset), _amount(operation.stroops), source)
        case PathPayment():
            return _path_payment(operation, source)
        case CrossOffer():
            sold, bought = _asset(operation.sold), _asset(operation.bought)
            return stellar_sdk.ManageSellOffer(sold, bought, _amount(operation.sold_stroops), "1", 0, source)
        case CreateAccount():
            return stellar_sdk.CreateAccount(operation.account, _amount(operation.starting_stroops), source)
        case AccountMerge():
            return stellar_sdk.AccountMerge(operation.into, source)
        case CreateClaimableBalance():
            claimants = [stellar_sdk.Claimant(operation.claimant)]
            amount = _amount(operation.stroops)
            return stellar_sdk.CreateClaimableBalance(_asset(operation.asset), amount, claimants, source)
        case ClaimClaimableBalance():
            balance_id = operation.balance_id or entry.outcome.balance_id or "0" * 72
            return stellar_sdk.ClaimClaimableBalance(balance_id, source)
        case LiquidityPoolDeposit():
            a, b = _amount(operation.a_stroops), _amount(operation.b_stroops)
            pool = pool_id(operation.asset_a, operation.asset_b)
            return stellar_sdk.LiquidityPoolDeposit(pool, a, b, "0.1", "10", source)
        case LiquidityPoolWithdraw():
            pool = pool_id(operation.asset_a, operation.asset_b)
            return stellar_sdk.LiquidityPoolWithdraw(pool, _amount(operation.shares_stroops), "0", "0", source)
        case _:
            return _issuers(operation, source)


def _issuers(operation: Operation, source: str) -> stellar_sdk.Operation:
    match operation:
        case Clawback():
            asset = _asset(operation.asset)
            return stellar_sdk.Clawback(asset, operation.account, _amount(operation.stroops), source)
        case ChangeTrust():
            return stellar_sdk.ChangeTrust(_asset(operation.asset), _amount(operation.limit_stroops), source)
        case SetTrustlineFlags():
            flag = stellar_sdk.TrustLineFlags.AUTHORIZED_FLAG
            set_flags, clear_flags = (flag, None) if operation.authorized else (None, flag)
            asset = _asset(operation.asset)
            return stellar_sdk.SetTrustLineFlags(operation.trustor, asset, clear_flags, set_flags, source)
        case Recorded():
            return _recorded(operation.raw, source)
        case _:
            return _contract_call(source)


def _path_payment(operation: PathPayment, source: str) -> stellar_sdk.Operation:
    sent, received = _asset(operation.sent), _asset(operation.received)
    sent_amount, received_amount = _amount(operation.sent_stroops), _amount(operation.received_stroops)
    kind = stellar_sdk.PathPaymentStrictSend if operation.strict_send else stellar_sdk.PathPaymentStrictReceive
    built: stellar_sdk.Operation = kind(operation.to, sent, sent_amount, received, received_amount, [], source)
    return built


def _recorded(raw: dict[str, Any], source: str) -> stellar_sdk.Operation:
    if "asset_balance_changes" in raw or "from" not in raw:
        return _contract_call(source)
    asset = _raw_asset(raw, "")
    if "source_amount" in raw:
        sent = _raw_asset(raw, "source_")
        return stellar_sdk.PathPaymentStrictSend(
            raw["to"], sent, raw["source_amount"], asset, raw["amount"], [], raw["from"]
        )
    return stellar_sdk.Payment(raw["to"], asset, raw["amount"], raw["from"])


def _contract_call(source: str) -> stellar_sdk.Operation:
    arguments = xdr.InvokeContractArgs(
        contract_address=SdkAddress(StrKey.encode_contract(ANY_CONTRACT)).to_xdr_sc_address(),
        function_name=xdr.SCSymbol(b"transfer"),
        args=[],
    )
    kind = xdr.HostFunctionType.HOST_FUNCTION_TYPE_INVOKE_CONTRACT
    return stellar_sdk.InvokeHostFunction(xdr.HostFunction(kind, invoke_contract=arguments), [], source)


@lru_cache(maxsize=256)
def _asset(asset: Asset | None) -> stellar_sdk.Asset:
    return stellar_sdk.Asset.native() if asset is None else stellar_sdk.Asset(asset.code, asset.issuer)


def _raw_asset(raw: dict[str, Any], prefix: str) -> stellar_sdk.Asset:
    code = raw.get(f"{prefix}asset_code")
    return stellar_sdk.Asset(code, raw[f"{prefix}asset_issuer"]) if code else stellar_sdk.Asset.native()


def _amount(stroops: int) -> str:
    return format_stroops(stroops)
