"""Signed transactions as clients send them (base64 XDR), decoded into what the chain understands."""

from collections.abc import Callable

import stellar_sdk
from stellar_sdk import Asset as SdkAsset
from stellar_sdk import Keypair, TransactionEnvelope
from stellar_sdk.exceptions import BadSignatureError, SdkError

from sandbox.chain_operations import AccountMerge, ChangeTrust, CreateAccount, Operation, Payment
from sandbox.chain_transactions import Submitted
from schema.stellar import AccountId, Asset, Malformed, parse_stroops

SignerOf = Callable[[str], AccountId | None]


def decode(envelope: str, *, passphrase: str, signer_of: SignerOf) -> Submitted:
    """Read an envelope; Malformed when it is none, or has an operation that the chain does not take from outside.

    `signer` of the result is the account's signer when the signature holds for this network, else empty.
    """
    try:
        parsed = TransactionEnvelope.from_xdr(envelope, passphrase)
        operations = tuple(
            _operation(each, parsed.transaction.source.account_id) for each in parsed.transaction.operations
        )
    except (SdkError, ValueError, TypeError, EOFError) as error:
        raise Malformed(envelope[:80], expected=f"a transaction envelope ({error})", field="tx") from error
    transaction = parsed.transaction
    source = AccountId(transaction.source.account_id)
    bounds = transaction.preconditions.time_bounds if transaction.preconditions else None
    signer = signer_of(source)
    return Submitted(
        hash=parsed.hash_hex(),
        envelope=envelope,
        source=source,
        sequence=transaction.sequence,
        fee_stroops=transaction.fee,
        max_time=bounds.max_time if bounds else 0,
        signer=signer if signer and _is_signed_by(parsed, signer) else AccountId(""),
        operations=operations,
    )


def _is_signed_by(envelope: TransactionEnvelope, signer: AccountId) -> bool:
    pair = Keypair.from_public_key(signer)
    for signature in envelope.signatures:
        try:
            pair.verify(envelope.hash(), signature.signature)
        except BadSignatureError:
            continue
        return True
    return False


def _operation(each: stellar_sdk.Operation, transaction_source: str) -> Operation:
    source = AccountId(each.source.account_id if each.source else transaction_source)
    if isinstance(each, stellar_sdk.Payment):
        asset = None if each.asset.is_native() else _asset(each.asset)
        to = AccountId(each.destination.account_id)
        return Payment(source=source, to=to, asset=asset, stroops=parse_stroops(each.amount))
    if isinstance(each, stellar_sdk.CreateAccount):
        starting = parse_stroops(each.starting_balance)
        return CreateAccount(source=source, account=AccountId(each.destination), starting_stroops=starting)
    if isinstance(each, stellar_sdk.ChangeTrust) and isinstance(each.asset, SdkAsset):
        return ChangeTrust(source=source, asset=_asset(each.asset), limit_stroops=parse_stroops(each.limit))
    if isinstance(each, stellar_sdk.AccountMerge):
        return AccountMerge(source=source, into=AccountId(each.destination.account_id))
    raise Malformed(
        type(each).__name__, expected="a payment, create_account, change_trust or account_merge", field="tx"
    )


def _asset(asset: SdkAsset) -> Asset:
    return Asset(asset.code, AccountId(asset.issuer or ""))
