"""Every id is derived from what it names, so that whoever sees the same thing says the same id, in every replay."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

from schema.stellar import AccountId, Asset, Ledger, Network

NAMESPACE: Final = UUID("6f0c7c1e-53c4-5d0e-9a57-0f6a3f1f8a11")  # fixed for ever: every id below hangs on it
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_VERSION_8: Final = 0x8 << 76 | 0x2 << 62  # RFC 9562: the version, the variant
_HASH_BITS: Final = (2**80 - 1) & ~(0xF << 76 | 0x3 << 62)  # what they leave to the hash


def event_id(network: Network, account_id: AccountId, asset: Asset, ledger: Ledger) -> UUID:
    """The identity of a fact: (network, account, asset, version), as a UUIDv5."""
    return uuid5(NAMESPACE, f"{network}|{account_id}|{asset}|{ledger}")


def command_id(wallet_id: UUID, caused_by: str) -> UUID:
    """The identity of a command: the wallet and what caused it, as a UUIDv5."""
    return uuid5(NAMESPACE, f"{wallet_id}|{caused_by}")


def snapshot_id(wallet_id: UUID, cause: str, at: datetime) -> UUID:
    """The identity of a snapshot, a UUIDv8 that sorts by time: milliseconds, then a hash of wallet and cause."""
    milliseconds = (at - _EPOCH) // _MILLISECOND
    digest = hashlib.blake2b(wallet_id.bytes + cause.encode(), digest_size=10).digest()
    return UUID(int=milliseconds << 80 | int.from_bytes(digest) & _HASH_BITS | _VERSION_8)
