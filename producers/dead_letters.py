"""What could not be read, kept with its place: the rows from which the consumer's relay publishes. Pure."""

import json
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid5

from schema.identity import NAMESPACE
from schema.stellar import AccountId, Malformed, Network

ACCOUNTS_ORIGIN: Final = "horizon:accounts"  # where a dead letter comes from, in the column for topics


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """What could not be read, with its coordinates. The id follows from them: a replay says the same."""

    id: UUID
    origin: str
    offset: int
    key: bytes
    value: bytes
    reason: str
    detail: str


def dead_letter(  # noqa: PLR0913 - its coordinates
    origin: str, *, network: Network, key: str, offset: int, value: bytes, fault: Malformed
) -> DeadLetter:
    """Build one; its id is a UUIDv5 of the network, the origin and the key."""
    return DeadLetter(
        id=uuid5(NAMESPACE, f"{network}|{origin}|{key}|{offset}"),
        origin=origin,
        offset=offset,
        key=key.encode(errors="replace"),
        value=value,
        reason=f"malformed {fault.field or 'record'}",
        detail=str(fault),
    )


def state_letter(account_id: AccountId, *, network: Network, fault: Malformed) -> DeadLetter:
    """The dead letter of an account whose state makes no sense."""
    return dead_letter(
        ACCOUNTS_ORIGIN, network=network, key=account_id, offset=0, value=str(fault).encode(), fault=fault
    )


def as_bytes(record: object) -> bytes:
    """A record as JSON. Python's own writer takes what orjson would not, NaN for one; neither takes any depth."""
    try:
        return json.dumps(record, separators=(",", ":")).encode()
    except RecursionError:
        return b"nested too deep to be written"
