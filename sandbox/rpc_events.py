"""The events that the network tells of an operation since protocol 23 (CAP-67): one for every movement of an asset."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import stellar_sdk
from stellar_sdk import scval

from sandbox.chain_effects import asset_text
from sandbox.chain_history import Entry, Transaction
from sandbox.chain_operations import (
    AssetChange,
    ChangeKind,
    Clawback,
    ContractCall,
    CrossOffer,
    Operation,
    PathPayment,
    Recorded,
    SetTrustlineFlags,
    postings_of,
)
from sandbox.chain_outcomes import Outcome
from schema.stellar import Asset, Network, parse_stroops

TRANSACTION_MAX: Final = 0xFFFFF
OPERATION_MAX: Final = 0xFFF
EVENT_MAX: Final = 2**32 - 1
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One event: `stroops` moved, or `authorized` given or taken."""

    name: str
    asset: Asset | None
    addresses: tuple[str, ...]
    stroops: int = 0
    authorized: bool | None = None
    muxed_id: str | None = None


def told_of(operation: Operation, outcome: Outcome) -> list[Told]:  # noqa: PLR0911 - one per kind
    """The events of a successful operation, in their order."""
    match operation:
        case PathPayment():  # each trade, and then what the receiver gets
            return [
                _transfer(operation.source, operation.maker, operation.sent, operation.sent_stroops),
                _transfer(operation.maker, operation.source, operation.received, operation.received_stroops),
                _transfer(operation.source, operation.to, operation.received, operation.received_stroops),
            ]
        case CrossOffer():
            return [
                _transfer(operation.source, operation.maker, operation.sold, operation.sold_stroops),
                _transfer(operation.maker, operation.source, operation.bought, operation.bought_stroops),
            ]
        case Clawback():
            return [
                Told(name="clawback", asset=operation.asset, addresses=(operation.account,), stroops=operation.stroops)
            ]
        case SetTrustlineFlags():
            return [
                Told(
                    name="set_authorized",
                    asset=operation.asset,
                    addresses=(operation.trustor,),
                    authorized=operation.authorized,
                )
            ]
        case ContractCall():
            return [_of_change(change) for change in operation.changes]
        case Recorded():
            return list(_of_record(operation.raw))
        case _:
            postings = postings_of(operation, outcome)
            pairs = zip(postings[::2], postings[1::2], strict=True)
            return [_transfer(given.address, taken.address, taken.asset, taken.stroops) for given, taken in pairs]


def events_of(entry: Entry, network: Network) -> list[JsonObject]:
    """The events of an operation as getEvents shows them. RPC counts operations from 0."""
    if not entry.transaction.successful:
        return []
    told = told_of(entry.operation, entry.outcome)
    return [_event(each, entry.transaction, entry.operation_id - 1, at, network) for at, each in enumerate(told)]


def fees_of(transactions: Iterable[Transaction], network: Network) -> list[JsonObject]:
    """The events of a ledger's fees, which are taken before its first operation, also of what fails."""
    return [
        _event(
            Told(name="fee", asset=None, addresses=(each.source,), stroops=each.fee_stroops),
            each,
            each.ledger << 32,
            number,
            network,
        )
        for number, each in enumerate(transactions)
    ]


def _event(told: Told, transaction: Transaction, toid: int, number: int, network: Network) -> JsonObject:
    return {
        "type": "contract",
        "ledger": transaction.ledger,
        "ledgerClosedAt": transaction.closed_at_text,
        "contractId": contract_of(told.asset, network),
        "id": cursor(toid, number),
        "operationIndex": toid & OPERATION_MAX,
        "transactionIndex": toid >> 12 & TRANSACTION_MAX,
        "txHash": transaction.hash,
        "inSuccessfulContractCall": transaction.successful,
        "topic": _topics(told),
        "value": _value(told),
    }


def cursor(toid: int, number: int) -> str:
    """An event's id."""
    return f"{toid:019d}-{number:010d}"


