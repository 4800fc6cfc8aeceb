"""Short ways to say a wallet, a policy and what happens to it; amounts are whole units in these tests' words."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from consumer.decide import decide
from consumer.inputs import Due, Fact, Result
from consumer.outcome import Outcome
from consumer.wallet import CommandRecord, CommandStatus, Policy, WalletState
from schema.balance_event import BalanceEvent, Movement, SnapshotType, fact
from schema.deposit_command import DepositCommand
from schema.deposit_result import DepositResult, ResultError, ResultStatus
from schema.identity import command_id
from schema.stellar import (
    STROOPS_PER_UNIT,
    Address,
    Asset,
    Ledger,
    Network,
    Stroops,
    parse_account_id,
    parse_address,
)

ACCOUNT = parse_account_id("GAFK7XFZHMLSNV7OJTBO7BAIZA66X6QIBV5RMZZYXK4Q7ZSO52J5C3WQ")
SENDER = parse_address("GC5LF63GRVIT5ZXXCXLPI3RX2YXKJQFZVBSAO6AUELN3YIMSWPD6Z6FH")
VAULT = parse_address("CA6ZW2UWYV4Z4XARCQ66S2DCWEXPDZTMFNOK63FH2SAWXAIS56EGHGH5")
USDC = Asset.parse("USDC:GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5")
WALLET_ID = UUID("0f5f0c9e-2f0b-4a1c-9d41-5b7a7a3f6f10")
USER_ID = UUID("7c1a7a0e-94c6-4c39-8f53-0c7b3a5b8d22")
START = datetime(2026, 1, 31, 12, tzinfo=UTC)
FIRST_LEDGER = 52_426_477
LEDGER_TIME = timedelta(seconds=5)

POLICY = Policy(
    enabled=True,
    paused=False,
    min_deposit_stroops=Stroops(10 * STROOPS_PER_UNIT),
    max_deposit_stroops=Stroops(0),
    daily_cap_stroops=Stroops(0),
    reserve_stroops=Stroops(0),
    deposit_existing=False,
    excluded_sources=frozenset(),
    vault_address=VAULT,
    command_ttl=timedelta(seconds=300),
    retry_delay=timedelta(seconds=30),
    attempts_max=3,
)


def units(amount: float) -> Stroops:
    """Whole units, or halves of them, as stroops."""
    return Stroops(int(amount * STROOPS_PER_UNIT))


def close_time(ledger: int) -> datetime:
    """When the nth ledger of the test closed."""
    return START + ledger * LEDGER_TIME


def balance_event(  # one argument per thing a test may care about
    ledger: int,
    balance: float,
    *,
    seen_in: int | None = None,
    since: int | None = 0,
    movements: tuple[Movement, ...] | None = (),
    **changed: Any,
) -> BalanceEvent:
    """The fact that the wallet held `balance` units as of the nth ledger of the test."""
    seen_in = ledger if seen_in is None else seen_in
    said: dict[str, Any] = {
        "snapshot_type": SnapshotType.WEBHOOK,
        "network": Network.TESTNET,
        "account_id": ACCOUNT,
        "asset": USDC,
        "balance_stroops": units(balance),
        "authorized": True,
        "ledger": Ledger(FIRST_LEDGER + ledger),
        "observed_ledger": Ledger(FIRST_LEDGER + seen_in),
        "observed_at": close_time(seen_in),
        "movements_since": None if since is None else Ledger(FIRST_LEDGER + since),
        "movements": None if since is None else movements,
    }
    return fact(**(said | changed))


def movement(ledger: int, amount: float, counterparty: Address = SENDER) -> Movement:
    """A payment of `amount` units (in: positive) in the nth ledger of the test."""
    return Movement(
        operation_id=str(((FIRST_LEDGER + ledger) << 32) + 4097),
        ledger=Ledger(FIRST_LEDGER + ledger),
        transaction_hash=f"{ledger:064x}",
        type="payment",
        counterparty=counterparty,
        amount_stroops=units(amount),
    )


class World:
    """One wallet through which the inputs of a test go, in order, by the real `decide`."""

    def __init__(self, policy: Policy = POLICY, **changed: Any) -> None:
        self.policy = replace(policy, **changed)
        self.commands: list[DepositCommand] = []
        self.outcomes: list[Outcome] = []
        self._records: dict[UUID, CommandRecord] = {}
        self.state = WalletState(
            wallet_id=WALLET_ID,
            user_id=USER_ID,
            account_id=ACCOUNT,
            network=Network.TESTNET,
            asset=USDC,
        )

    def holds(self, ledger: int, balance: float, **said: Any) -> Outcome:
        """A fact comes in."""
        return self.event(balance_event(ledger, balance, **said))

    def event(self, event: BalanceEvent) -> Outcome:
        return self._take(Fact(event=event, at=event.observed_at))

    def succeeds(self, command: DepositCommand, ledger: int, amount: float | None = None) -> Outcome:
        """The executor says that it deposited, in the nth ledger of the test."""
        deposited = command.amount_stroops if amount is None else units(amount)
        result = DepositResult(
            command_id=command.command_id,
            status=ResultStatus.SUCCEEDED,
            amount_stroops=deposited,
            transaction_hash=f"{ledger:064x}",
            ledger=Ledger(FIRST_LEDGER + ledger),
            error=None,
            completed_at=close_time(ledger),
        )
        return self._take(Result(result=result, at=close_time(ledger)))

    def fails(self, command: DepositCommand, ledger: int, at: datetime | None = None) -> Outcome:
        """The executor says that it could not, in the nth ledger of the test; we hear of it then, or `at` our time."""
        result = DepositResult(
            command_id=command.command_id,
            status=ResultStatus.FAILED,
            amount_stroops=Stroops(0),
            transaction_hash=None,
            ledger=None,
            error=ResultError(code="tx_failed", message="op_underfunded"),
            completed_at=close_time(ledger),
        )
        return self._take(Result(result=result, at=at or close_time(ledger)))

    def due(self, at: datetime) -> Outcome:
        return self._take(Due(at=at))

    def amounts(self) -> list[float]:
        """What was commanded so far, in units."""
        return [command.amount_stroops / STROOPS_PER_UNIT for command in self.commands]

    def _on_record(self, given: Fact | Result | Due) -> Iterator[CommandRecord]:
        """What the store loads of the commands: those that still count, and those that the input may speak of."""
        spoken_of = {given.result.command_id} if isinstance(given, Result) else set()
        if isinstance(given, Fact):
            spoken_of = {command_id(WALLET_ID, str(given.event.event_id))}
        for command in self._records.values():
            settles_later = command.status is CommandStatus.SUCCEEDED and (
                (command.settled_ledger or 0) > (self.state.ledger or 0)
            )
            if command.is_open or settles_later or command.command_id in spoken_of:
                yield command

    def _take(self, given: Fact | Result | Due) -> Outcome:
        state = replace(self.state, commands=tuple(self._on_record(given)))
        outcome = decide(state, given, self.policy)
        self.state = outcome.state
        self._records |= {command.command_id: command for command in outcome.state.commands}
        self.outcomes.append(outcome)
        if outcome.command is not None:
            self.commands.append(outcome.command)
        return outcome
