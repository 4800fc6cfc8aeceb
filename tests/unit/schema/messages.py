"""One message of each kind, ways to bend it, and what complaints say was expected."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest

from schema import balance_event, deposit_command, deposit_result
from schema.deposit_command import DepositCommand
from schema.deposit_result import DepositResult, ResultError, ResultStatus
from schema.stellar import Ledger, Malformed, Network, Stroops
from tests.unit.consumer.worlds import USDC, VAULT, movement
from tests.unit.consumer.worlds import balance_event as event_of

EVENT = event_of(2, 150, since=1, movements=(movement(2, 50), replace(movement(2, -1, VAULT), counterparty=None)))
COMMAND = DepositCommand(
    command_id=UUID("0b7b5c0e-6e8b-5d3c-9f57-0d2f6c1c9a44"),
    previous_command_id=None,
    user_id=UUID("7f8f0c86-7a43-4c55-8f0f-0a6f5a2a9a10"),
    wallet_id=UUID("f3b2c1de-9d7f-4b8e-a3a5-2f4c6d8e0b12"),
    account_id=EVENT.account_id,
    network=Network.TESTNET,
    asset=USDC,
    vault_address=VAULT,
    amount_stroops=Stroops(500_000_000),
    balance_stroops=Stroops(1_500_000_000),
    reserve_stroops=Stroops(1_000_000_000),
    ledger=Ledger(52_446_757),
    caused_by=str(EVENT.event_id),
    snapshot_id=UUID("0190a3c4-5d6e-8f70-9a1b-2c3d4e5f6071"),
    issued_at=datetime(2024, 7, 6, 10, 13, 45, tzinfo=UTC),
    expires_at=datetime(2024, 7, 6, 10, 18, 45, tzinfo=UTC),
)
SUCCEEDED = DepositResult(
    command_id=COMMAND.command_id,
    status=ResultStatus.SUCCEEDED,
    amount_stroops=Stroops(500_000_000),
    transaction_hash="d5b3b11e39b9450a79645de31a2503c45b9cfe1567b81f52b4a212afd834492e",
    ledger=Ledger(52_446_761),
    error=None,
    completed_at=datetime(2024, 7, 6, 10, 14, 5, tzinfo=UTC),
)
FAILED = replace(
    SUCCEEDED,
    status=ResultStatus.FAILED,
    amount_stroops=Stroops(0),
    transaction_hash=None,
    ledger=None,
    error=ResultError(code="insufficient_balance", message="120.0000000 in ledger 52446760"),
)
MODULES = {"event": balance_event, "command": deposit_command, "result": deposit_result}
MESSAGES: dict[str, Any] = {"event": EVENT, "command": COMMAND, "result": SUCCEEDED}
MISSING = "None, expected a field of this name: it is missing"
UUID_SHAPE = "a UUID in lower case with hyphens"
TIME_SHAPE = "a time like 2026-01-31T12:00:00Z"
LEDGER_SHAPE = "a ledger: a whole number from 1 to 4294967295"
ADDRESS_SHAPE = "a Stellar address (G..., C..., L... or B...) with a valid checksum"


def said(kind: str, **bent: object) -> bytes:
    """The message with these fields bent; `...` takes a field away."""
    fields = orjson.loads(MODULES[kind].encode(MESSAGES[kind])) | bent
    return orjson.dumps({name: value for name, value in fields.items() if value is not ...})


def complaint(kind: str, body: bytes) -> str:
    with pytest.raises(Malformed) as malformed:
        MODULES[kind].decode(body)
    return str(malformed.value)
