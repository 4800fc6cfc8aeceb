"""XDR of Stellar RPC's requests and answers, by the SDK: base64 in, plain values out. What cannot be read is Malformed.

Imported only where RPC is the source: the SDK takes half a second and 60 MB.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar

import stellar_sdk
from stellar_sdk import MuxedAccount, StrKey, scval, xdr
from stellar_sdk.exceptions import SdkError

from schema.stellar import AccountId, Address, Asset, Malformed, Network

AUTHORIZED: Final = 1  # the flag; one that may only maintain liabilities has another
_UNREADABLE: Final = (
    *(SdkError, ValueError, TypeError, KeyError, EOFError, IndexError),
    *(AttributeError, AssertionError, RecursionError),
)
CONTRACT_CALL: Final = "invoke_host_function"
_KINDS: Final = {
    xdr.OperationType.PAYMENT: "payment",
    xdr.OperationType.PATH_PAYMENT_STRICT_RECEIVE: "path_payment_strict_receive",
    xdr.OperationType.PATH_PAYMENT_STRICT_SEND: "path_payment_strict_send",
    xdr.OperationType.INVOKE_HOST_FUNCTION: CONTRACT_CALL,
}
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trustline:
    """A trustline's entry."""

    account_id: AccountId
    balance_stroops: int
    authorized: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operation of a transaction, as far as it says who paid whom."""

    kind: str  # as Horizon names it, of payments and contract calls; of all others empty
    sender: AccountId
    receiver: AccountId | None = None  # of a path payment, as is what follows: CODE:ISSUER, or native
    sends: str = ""
    receives: str = ""


def contract_of(asset: Asset, network: Network) -> str:
    """The contract (`C...`) under which the network tells of the asset's movements, deployed or not."""
    return str(_sdk_asset(asset).contract_id(network.passphrase))


def native_contract(network: Network) -> str:
    """The contract of XLM, which tells of the fees."""
    return str(stellar_sdk.Asset.native().contract_id(network.passphrase))


def symbol(text: str) -> str:
    """A topic that is a word."""
    return scval.to_symbol(text).to_xdr()


@lru_cache(maxsize=65_536)
def address(account_id: str) -> str:
    """A topic that is an address."""
    return scval.to_address(account_id).to_xdr()


def text(value: str) -> str:
    """A topic that is text: CODE:ISSUER."""
    return scval.to_string(value).to_xdr()


@lru_cache(maxsize=65_536)
def trustline_key(account_id: AccountId, asset: Asset) -> str:
    """The key of the account's trustline of the asset."""
    public_key = stellar_sdk.Keypair.from_public_key(account_id).xdr_account_id()
    line = xdr.LedgerKeyTrustLine(account_id=public_key, asset=_sdk_asset(asset).to_trust_line_asset_xdr_object())
    return xdr.LedgerKey(xdr.LedgerEntryType.TRUSTLINE, trust_line=line).to_xdr()


def read_trustline(encoded: str, asset: Asset) -> Trustline:
    """A ledger entry that must be a trustline of this asset."""

    def read() -> Trustline:
        line = xdr.LedgerEntryData.from_xdr(encoded).trust_line
        if line is None or line.asset != _sdk_asset(asset).to_trust_line_asset_xdr_object():
            raise ValueError("another entry than the one that was asked for")
        return Trustline(
            account_id=_account(line.account_id),
            balance_stroops=line.balance.int64,
            authorized=bool(line.flags.uint32 & AUTHORIZED),
        )

    return _reading(read, encoded, expected=f"the entry of a trustline of {asset}")


def read_address(encoded: str) -> Address:
    """An address in a topic: an account, a contract, a claimable balance, a pool."""
    return _reading(lambda: _read_address(encoded), encoded, expected="an address as XDR")


@lru_cache(maxsize=65_536)
def _read_address(encoded: str) -> Address:
    found: str = scval.from_address(xdr.SCVal.from_xdr(encoded)).address
    if found.startswith("M"):
        raise ValueError("a muxed address in a topic")
    return Address(found)


def read_amount(encoded: str) -> int:
    """An amount in stroops, beyond int64 where contracts hold it: a number, or a map with the number in it."""

    def read() -> int:
        value = xdr.SCVal.from_xdr(encoded)
        if value.type is xdr.SCValType.SCV_MAP and value.map is not None:
            named = {entry.key.sym.sc_symbol: entry.val for entry in value.map.sc_map if entry.key.sym is not None}
            value = named[b"amount"]
        return scval.from_int128(value)

    return _reading(read, encoded, expected="an amount as XDR")


def read_operations(encoded: str) -> Sequence[Operation]:
    """The operations of a transaction's envelope, in order."""

    def read() -> Sequence[Operation]:
        envelope: Any = xdr.TransactionEnvelope.from_xdr(encoded)
        if envelope.v0 is not None:
            transaction = envelope.v0.tx
            source = AccountId(StrKey.encode_ed25519_public_key(transaction.source_account_ed25519.uint256))
        else:
            transaction = (envelope.v1 or envelope.fee_bump.tx.inner_tx.v1).tx
            source = _muxed(transaction.source_account)
        return [_operation(each, source) for each in transaction.operations]

    return _reading(read, encoded, expected="a transaction's envelope as XDR")


def _operation(operation: Any, transaction_source: AccountId) -> Operation:
    sender = transaction_source if operation.source_account is None else _muxed(operation.source_account)
    body = operation.body
    path = body.path_payment_strict_receive_op or body.path_payment_strict_send_op
    if path is None:
        return Operation(kind=_KINDS.get(body.type, ""), sender=sender)
    return Operation(
        kind=_KINDS[body.type],
        sender=sender,
        receiver=_muxed(path.destination),
        sends=_asset_text(path.send_asset),
        receives=_asset_text(path.dest_asset),
    )


def _asset_text(asset: Any) -> str:
    found = stellar_sdk.Asset.from_xdr_object(asset)
    return "native" if found.is_native() else f"{found.code}:{found.issuer}"


def _muxed(account: Any) -> AccountId:
    return AccountId(MuxedAccount.from_xdr_object(account).account_id)


def _account(account: Any) -> AccountId:
    return AccountId(StrKey.encode_ed25519_public_key(account.account_id.ed25519.uint256))


@lru_cache(maxsize=64)
def _sdk_asset(asset: Asset) -> stellar_sdk.Asset:
    return stellar_sdk.Asset(asset.code, asset.issuer)


def _reading(read: Callable[[], _T], encoded: str, *, expected: str) -> _T:
    try:
        base64.b64decode(encoded, validate=True)
        return read()
    except (*_UNREADABLE, binascii.Error) as error:
        raise Malformed(encoded, expected=expected) from error
