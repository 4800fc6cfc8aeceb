"""Who may read and write what: people, the service, and nobody."""

from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.integration import rows
from tests.people import Person, account_id, acting_as, add_person

SERVICE_TABLES = (
    "deposit_commands",
    "auto_deposit_policies",
    "stream_cursors",
    "read_requests",
    "dead_letters",
    "webhook_ids",
)
NOBODY_YET = UUID("5f0c2c0e-6a51-4d0c-8a52-0b6f6f7a1e33")  # a user without a wallet
# Every column that decisions rest on, with a value it may have, as SQL.
STATE_COLUMNS = {
    "previous_usdc_balance": "1",
    "balance_ledger": "52426478",
    "balance_authorized": "false",
    "protected_usdc": "1",
    "latest_snapshot_id": "gen_random_uuid()",
    "failures_in_a_row": "1",
    "retry_of": "gen_random_uuid()",
    "due_at": "now()",
    "held_at": "now()",
    "observed_ledger": "52426478",
}
IDENTITY_COLUMNS = {
    "id": "gen_random_uuid()",
    "user_id": f"'{NOBODY_YET}'",
    "public_key": f"'{account_id('another')}'",
    "network": "'mainnet'",
}
GUARDED_COLUMNS = {**STATE_COLUMNS, **IDENTITY_COLUMNS}

STATE = """update public.stellar_wallets set previous_usdc_balance = 150, balance_ledger = 52426477,
    balance_authorized = true, protected_usdc = 100, latest_snapshot_id = gen_random_uuid(), failures_in_a_row = 2,
    retry_of = gen_random_uuid(), due_at = now(), held_at = now(), observed_ledger = 52426480 where id = $1"""


@pytest.fixture
async def ada(connection: asyncpg.Connection) -> Person:
    return await add_person(connection)


@pytest.fixture
async def ben(connection: asyncpg.Connection) -> Person:
    return await add_person(connection)


async def wallet_row(connection: asyncpg.Connection, person: Person) -> dict[str, Any]:
    return dict(await connection.fetchrow("select * from public.stellar_wallets where id = $1", person.wallet_id))


async def test_a_person_reads_their_own_snapshots_only(
    connection: asyncpg.Connection, ada: Person, ben: Person
) -> None:
    """Of two people's snapshots each sees one; a token without a person sees none; anon is refused."""
    for person in (ada, ben):
        await rows.insert(connection, "balance_snapshots", rows.snapshot(person))
    for user_id, seen in ((ada.user_id, [ada.user_id]), (ben.user_id, [ben.user_id]), (None, [])):
        async with acting_as(connection, "authenticated", user_id):
            found = await connection.fetch("select user_id from public.balance_snapshots")
        assert [row["user_id"] for row in found] == seen
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with acting_as(connection, "anon"):
            await connection.fetch("select from public.balance_snapshots")


@pytest.mark.parametrize("role", ["anon", "authenticated"])
@pytest.mark.parametrize(
    "write",
    [
        "insert into public.balance_snapshots (user_id, wallet_id, usdc_balance) values ($1, $2, 1)",
        "update public.balance_snapshots set usdc_balance = 1 where user_id = $1 and wallet_id = $2",
        "delete from public.balance_snapshots where user_id = $1 and wallet_id = $2",
    ],
)
async def test_only_the_service_writes_snapshots(
    connection: asyncpg.Connection, ada: Person, role: str, write: str
) -> None:
    """People may not write even their own snapshots; the service may, without any right to bypass the policies."""
    await rows.insert(connection, "balance_snapshots", rows.snapshot(ada))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with acting_as(connection, role, ada.user_id):
            await connection.execute(write, ada.user_id, ada.wallet_id)
    assert not await connection.fetchval("select rolbypassrls from pg_roles where rolname = 'service_role'")
    async with acting_as(connection, "service_role"):
        assert await connection.execute(write, ada.user_id, ada.wallet_id) in ("INSERT 0 1", "UPDATE 1", "DELETE 1")


@pytest.mark.parametrize("role", ["anon", "authenticated"])
@pytest.mark.parametrize("table", SERVICE_TABLES)
async def test_the_pipelines_tables_are_closed_to_people(connection: asyncpg.Connection, table: str, role: str) -> None:
    """Not one kind of access is left to people, and row level security is on; the service reads and writes."""
    kinds = ("select", "insert", "update", "delete", "truncate", "references", "trigger")
    for kind in kinds:
        assert not await connection.fetchval("select has_table_privilege($1, $2, $3)", role, f"public.{table}", kind)
    assert await connection.fetchval("select relrowsecurity from pg_class where oid = $1::text::regclass", table)
    async with acting_as(connection, "service_role"):
        await connection.fetch(f"select from public.{table}")


