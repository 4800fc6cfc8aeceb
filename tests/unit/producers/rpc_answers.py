"""Answers as Stellar RPC gives them, to be bent in tests."""

from typing import Any

from stellar_sdk import Asset as SdkAsset
from stellar_sdk import Keypair, scval, xdr

from schema.stellar import AccountId, Asset, Network
from tests.unit.producers.records import ALICE, ASSET, BOB, HASH, LEDGER

LATEST = LEDGER + 9
NETWORK = Network.TESTNET


def event_id(ledger: int = LEDGER, *, transaction: int = 1, operation: int = 0, number: int = 0) -> str:
    """An event's id. RPC counts operations from 0."""
    return f"{ledger << 32 | transaction << 12 | operation:019d}-{number:010d}"


def event(name: str, *addresses: str, amount: int = 50_000_000, place: str = "", **fields: Any) -> dict[str, Any]:
    """One event of the asset's contract."""
    topics = [scval.to_symbol(name), *(scval.to_address(each) for each in addresses), scval.to_string(str(ASSET))]
    return {
        "type": "contract",
        "ledger": LEDGER,
        "ledgerClosedAt": "2026-07-06T10:13:42Z",
        "contractId": "CBQHNAXSI55GX2GN6D67GK7BHVPSLJUGZQEU7WJ5LKR5PNUCGLIMAO4K",
        "id": place or event_id(),
        "operationIndex": 0,
        "transactionIndex": 1,
        "txHash": HASH,
        "inSuccessfulContractCall": True,
        "topic": [each.to_xdr() for each in topics],
        "value": scval.to_int128(amount).to_xdr(),
        **fields,
    }


def events(*found: dict[str, Any], cursor: str = "", **fields: Any) -> dict[str, Any]:
    """An answer of getEvents."""
    return {
        "events": list(found),
        "latestLedger": LATEST,
        "oldestLedger": LEDGER - 1000,
        "latestLedgerCloseTime": "1783332999",
        "oldestLedgerCloseTime": "1783327400",
        "cursor": cursor or event_id(LATEST, transaction=0xFFFFF, operation=0xFFF, number=2**32 - 1),
        **fields,
    }


def trustline(
    account_id: AccountId = ALICE, *, asset: Asset = ASSET, balance: int = 1_500_000_000, flags: int = 1
) -> str:
    """A trustline's entry."""
    line = xdr.TrustLineEntry(
        account_id=Keypair.from_public_key(account_id).xdr_account_id(),
        asset=SdkAsset(asset.code, asset.issuer).to_trust_line_asset_xdr_object(),
        balance=xdr.Int64(balance),
        limit=xdr.Int64(2**63 - 1),
        flags=xdr.Uint32(flags),
        ext=xdr.TrustLineEntryExt(0),
    )
    return xdr.LedgerEntryData(xdr.LedgerEntryType.TRUSTLINE, trust_line=line).to_xdr()


def payment_event(**fields: Any) -> dict[str, Any]:
    """A transfer from Alice to Bob."""
    return event("transfer", ALICE, BOB, **fields)
