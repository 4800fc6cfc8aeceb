"""What the tables refuse, whoever writes."""

from decimal import Decimal
from typing import Any, Final

import asyncpg
import pytest

from schema.stellar import Malformed, parse_address
from tests.integration import rows
from tests.people import Person, add_person

NOT_AMOUNTS: Final = ("NaN", "-0.0000001", "922337203685.4775808")
COMPLETED: Final = {"completed_at": rows.ISSUED_AT}
SUCCEEDED: Final = {
    **COMPLETED,
    "status": "succeeded",
    "deposited_amount": Decimal(50),
    "settled_ledger": 52_426_480,
    "transaction_hash": "8d1f" * 16,
}
FAILED: Final = {**COMPLETED, "status": "failed", "error_code": "balance_too_low"}


@pytest.fixture
async def ada(connection: asyncpg.Connection) -> Person:
    return await add_person(connection)


async def test_every_amount_refuses_what_is_none(connection: asyncpg.Connection, ada: Person) -> None:
    """NaN (which is above every number here), a negative number, more than int64: in no numeric column of any table."""
    await rows.insert(connection, "deposit_commands", {**rows.command(ada), **SUCCEEDED})
    await rows.insert(connection, "balance_snapshots", rows.snapshot(ada))
    await rows.insert(connection, "auto_deposit_policies", rows.policy(ada))
    await rows.insert(connection, "read_requests", rows.answered_request(ada))
    columns = await connection.fetch(
        """select table_name, column_name from information_schema.columns
           where table_schema = 'public' and data_type = 'numeric' and is_generated = 'NEVER'"""
    )
    assert len(columns) == 12
    for table, column in columns:
        for amount in NOT_AMOUNTS:
            with pytest.raises(asyncpg.CheckViolationError):
                await connection.execute(f"update public.{table} set {column} = $1", Decimal(amount))  # noqa: S608


@pytest.mark.parametrize(
    "sound",
    [
        {},
        {"status": "published", "published_at": rows.ISSUED_AT},
        SUCCEEDED,  # quicker than the mark of the broker's ack
        {**SUCCEEDED, "published_at": rows.ISSUED_AT, "deposited_amount": Decimal(20)},
        FAILED,
        {**COMPLETED, "status": "expired"},
        {**SUCCEEDED, "status": "expired"},  # its result came later: on record, and moves nothing
    ],
)
async def test_every_state_of_a_command_is_kept(
    connection: asyncpg.Connection, ada: Person, sound: dict[str, Any]
) -> None:
    """pending, published, succeeded (whole or less), failed, expired, and expired with a late result."""
    await rows.insert(connection, "deposit_commands", {**rows.command(ada), **sound})


@pytest.mark.parametrize(
    "unsound",
    [
        {"status": "sent"},
        {"amount": Decimal(0)},
        {"payload": b""},
        {"expires_at": rows.ISSUED_AT},
        {"attempt": 0},
        {"published_at": rows.ISSUED_AT},
        {"status": "published"},
        {"completed_at": rows.ISSUED_AT},
        {"status": "expired"},
        {**FAILED, "completed_at": None},
        {**FAILED, "error_code": None},
        {**SUCCEEDED, "deposited_amount": None},
        {**SUCCEEDED, "deposited_amount": Decimal(0)},
        {**SUCCEEDED, "deposited_amount": Decimal("50.0000001")},
        {**SUCCEEDED, "settled_ledger": None},
        {**SUCCEEDED, "settled_ledger": 2**32},
        {**SUCCEEDED, "transaction_hash": None},
    ],
)
async def test_a_command_that_contradicts_itself_is_refused(
    connection: asyncpg.Connection, ada: Person, unsound: dict[str, Any]
) -> None:
    """No command of nothing, none published without a time, none ended without one, no success without its proof."""
    with pytest.raises(asyncpg.CheckViolationError):
        await rows.insert(connection, "deposit_commands", {**rows.command(ada), **unsound})