async def test_the_service_writes_every_table(connection: asyncpg.Connection, ada: Person) -> None:
    """All that the pipeline does to its tables, service_role may do."""
    async with acting_as(connection, "service_role"):
        await rows.insert(connection, "deposit_commands", rows.command(ada))
        await rows.insert(connection, "auto_deposit_policies", rows.policy(ada))
        await rows.insert(connection, "read_requests", {"wallet_id": ada.wallet_id, "snapshot_type": "manual"})
        await rows.insert(connection, "dead_letters", {"id": uuid4(), "reason": "malformed", "value": b"?"})
        await rows.insert(connection, "webhook_ids", {"id": uuid4()})
        cursor = {"stream_name": "payments", "network": "testnet", "cursor": "225170000000000000", "ledger": 52_426_477}
        await rows.insert(connection, "stream_cursors", cursor)
        assert await connection.execute(STATE, ada.wallet_id) == "UPDATE 1"


@pytest.mark.parametrize("column", GUARDED_COLUMNS)
async def test_a_person_may_not_change_what_decisions_rest_on(
    connection: asyncpg.Connection, ada: Person, column: str
) -> None:
    """Of their own wallet's row: the error names the column, the role and who may; the row stays as it was."""
    await connection.execute("insert into auth.users (id) values ($1)", NOBODY_YET)
    # Policies add up: one that looks at nothing leaves the guard alone, also for user_id.
    await connection.execute("create policy open on public.stellar_wallets to authenticated using (true)")
    await connection.execute(STATE, ada.wallet_id)
    before = await wallet_row(connection, ada)
    with pytest.raises(asyncpg.InsufficientPrivilegeError) as refused:
        async with acting_as(connection, "authenticated", ada.user_id):
            await change(connection, column, ada.wallet_id)
    assert f"stellar_wallets.{column} may not be set by role authenticated" in str(refused.value)
    assert "only the service (service_role) or the owner of the table sets it" in str(refused.value)
    assert await wallet_row(connection, ada) == before


async def change(connection: asyncpg.Connection, column: str, wallet_id: UUID) -> None:
    await connection.execute(
        f"update public.stellar_wallets set {column} = {GUARDED_COLUMNS[column]} where id = $1",  # noqa: S608 - from above
        wallet_id,
    )


async def test_a_person_changes_the_rest_of_their_row(connection: asyncpg.Connection, ada: Person, ben: Person) -> None:
    """Other columns are theirs, guarded ones may be sent along unchanged, and another's row is out of reach."""
    async with acting_as(connection, "authenticated", ada.user_id):
        done = await connection.execute(
            "update public.stellar_wallets set turnkey_wallet_id = 'turnkey-1', public_key = public_key, "
            "network = network, failures_in_a_row = failures_in_a_row where id = any($1)",
            [ada.wallet_id, ben.wallet_id],
        )
    assert done == "UPDATE 1"
    assert (await wallet_row(connection, ada))["turnkey_wallet_id"] == "turnkey-1"


