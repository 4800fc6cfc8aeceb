"""One sound row for each table, to be varied by a test."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

import asyncpg

from tests.people import Person

ISSUED_AT: Final = datetime(2026, 1, 31, 12, tzinfo=UTC)


def command(person: Person) -> dict[str, Any]:
    """A pending command of 50."""
    return {
        "command_id": uuid4(),
        "wallet_id": person.wallet_id,
        "user_id": person.user_id,
        "account_id": person.account_id,
        "network": "testnet",
        "status": "pending",
        "amount": Decimal(50),
        "payload": b"{}",
        "trace_id": uuid4(),
        "caused_by": str(uuid4()),
        "snapshot_id": uuid4(),
        "issued_at": ISSUED_AT,
        "expires_at": ISSUED_AT + timedelta(seconds=300),
    }


def snapshot(person: Person) -> dict[str, Any]:
    """A balance of 150 after 100, seen by the stream."""
    return {
        "user_id": person.user_id,
        "wallet_id": person.wallet_id,
        "usdc_balance": Decimal(150),
        "previous_balance": Decimal(100),
        "snapshot_type": "webhook",
        "deposit_amount": Decimal(50),
        "ledger": 52_426_477,
    }


def policy(person: Person) -> dict[str, Any]:
    """A policy that says everything itself."""
    return {
        "wallet_id": person.wallet_id,
        "min_deposit": Decimal(10),
        "max_deposit": Decimal(100),
        "daily_cap": Decimal(1000),
        "reserve": Decimal(5),
        "excluded_sources": [person.account_id],
        "vault_address": person.account_id,
    }


def answered_request(person: Person) -> dict[str, Any]:
    """A person's request that was answered with a fact."""
    return {
        "wallet_id": person.wallet_id,
        "snapshot_type": "manual",
        "done_at": ISSUED_AT,
        "event_id": uuid4(),
        "ledger": 52_426_477,
        "observed_ledger": 52_426_480,
        "balance": Decimal(150),
    }


async def insert(connection: asyncpg.Connection, table: str, row: dict[str, Any]) -> None:
    """Insert one row of these columns."""
    columns, places = ", ".join(row), ", ".join(f"${place}" for place in range(1, len(row) + 1))
    await connection.execute(f"insert into public.{table} ({columns}) values ({places})", *row.values())  # noqa: S608 - names of ours
