"""A deposit result is the executor's last word on a command."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from schema import wire
from schema.stellar import Ledger, Malformed, Stroops
from schema.wire import Field

TOPIC: Final = "stellar.deposit-results"
TYPE: Final = "stellar.deposit-result.v1"


class ResultStatus(StrEnum):
    """How the command ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultError:
    """Why it failed: a code for machines, a message for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DepositResult:
    """Succeeded: what was deposited, in which transaction and ledger. Failed: why; nothing moved, nothing ever will."""

    command_id: UUID
    status: ResultStatus
    amount_stroops: Stroops
    transaction_hash: str | None
    ledger: Ledger | None
    error: ResultError | None
    completed_at: datetime

    @property
    def result_id(self) -> str:
        """The result's own `ce_id`: the command and how it ended."""
        return f"{self.command_id}:{self.status}"


_ERROR: Final = (
    Field("code", "code", wire.text(characters_max=128)),
    Field("message", "message", wire.text(characters_max=4096)),
)
FIELDS: Final = (
    Field("command_id", "command_id", wire.UUID_KIND),
    Field("status", "status", wire.choice(ResultStatus)),
    Field("amount", "amount_stroops", wire.AMOUNT),
    Field("transaction_hash", "transaction_hash", wire.nullable(wire.TRANSACTION_HASH)),
    Field("ledger", "ledger", wire.nullable(wire.LEDGER)),
    Field("error", "error", wire.nullable(wire.item(_ERROR, ResultError))),
    Field("completed_at", "completed_at", wire.TIME),
)


def encode(result: DepositResult) -> bytes:
    """The result as JSON bytes."""
    return wire.encode(FIELDS, result)


def decode(body: bytes) -> DepositResult:
    """Read a result; Malformed when a field is missing or wrong, or when the fields contradict the status."""
    result = DepositResult(**wire.decode(FIELDS, body))
    if result.status is ResultStatus.SUCCEEDED:
        if result.ledger is None:
            raise Malformed(None, expected="the ledger of the deposit, as it succeeded", field="ledger")
        if result.transaction_hash is None:
            raise Malformed(None, expected="the deposit's transaction, as it succeeded", field="transaction_hash")
        if result.amount_stroops == 0:
            raise Malformed("0", expected="more than 0, as it succeeded", field="amount")
    elif result.error is None:
        raise Malformed(None, expected="a code and a message, as it failed", field="error")
    return result