@pytest.mark.parametrize(
    "column", sorted(STATE_COLUMNS.keys() - {"balance_ledger"})
)  # alone, the row's own check refuses it
async def test_a_new_wallet_of_a_persons_own_has_no_state(connection: asyncpg.Connection, column: str) -> None:
    """People may insert their own wallet with its address and network, and not with a state; nor one for others."""
    user_id = await connection.fetchval("insert into auth.users (id) values (gen_random_uuid()) returning id")
    plain = "insert into public.stellar_wallets (user_id, public_key, network) values ($1, $2, 'testnet')"
    stately = (
        f"insert into public.stellar_wallets (user_id, public_key, network, {column}) "  # noqa: S608 - names from above
        f"values ($1, $2, 'testnet', {STATE_COLUMNS[column]})"
    )
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match=rf"stellar_wallets\.{column} may not be set"):
        async with acting_as(connection, "authenticated", user_id):
            await connection.execute(stately, user_id, account_id("new"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        async with acting_as(connection, "authenticated", uuid4()):
            await connection.execute(plain, user_id, account_id("new"))
    async with acting_as(connection, "authenticated", user_id):
        assert await connection.execute(plain, user_id, account_id("new")) == "INSERT 0 1"


@pytest.mark.parametrize("column", ["public_key", "network"])
async def test_another_account_starts_with_a_baseline(connection: asyncpg.Connection, ada: Person, column: str) -> None:
    """When the service changes a wallet's address or network its state is forgotten; the same value changes nothing."""
    fresh = await wallet_row(connection, ada)
    await connection.execute(STATE, ada.wallet_id)
    known = await wallet_row(connection, ada)
    async with acting_as(connection, "service_role"):
        await connection.execute("update public.stellar_wallets set public_key = public_key, network = network")
    assert await wallet_row(connection, ada) == known
    async with acting_as(connection, "service_role"):
        await change(connection, column, ada.wallet_id)
    forgotten = await wallet_row(connection, ada)
    assert {name: forgotten[name] for name in STATE_COLUMNS} == {name: fresh[name] for name in STATE_COLUMNS}


async def set_balance(connection: asyncpg.Connection, user_id: UUID, balance: Decimal | None) -> None:
    await connection.execute("select public.update_previous_usdc_balance($1, $2)", user_id, balance)


async def test_existing_callers_set_their_own_balance(connection: asyncpg.Connection, ada: Person, ben: Person) -> None:
    """update_previous_usdc_balance: a person for themselves, the service for anyone, nobody else for anyone."""
    async with acting_as(connection, "authenticated", ada.user_id):
        await set_balance(connection, ada.user_id, Decimal("12.3456789"))
    assert (await wallet_row(connection, ada))["previous_usdc_balance"] == Decimal("12.3456789")
    async with acting_as(connection, "service_role"):
        await set_balance(connection, ada.user_id, Decimal(7))
    assert (await wallet_row(connection, ada))["previous_usdc_balance"] == Decimal(7)

    for role, caller in (
        ("authenticated", ben.user_id),
        ("authenticated", None),
        ("anon", None),
        ("anon", ada.user_id),
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with acting_as(connection, role, caller):
                await set_balance(connection, ada.user_id, Decimal(1))
    assert (await wallet_row(connection, ada))["previous_usdc_balance"] == Decimal(7)


@pytest.mark.parametrize("balance", ["NaN", "-0.0000001", "0.00000001", "922337203685.4775808", "Infinity", None])
async def test_what_is_no_balance_is_refused(connection: asyncpg.Connection, ada: Person, balance: str | None) -> None:
    """NaN, a negative one, an eighth decimal, more than Stellar can hold, nothing: an error, and the row stays."""
    with pytest.raises(asyncpg.InvalidParameterValueError, match="is not an amount from 0 to"):
        async with acting_as(connection, "authenticated", ada.user_id):
            await set_balance(connection, ada.user_id, None if balance is None else Decimal(balance))
    assert (await wallet_row(connection, ada))["previous_usdc_balance"] is None


@pytest.mark.parametrize("role", ["authenticated", "service_role"])
async def test_a_recorded_fact_keeps_its_balance(connection: asyncpg.Connection, ada: Person, role: str) -> None:
    """Once a fact is recorded the function changes nothing: another number beside its version would be false."""
    await connection.execute(STATE, ada.wallet_id)
    async with acting_as(connection, role, ada.user_id):
        await set_balance(connection, ada.user_id, Decimal(0))
    assert (await wallet_row(connection, ada))["previous_usdc_balance"] == Decimal(150)


async def test_a_login_of_ones_own_is_a_service_by_membership(connection: asyncpg.Connection, ada: Person) -> None:
    """A role granted service_role does all that the pipeline does; a role without it does nothing."""
    service, stranger = f"service_{uuid4().hex}", f"stranger_{uuid4().hex}"
    await connection.execute(f"create role {service} in role service_role; create role {stranger}")
    try:
        async with acting_as(connection, service):
            await set_balance(connection, ada.user_id, Decimal(3))
            await rows.insert(connection, "deposit_commands", rows.command(ada))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with acting_as(connection, stranger):
                await set_balance(connection, ada.user_id, Decimal(4))
        assert (await wallet_row(connection, ada))["previous_usdc_balance"] == Decimal(3)
    finally:
        await connection.execute(f"drop role {service}; drop role {stranger}")
