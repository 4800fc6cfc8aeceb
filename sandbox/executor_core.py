"""Carrying out one deposit command: exactly one deposit and one result, wherever the process is killed on the way.

Each step is written down before the next one begins, and each may be done twice without harm:

    accepted  the command is in the store           again: the same row
    signed    its one envelope is in the store      again: not done, the stored one is used
    submitted Horizon has the envelope              again: answered with what became of it
    finished  the result is in the store            again: not done, the stored one is used
    published the broker has the result             again: the same bytes, a duplicate for the reader
    reported  the store knows that
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol, TypeVar
from uuid import UUID

import structlog

from sandbox.executor_horizon import AccountView, LedgerView, NotIncluded, TransactionView, Unreachable
from sandbox.executor_signing import Sign
from sandbox.executor_store import Acceptance, Signed, StoredCommand
from schema import deposit_command, deposit_result
from schema.deposit_command import DepositCommand
from schema.deposit_result import DepositResult, ResultError, ResultStatus
from schema.stellar import AccountId, Address, Asset, Ledger, Network, Stroops, format_stroops

log = structlog.get_logger(__name__)

_T = TypeVar("_T")

RETRY_S_MAX: Final = 5.0


class Chain(Protocol):
    """What is asked of the chain (HorizonClient)."""

    async def account(self, account_id: AccountId, asset: Asset) -> AccountView: ...
    async def latest(self) -> LedgerView: ...
    async def transaction(self, transaction_hash: str) -> TransactionView | None: ...
    async def submit(self, envelope: str) -> TransactionView | NotIncluded: ...


class Memory(Protocol):
    """What is kept (Store)."""

    def accept(self, command_id: UUID, account_id: AccountId, content: bytes) -> Acceptance: ...
    def sign(self, command_id: UUID, signed: Signed) -> None: ...
    def finish(self, command_id: UUID, result: bytes, *, settled_ledger: int | None) -> None: ...
    def mark_reported(self, command_id: UUID) -> None: ...
    def get(self, command_id: UUID) -> StoredCommand: ...
    def unreported(self) -> list[StoredCommand]: ...
    def settled_ledger(self, account_id: AccountId) -> int: ...


Objection = Callable[[DepositCommand], str | None]  # a reason of the operator's own not to carry it out
Publish = Callable[[AccountId, DepositResult, bytes], Awaitable[None]]  # returns when the broker has acknowledged


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which commands this executor carries out, and how."""

    network: Network
    asset: Asset
    vault_address: Address | None  # where a command names none
    deposit_less: bool = False  # when the balance no longer allows the whole amount
    retry_s: float = 0.25