@pytest.mark.parametrize(
    "unsound",
    [
        {"max_deposit": Decimal(5)},  # below the minimum: it would never deposit
        {"vault_address": "GABC"},
        {"excluded_sources": ["not an address"]},
        {"excluded_sources": [None]},
    ],
)
async def test_a_policy_that_cannot_be_meant_is_refused(
    connection: asyncpg.Connection, ada: Person, unsound: dict[str, Any]
) -> None:
    """A maximum under the minimum, an address that is none; while no limits, no sources and nulls are fine."""
    with pytest.raises(asyncpg.CheckViolationError):
        await rows.insert(connection, "auto_deposit_policies", {**rows.policy(ada), **unsound})
    no_limits: tuple[dict[str, Any], ...] = (
        {"max_deposit": Decimal(0)},
        {"excluded_sources": []},
        {"excluded_sources": [ada.account_id] * 3},
    )
    for sound in no_limits:
        async with connection.transaction():
            await rows.insert(connection, "auto_deposit_policies", {**rows.policy(ada), **sound})
            await connection.execute("delete from public.auto_deposit_policies")
    await rows.insert(connection, "auto_deposit_policies", {"wallet_id": ada.wallet_id})


# One of each kind that money comes from or goes to: an account, a contract, a pool, a claimable balance.
ADDRESSES: Final = (
    "GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5",
    "CA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJUWDA",
    "LA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJUPJN",
    "BAAD6DBUX6J22DMZOHIEZTEQ64CVCHEDRKWZONFEUL5Q26QD7R76RGR4TU",
)


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_mistyped_address_in_a_policy_is_refused(
    connection: asyncpg.Connection, ada: Person, address: str
) -> None:
    """An excluded source or a vault with one character changed, or two swapped, is said by name: it would exclude
    nobody, and what the vault pays back would be deposited again. What the tables take is what the programs take.
    """
    assert parse_address(address) == address
    await rows.insert(connection, "auto_deposit_policies", {**rows.policy(ada), "excluded_sources": [address]})
    swapped = address[:20] + address[21] + address[20] + address[22:]
    others = [
        address[:at] + ("A" if address[at] != "A" else "B") + address[at + 1 :] for at in (1, 9, 30, len(address) - 1)
    ]
    for mistyped in (swapped, *others):
        with pytest.raises(Malformed):
            parse_address(mistyped)
        for column, value in (("excluded_sources", [ada.account_id, mistyped]), ("vault_address", mistyped)):
            with pytest.raises(asyncpg.CheckViolationError, match=f"{column} of wallet .* has '{mistyped}'"):
                await connection.execute(
                    f"update auto_deposit_policies set {column} = $1",  # noqa: S608 - one of the two above
                    value,
                )