def end_of(ledger: int) -> str:
    """The cursor behind everything of a ledger."""
    return cursor(ledger << 32 | TRANSACTION_MAX << 12 | OPERATION_MAX, EVENT_MAX)


@lru_cache(maxsize=256)
def contract_of(asset: Asset | None, network: Network) -> str:
    """The asset's contract."""
    found = stellar_sdk.Asset.native() if asset is None else stellar_sdk.Asset(asset.code, asset.issuer)
    return found.contract_id(network.passphrase)


def _transfer(source: str, to: str, asset: Asset | None, stroops: int, muxed_id: str | None = None) -> Told:
    """What comes from the issuer is minted, what goes to it is burnt."""
    issuer = asset.issuer if asset else ""
    if issuer == source != to:
        return Told(name="mint", asset=asset, addresses=(to,), stroops=stroops, muxed_id=muxed_id)
    if issuer == to != source:
        return Told(name="burn", asset=asset, addresses=(source,), stroops=stroops)
    return Told(name="transfer", asset=asset, addresses=(source, to), stroops=stroops, muxed_id=muxed_id)


def _of_change(change: AssetChange) -> Told:
    if change.kind is ChangeKind.CLAWBACK:
        return Told(name="clawback", asset=change.asset, addresses=(str(change.source),), stroops=change.stroops)
    issuer = change.asset.issuer
    return _transfer(
        change.source or issuer, change.to or issuer, change.asset, change.stroops, change.destination_muxed_id
    )


def _of_record(raw: JsonObject) -> Iterator[Told]:
    """What a recorded payment moved. The offers that a path payment crossed are not in it: its source trades with the
    issuer.
    """
    if raw.get("transaction_successful") is False:
        return
    changes = raw.get("asset_balance_changes")
    if isinstance(changes, list):
        for change in changes:
            asset = _asset(change, "")
            source, to = change.get("from") or _issuer(asset), change.get("to") or _issuer(asset)
            yield _transfer(source, to, asset, parse_stroops(change["amount"]))
    elif "source_amount" in raw:
        sent, received = _asset(raw, "source_"), _asset(raw, "")
        yield _transfer(raw["from"], _issuer(sent) or raw["to"], sent, parse_stroops(raw["source_amount"]))
        yield _transfer(_issuer(received) or raw["from"], raw["from"], received, parse_stroops(raw["amount"]))
        yield _transfer(raw["from"], raw["to"], received, parse_stroops(raw["amount"]))
    elif "amount" in raw and "from" in raw:
        yield _transfer(raw["from"], raw["to"], _asset(raw, ""), parse_stroops(raw["amount"]))


def _asset(raw: JsonObject, prefix: str) -> Asset | None:
    code, issuer = raw.get(f"{prefix}asset_code"), raw.get(f"{prefix}asset_issuer")
    return Asset.parse(f"{code}:{issuer}") if code and issuer else None


def _issuer(asset: Asset | None) -> str:
    return asset.issuer if asset else ""


def _topics(told: Told) -> list[str]:
    topics = [_symbol(told.name), *(_address(each) for each in told.addresses)]
    return topics if told.name == "fee" else [*topics, _text(asset_text(told.asset))]


def _value(told: Told) -> str:
    if told.authorized is not None:
        return scval.to_bool(told.authorized).to_xdr()
    amount = scval.to_int128(told.stroops)
    if told.muxed_id is None:
        return amount.to_xdr()
    muxed = scval.to_uint64(int(told.muxed_id))
    return scval.to_map({scval.to_symbol("amount"): amount, scval.to_symbol("to_muxed_id"): muxed}).to_xdr()


@lru_cache(maxsize=64)
def _symbol(name: str) -> str:
    return scval.to_symbol(name).to_xdr()


@lru_cache(maxsize=256)
def _text(text: str) -> str:
    return scval.to_string(text).to_xdr()


@lru_cache(maxsize=65_536)
def _address(address: str) -> str:
    return scval.to_address(address).to_xdr()
