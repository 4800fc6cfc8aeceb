"""What a decision looks at: a wallet's state, its commands, its policy. Frozen values; amounts are ints of stroops."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from schema.deposit_result import ResultStatus
from schema.stellar import NOTHING, AccountId, Address, Asset, Ledger, Network, Stroops


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the person wants. A maximum or cap of 0 is no limit; `deposit_existing`: the first sight is new money."""

    enabled: bool
    paused: bool
    min_deposit_stroops: Stroops
    max_deposit_stroops: Stroops
    daily_cap_stroops: Stroops
    reserve_stroops: Stroops
    deposit_existing: bool
    excluded_sources: frozenset[Address]
    vault_address: Address | None
    command_ttl: timedelta
    retry_delay: timedelta
    attempts_max: int


class CommandStatus(StrEnum):
    """How far a command got. Pending is decided, published is acknowledged by the broker; both are open."""

    PENDING = "pending"
    PUBLISHED = "published"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRecord:
    """A command as it is recorded. `reported` is the ending its result told, which for an expired one may come late."""

    command_id: UUID
    status: CommandStatus
    amount_stroops: Stroops
    issued_at: datetime
    expires_at: datetime
    attempt: int = 1  # one more than the failures in a row that it was issued after
    reported: ResultStatus | None = None
    deposited_stroops: Stroops = NOTHING
    settled_ledger: Ledger | None = None
    transaction_hash: str | None = None

    @property
    def is_open(self) -> bool:
        return self.status in (CommandStatus.PENDING, CommandStatus.PUBLISHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletState:
    """A wallet under its row lock. `ledger` is the version of `balance_stroops`, the stored previous balance.

    `commands` holds at least the open ones, those settled after `ledger`, and those that the batch's results speak of;
    `issued` what was commanded on each UTC day from the batch's first one on and did not fail or expire.
    """

    wallet_id: UUID
    user_id: UUID
    account_id: AccountId
    network: Network
    asset: Asset
    balance_stroops: Stroops | None = None
    ledger: Ledger | None = None
    authorized: bool = False
    protected_stroops: Stroops = NOTHING
    snapshot_id: UUID | None = None
    failures_in_a_row: int = 0
    retry_of: UUID | None = None
    due_at: datetime | None = None
    held_at: datetime | None = (
        None  # since when somebody says another balance of the stored version: nothing is commanded
    )
    commands: tuple[CommandRecord, ...] = ()
    issued: tuple[tuple[date, Stroops], ...] = ()

    @property
    def is_absent(self) -> bool:
        return self.balance_stroops == 0 and not self.authorized

    def command(self, command_id: UUID) -> CommandRecord | None:
        return next((command for command in self.commands if command.command_id == command_id), None)

    def in_flight(self) -> Stroops:
        """What commands may still take, or have taken in a ledger that the balance does not show yet."""
        version = self.ledger or 0
        return Stroops(
            sum(
                command.amount_stroops if command.is_open else command.deposited_stroops
                for command in self.commands
                if command.is_open or _settled_after(command, version)
            )
        )

    def settled(self, *, after: Ledger | None, up_to: Ledger) -> Stroops:
        """What was deposited in the ledgers between two versions."""
        return Stroops(
            sum(
                command.deposited_stroops
                for command in self.commands
                if _settled_after(command, after or 0) and (command.settled_ledger or 0) <= up_to
            )
        )

    def issued_on(self, day: date) -> Stroops:
        return Stroops(sum(amount for issued_day, amount in self.issued if issued_day == day))


def _settled_after(command: CommandRecord, ledger: int) -> bool:
    return command.status is CommandStatus.SUCCEEDED and (command.settled_ledger or 0) > ledger