@pytest.mark.usefixtures("ada")
async def test_a_fact_in_a_wallets_row_is_whole(connection: asyncpg.Connection) -> None:
    """A version without its balance or its authorization is refused."""
    for broken in (
        "balance_ledger = 52426477, balance_authorized = true",
        "balance_ledger = 52426477, previous_usdc_balance = 1",
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(f"update public.stellar_wallets set {broken}")  # noqa: S608 - from above


async def test_one_snapshot_per_version(connection: asyncpg.Connection, ada: Person) -> None:
    """A second snapshot of a version is refused; deposits' own snapshots and rows from before are not counted."""
    await rows.insert(connection, "balance_snapshots", rows.snapshot(ada))
    deposit = {**rows.snapshot(ada), "snapshot_type": "auto_deposit_trigger"}
    for free in (deposit, deposit, {**rows.snapshot(ada), "ledger": None}, {**rows.snapshot(ada), "ledger": None}):
        await rows.insert(connection, "balance_snapshots", free)
    with pytest.raises(asyncpg.UniqueViolationError):
        await rows.insert(connection, "balance_snapshots", {**rows.snapshot(ada), "snapshot_type": "poll"})


async def test_a_wallet_waits_once_for_its_scheduled_read(connection: asyncpg.Connection, ada: Person) -> None:
    """One open request of type poll per wallet; done ones and people's own requests do not stand in the way."""
    poll = {"wallet_id": ada.wallet_id, "snapshot_type": "poll"}
    await rows.insert(connection, "read_requests", poll)
    with pytest.raises(asyncpg.UniqueViolationError):
        await rows.insert(connection, "read_requests", poll)
    for _ in range(2):
        await rows.insert(connection, "read_requests", {**poll, "snapshot_type": "manual"})
    await connection.execute("update public.read_requests set done_at = now()")
    await rows.insert(connection, "read_requests", poll)


@pytest.mark.parametrize(
    "sound",
    [
        {},
        dict.fromkeys(("event_id", "ledger", "observed_ledger", "balance")),  # by a producer of the version before
        {**dict.fromkeys(("event_id", "ledger", "observed_ledger", "balance")), "refused": "its key is no address"},
        {"balance": Decimal(0), "ledger": 52_426_480},  # no trustline
    ],
)
async def test_an_answer_is_a_fact_or_a_refusal(
    connection: asyncpg.Connection, ada: Person, sound: dict[str, Any]
) -> None:
    """A done request has the fact that was told, or why none was, or was done before answers were kept."""
    await rows.insert(connection, "read_requests", {**rows.answered_request(ada), **sound})


@pytest.mark.parametrize(
    "unsound",
    [
        {"event_id": None},
        {"ledger": None},
        {"balance": None},
        {"ledger": 0},
        {"ledger": 52_426_481},
        {"observed_ledger": 2**32},
        {"refused": "and yet an answer"},
        {"done_at": None},
    ],
)
async def test_an_answer_that_cannot_be_is_refused(
    connection: asyncpg.Connection, ada: Person, unsound: dict[str, Any]
) -> None:
    """Half a fact, a fact and a refusal, an answer before it is done, a version after the ledger it was seen in."""
    with pytest.raises(asyncpg.CheckViolationError):
        await rows.insert(connection, "read_requests", {**rows.answered_request(ada), **unsound})


async def test_a_deleted_wallet_leaves_its_commands_on_record(connection: asyncpg.Connection, ada: Person) -> None:
    """With the person go the wallet, its snapshots, its policy and its requests; the commands stay."""
    await rows.insert(connection, "deposit_commands", rows.command(ada))
    await rows.insert(connection, "balance_snapshots", rows.snapshot(ada))
    await rows.insert(connection, "auto_deposit_policies", rows.policy(ada))
    await rows.insert(connection, "read_requests", {"wallet_id": ada.wallet_id, "snapshot_type": "poll"})
    await connection.execute("delete from auth.users where id = $1", ada.user_id)
    left = {
        table: await connection.fetchval(f"select count(*) from public.{table}")  # noqa: S608 - names below
        for table in (
            "stellar_wallets",
            "balance_snapshots",
            "auto_deposit_policies",
            "read_requests",
            "deposit_commands",
        )
    }
    assert left == {**dict.fromkeys(left, 0), "deposit_commands": 1}


async def test_state_updates_touch_no_index(connection: asyncpg.Connection) -> None:
    """Nine of ten updates of a wallet's state find room beside the old row version (HOT), from the first one on."""
    await connection.execute(
        """insert into auth.users (id) select gen_random_uuid() from generate_series(1, 5000);
           insert into public.stellar_wallets (user_id, public_key, network)
           select id, id::text, 'testnet' from auth.users"""
    )
    for ledger in range(1, 6):
        await connection.execute(
            """update public.stellar_wallets set previous_usdc_balance = $1::bigint, balance_ledger = $1,
                 balance_authorized = true, protected_usdc = 1, latest_snapshot_id = gen_random_uuid(), due_at = null
               where id in (select id from public.stellar_wallets order by random() limit 500)""",
            ledger,
        )
    await connection.execute("select pg_stat_force_next_flush()")
    updated, beside = await connection.fetchrow(
        "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'stellar_wallets'"
    )
    assert updated > 0
    assert beside >= 0.9 * updated