class Refusal(Exception):
    """The command fails before anything was signed, so it is certain that nothing moves."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class Carrier:
    """Carries out commands that were accepted, one at a time for each wallet (its caller sees to that)."""

    def __init__(  # noqa: PLR0913 - its surroundings, one by one
        self,
        *,
        memory: Memory,
        chain: Chain,
        sign: Sign,
        publish: Publish,
        rules: Rules,
        objection: Objection = lambda _: None,
    ) -> None:
        self._memory = memory
        self._chain = chain
        self._sign = sign
        self._publish = publish
        self._rules = rules
        self._objection = objection

    async def carry_out(self, command_id: UUID) -> DepositResult:
        """Take a command from wherever it stands to its reported result. A finished one is only published again."""
        stored = self._memory.get(command_id)
        if stored.result is None:
            stored = await self._finish(stored)
        assert stored.result is not None
        result = deposit_result.decode(stored.result)
        await self._publish(stored.account_id, result, stored.result)
        self._memory.mark_reported(command_id)
        return result

    async def _finish(self, stored: StoredCommand) -> StoredCommand:
        command = deposit_command.decode(stored.content)
        try:
            signed = stored.signed or await self._prepare(command)
            result = await self._settle(command, signed)
        except Refusal as refusal:
            latest = await self._until_answered(self._chain.latest)
            result = _failed(command, refusal.code, str(refusal), at=latest.closed_at)
        content = deposit_result.encode(result)
        self._memory.finish(command.command_id, content, settled_ledger=result.ledger)
        return replace(stored, result=content)

    async def _prepare(self, command: DepositCommand) -> Signed:
        """Check everything, sign the one transaction and store it. Refusal when there is to be none."""
        vault = self._check(command)
        account = await self._fresh_account(command)
        latest = await self._until_answered(self._chain.latest)
        if latest.closed_at >= command.expires_at:
            raise Refusal("expired", f"the chain's time {latest.closed_at.isoformat()} has reached expires_at")
        signed = self._sign(
            account_id=command.account_id,
            sequence=account.sequence + 1,
            vault_address=vault,
            asset=command.asset,
            stroops=self._depositable(command, account),
            max_time=int(command.expires_at.timestamp()),
        )
        if signed is None:
            raise Refusal("unknown_wallet", "there is no key for this account here")
        self._memory.sign(command.command_id, signed)
        return signed

    def _check(self, command: DepositCommand) -> Address:
        rules = self._rules
        if command.network is not rules.network:
            raise Refusal("wrong_network", f"this executor works on {rules.network}")
        if command.asset != rules.asset:
            raise Refusal("wrong_asset", f"this executor deposits {rules.asset}")
        objection = self._objection(command)
        if objection is not None:
            raise Refusal("refused_by_operator", objection)
        if command.amount_stroops == 0:
            raise Refusal("nothing_to_deposit", "the amount is 0")
        vault = command.vault_address or rules.vault_address
        if vault is None or vault[0] != "G":
            raise Refusal("no_vault", "neither the command nor this executor names a vault account")
        return vault

    async def _fresh_account(self, command: DepositCommand) -> AccountView:
        """The account as of a ledger that has everything the command and the deposits before it rest on."""
        needed = max(command.ledger, self._memory.settled_ledger(command.account_id))
        delay_s = self._rules.retry_s
        while True:
            account = await self._until_answered(lambda: self._chain.account(command.account_id, command.asset))
            if account.ledger >= needed:
                return account
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, RETRY_S_MAX)

    def _depositable(self, command: DepositCommand, account: AccountView) -> Stroops:
        """How much to deposit: what was commanded, or a Refusal (or less, where the rules say so)."""
        if not account.exists:
            raise Refusal("account_not_found", f"there was no such account in ledger {account.ledger}")
        if account.balance_stroops is None:
            raise Refusal("trustline_not_found", f"there was no trustline in ledger {account.ledger}")
        if not account.authorized:
            raise Refusal("not_authorized", f"the trustline was not authorized in ledger {account.ledger}")
        free = account.balance_stroops - command.reserve_stroops
        if free >= command.amount_stroops:
            return command.amount_stroops
        if self._rules.deposit_less and free > 0:
            return Stroops(free)
        balance, reserve = format_stroops(account.balance_stroops), format_stroops(command.reserve_stroops)
        raise Refusal("insufficient_balance", f"{balance} in ledger {account.ledger}, of which {reserve} must remain")

    async def _settle(self, command: DepositCommand, signed: Signed) -> DepositResult:
        """Hand the stored envelope in until its end is certain: a ledger holds it, or none ever will."""
        delay_s = self._rules.retry_s
        while True:
            try:
                result = await self._certain_end(command, signed, await self._submit(command, signed))
                if result is not None:
                    return result
            except Unreachable as unreachable:
                log.info("no clear answer", command_id=str(command.command_id), reason=str(unreachable))
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, RETRY_S_MAX)

    async def _submit(self, command: DepositCommand, signed: Signed) -> TransactionView | NotIncluded:
        """Hand the envelope in. No answer is one too: what became of it must then be looked up."""
        try:
            return await self._chain.submit(signed.envelope)
        except Unreachable as unreachable:
            log.info("submitted, with no answer", command_id=str(command.command_id), reason=str(unreachable))
            return NotIncluded(code="")

    async def _certain_end(
        self, command: DepositCommand, signed: Signed, answer: TransactionView | NotIncluded
    ) -> DepositResult | None:
        """The result, when it is certain; None while the transaction may still get into a ledger.

        The order matters: what rules the transaction out is read first, the transaction after it.
        """
        if isinstance(answer, TransactionView) and answer.successful:
            return _succeeded(command, signed, answer)
        code, sequence_spent_at = answer.code, 0
        if code == "tx_bad_seq":
            account = await self._chain.account(command.account_id, command.asset)
            sequence_spent_at = account.ledger if account.sequence >= signed.sequence else 0
        latest = await self._chain.latest()
        found = await self._chain.transaction(signed.hash)
        if found is not None and found.successful:
            return _succeeded(command, signed, found)
        if found is not None:
            why = code if code.startswith("op_") else found.code
            reason = f"the transaction failed in ledger {found.ledger}"
            return _failed(command, why, reason, at=found.closed_at, transaction_hash=signed.hash)
        if latest.closed_at.timestamp() > signed.max_time:
            reason = f"no ledger up to {latest.sequence}, which closed after the time bound, holds the transaction"
            return _failed(command, "expired", reason, at=latest.closed_at)
        if 0 < sequence_spent_at <= latest.sequence:
            reason = f"another transaction has used the sequence number {signed.sequence}"
            return _failed(command, "tx_bad_seq", reason, at=latest.closed_at)
        return None

    async def _until_answered(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Ask until there is an answer: nothing is at stake yet but time."""
        delay_s = self._rules.retry_s
        while True:
            try:
                return await ask()
            except Unreachable as unreachable:
                log.info("no answer from Horizon", reason=str(unreachable))
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, RETRY_S_MAX)


def _succeeded(command: DepositCommand, signed: Signed, transaction: TransactionView) -> DepositResult:
    return DepositResult(
        command_id=command.command_id,
        status=ResultStatus.SUCCEEDED,
        amount_stroops=signed.stroops,
        transaction_hash=signed.hash,
        ledger=Ledger(transaction.ledger),
        error=None,
        completed_at=transaction.closed_at,
    )


def _failed(
    command: DepositCommand, code: str, message: str, *, at: datetime, transaction_hash: str | None = None
) -> DepositResult:
    return DepositResult(
        command_id=command.command_id,
        status=ResultStatus.FAILED,
        amount_stroops=Stroops(0),
        transaction_hash=transaction_hash,
        ledger=None,
        error=ResultError(code=code, message=message),
        completed_at=at,
    )
