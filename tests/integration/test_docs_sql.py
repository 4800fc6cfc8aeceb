"""The SQL that the documentation tells people to type."""

import re

import asyncpg
import pytest

from tests.people import Person, add_person
from tests.unit.test_docs import PAGES, blocks, shown

# Supabase's own, as far as a trigger that calls it sees it.
OF_SUPABASE = """
create schema supabase_functions;
create function supabase_functions.http_request() returns trigger language plpgsql as $$ begin return new; end $$;
"""
STATEMENTS = [
    pytest.param(block, id=f"{shown(page)}:{n}") for page in PAGES for n, block in enumerate(blocks(page, "sql"))
]


async def _insert_state(connection: asyncpg.Connection, person: Person) -> None:
    await connection.execute(
        """update stellar_wallets set previous_usdc_balance = 5, balance_ledger = 52000000, balance_authorized = true,
           failures_in_a_row = 5 where id = $1""",
        person.wallet_id,
    )


@pytest.mark.parametrize("statements", STATEMENTS)
async def test_every_statement_runs(statements: str, connection: asyncpg.Connection) -> None:
    """With a wallet that has a balance, each block runs as it stands; G... is the wallet's address."""
    person = await add_person(connection)
    await _insert_state(connection, person)
    await connection.execute(OF_SUPABASE)
    for _ in range(2):
        await connection.execute(statements.replace("G...", person.account_id))


async def test_the_statements_for_a_pause_do_it(connection: asyncpg.Connection) -> None:
    """The first makes the wallet's own policy say paused, the second the default's again."""
    person = await add_person(connection)
    [block] = [each.values[0] for each in STATEMENTS if "paused = true" in str(each.values[0])]
    pause, resume = re.findall(
        r"^(?:insert|update).+?;$", str(block).replace("G...", person.account_id), re.MULTILINE | re.DOTALL
    )
    query = "select paused from auto_deposit_policies where wallet_id = $1"
    await connection.execute(pause)
    assert await connection.fetchval(query, person.wallet_id) is True
    await connection.execute(resume)
    assert await connection.fetchval(query, person.wallet_id) is None


async def test_the_statements_for_a_reset_forget_everything(connection: asyncpg.Connection) -> None:
    """After them the wallet is as new: nothing of the network that is gone counts."""
    person = await add_person(connection)
    await _insert_state(connection, person)
    [block] = [str(each.values[0]) for each in STATEMENTS if "delete from deposit_commands" in str(each.values[0])]
    await connection.execute(block)
    row = await connection.fetchrow("select * from stellar_wallets where id = $1", person.wallet_id)
    fresh = await add_person(connection)
    new = await connection.fetchrow("select * from stellar_wallets where id = $1", fresh.wallet_id)
    assert row is not None
    assert new is not None
    own = {"id", "user_id", "public_key", "created_at", "updated_at"}
    assert {k: v for k, v in row.items() if k not in own} == {k: v for k, v in new.items() if k not in own}
