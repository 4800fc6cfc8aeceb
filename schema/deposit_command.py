"""A deposit command tells the executor to move one amount, once. Its id is the same in every replay."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from schema import wire
from schema.stellar import AccountId, Address, Asset, Ledger, Network, Stroops
from schema.wire import Field

TOPIC: Final = "stellar.deposit-commands"
TYPE: Final = "stellar.deposit-command.v1"
CAUSED_BY_CHARACTERS_MAX: Final = 128  # due:<uuid>:<time> is 69


@dataclass(frozen=True, slots=True, kw_only=True)
class DepositCommand:
    """Deposit `amount_stroops`, leave at least `reserve_stroops`, do nothing after `expires_at` (chain time).

    `balance_stroops` and `ledger` are the state it was decided on; `caused_by` is the event's id, `result:<command_id>`
    or `due:<wallet_id>:<time>`; `previous_command_id` is the failed or expired one that this one tries again.
    """

    command_id: UUID
    previous_command_id: UUID | None
    user_id: UUID
    wallet_id: UUID
    account_id: AccountId
    network: Network
    asset: Asset
    vault_address: Address | None
    amount_stroops: Stroops
    balance_stroops: Stroops
    reserve_stroops: Stroops
    ledger: Ledger
    caused_by: str
    snapshot_id: UUID
    issued_at: datetime
    expires_at: datetime


FIELDS: Final = (
    Field("command_id", "command_id", wire.UUID_KIND),
    Field("previous_command_id", "previous_command_id", wire.nullable(wire.UUID_KIND)),
    Field("user_id", "user_id", wire.UUID_KIND),
    Field("wallet_id", "wallet_id", wire.UUID_KIND),
    Field("account_id", "account_id", wire.ACCOUNT_ID),
    Field("network", "network", wire.choice(Network)),
    Field("asset", "asset", wire.ASSET),
    Field("vault_address", "vault_address", wire.nullable(wire.ADDRESS)),
    Field("amount", "amount_stroops", wire.AMOUNT),
    Field("balance", "balance_stroops", wire.AMOUNT),
    Field("reserve", "reserve_stroops", wire.AMOUNT),
    Field("ledger", "ledger", wire.LEDGER),
    Field("caused_by", "caused_by", wire.text(characters_max=CAUSED_BY_CHARACTERS_MAX)),
    Field("snapshot_id", "snapshot_id", wire.UUID_KIND),
    Field("issued_at", "issued_at", wire.TIME),
    Field("expires_at", "expires_at", wire.TIME),
)


def encode(command: DepositCommand) -> bytes:
    """The command as JSON bytes: what the outbox stores and sends as it is."""
    return wire.encode(FIELDS, command)


def decode(body: bytes) -> DepositCommand:
    """Read a command; Malformed when a field is missing or wrong."""
    return DepositCommand(**wire.decode(FIELDS, body))


def key(command: DepositCommand) -> bytes:
    """The Kafka key: the account id."""
    return command.account_id.encode()
