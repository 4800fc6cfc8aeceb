"""People with wallets, and what they do to the database in their own name."""

import base64
import binascii
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import asyncpg
import orjson

from schema.stellar import AccountId, parse_account_id

_ACCOUNT_ID_VERSION = 6 << 3  # SEP-23: it makes the first letter a G


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with one wallet."""

    user_id: UUID
    wallet_id: UUID
    account_id: AccountId


def account_id(seed: str) -> AccountId:
    """A checksum-valid address that follows from the seed; nobody has its key."""
    raw = bytes([_ACCOUNT_ID_VERSION]) + hashlib.sha256(seed.encode()).digest()
    checksum = binascii.crc_hqx(raw, 0).to_bytes(2, "little")
    return parse_account_id(base64.b32encode(raw + checksum).decode())


async def add_person(connection: asyncpg.Connection, *, network: str = "testnet") -> Person:
    """Insert a user and their wallet, as the owner of the tables."""
    user_id, wallet_id = uuid4(), uuid4()
    person = Person(user_id=user_id, wallet_id=wallet_id, account_id=account_id(str(user_id)))
    await connection.execute("insert into auth.users (id, email) values ($1, $2)", user_id, f"{user_id}@example.org")
    await connection.execute(
        "insert into public.stellar_wallets (id, user_id, public_key, network) values ($1, $2, $3, $4)",
        wallet_id,
        user_id,
        person.account_id,
        network,
    )
    return person


@asynccontextmanager
async def acting_as(connection: asyncpg.Connection, role: str, user_id: UUID | None = None) -> AsyncIterator[None]:
    """One transaction as PostgREST makes it: the role is set, and the claims of the person's token."""
    claims = {"role": role} | ({"sub": str(user_id)} if user_id else {})
    async with connection.transaction():
        await connection.execute("select set_config('request.jwt.claims', $1, true)", orjson.dumps(claims).decode())
        await connection.execute(f"set local role {role}")
        yield
