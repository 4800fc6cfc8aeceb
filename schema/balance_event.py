"""A balance event states a fact: account A held B of asset X, as last changed in ledger V (the version)."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from schema import wire
from schema.identity import event_id
from schema.stellar import AccountId, Address, Asset, Ledger, Malformed, Network, Stroops
from schema.wire import Field

TOPIC: Final = "stellar.balance-events"
TYPE: Final = "stellar.balance-event.v1"  # CloudEvents ce_type


class SnapshotType(StrEnum):
    """Why the state was read: a payment was seen or announced, a schedule, or a request."""

    WEBHOOK = "webhook"
    POLL = "poll"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One payment that touched the wallet. The amount is signed: in is positive; `counterparty` is the other side."""

    operation_id: str
    ledger: Ledger
    transaction_hash: str
    type: str
    counterparty: Address | None
    amount_stroops: Stroops


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceEvent:
    """The fact. `movements` holds every payment in ledgers after `movements_since` up to `ledger`; both are null when
    the producer does not know. An absent trustline is balance 0, not authorized, with the observed ledger as its
    version.
    """

    event_id: UUID
    snapshot_type: SnapshotType
    network: Network
    account_id: AccountId
    asset: Asset
    balance_stroops: Stroops
    authorized: bool
    ledger: Ledger
    observed_ledger: Ledger
    observed_at: datetime
    movements_since: Ledger | None
    movements: tuple[Movement, ...] | None

    @property
    def is_absence(self) -> bool:
        """No trustline, or no account, in the observed ledger."""
        return not self.authorized and self.balance_stroops == 0 and self.ledger == self.observed_ledger


_MOVEMENT: Final = (
    Field("operation_id", "operation_id", wire.OPERATION_ID),
    Field("ledger", "ledger", wire.LEDGER),
    Field("transaction_hash", "transaction_hash", wire.TRANSACTION_HASH),
    Field("type", "type", wire.text(characters_max=64)),
    Field("counterparty", "counterparty", wire.nullable(wire.ADDRESS)),
    Field("amount", "amount_stroops", wire.SIGNED_AMOUNT),
)
FIELDS: Final = (
    Field("event_id", "event_id", wire.UUID_KIND),
    Field("snapshot_type", "snapshot_type", wire.choice(SnapshotType)),
    Field("network", "network", wire.choice(Network)),
    Field("account_id", "account_id", wire.ACCOUNT_ID),
    Field("asset", "asset", wire.ASSET),
    Field("balance", "balance_stroops", wire.AMOUNT),
    Field("authorized", "authorized", wire.BOOL),
    Field("ledger", "ledger", wire.LEDGER),
    Field("observed_ledger", "observed_ledger", wire.LEDGER),
    Field("observed_at", "observed_at", wire.TIME),
    Field("movements_since", "movements_since", wire.nullable(wire.LEDGER)),
    Field("movements", "movements", wire.nullable(wire.items(wire.item(_MOVEMENT, Movement)))),
)


def fact(  # noqa: PLR0913 - one argument per thing the fact says
    *,
    snapshot_type: SnapshotType,
    network: Network,
    account_id: AccountId,
    asset: Asset,
    balance_stroops: Stroops,
    authorized: bool,
    ledger: Ledger,
    observed_ledger: Ledger,
    observed_at: datetime,
    movements_since: Ledger | None,
    movements: tuple[Movement, ...] | None,
) -> BalanceEvent:
    """Build a fact; its id follows from what it says."""
    return BalanceEvent(
        event_id=event_id(network, account_id, asset, ledger),
        snapshot_type=snapshot_type,
        network=network,
        account_id=account_id,
        asset=asset,
        balance_stroops=balance_stroops,
        authorized=authorized,
        ledger=ledger,
        observed_ledger=observed_ledger,
        observed_at=observed_at,
        movements_since=movements_since,
        movements=movements,
    )


def encode(event: BalanceEvent) -> bytes:
    """The event as JSON bytes."""
    return wire.encode(FIELDS, event)


def decode(body: bytes) -> BalanceEvent:
    """Read an event; Malformed when a field is missing or wrong, or when the fields contradict each other."""
    event = BalanceEvent(**wire.decode(FIELDS, body))
    expected_id = event_id(event.network, event.account_id, event.asset, event.ledger)
    if event.event_id != expected_id:
        raise Malformed(str(event.event_id), expected=f"{expected_id}, which follows from the fact", field="event_id")
    if event.ledger > event.observed_ledger:
        raise Malformed(event.ledger, expected=f"at most observed_ledger {event.observed_ledger}", field="ledger")
    if (event.movements is None) != (event.movements_since is None):
        raise Malformed(event.movements_since, expected="null exactly when movements is", field="movements_since")
    return event


def key(event: BalanceEvent) -> bytes:
    """The Kafka key: one wallet's events stay in one partition, in order."""
    return event.account_id.encode()
