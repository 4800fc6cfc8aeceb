"""What the API says a wallet would do is what the consumer does with it, and each reason comes with its numbers."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from consumer.api.store import API_QUERIES, ApiStore
from consumer.api.view import evaluate, wallet_json
from consumer.store import QUERIES
from schema.identity import snapshot_id
from schema.stellar import Network, format_stroops
from tests.integration.consumer.api_house import api_house
from tests.integration.consumer.conftest import Feed, store_of
from tests.people import Person, add_person
from tests.unit.consumer.worlds import FIRST_LEDGER, POLICY, USDC

WALLETS = 300
SEED = 7


async def test_what_is_said_of_a_due_wallet_is_what_is_done(
    consumer_pool: asyncpg.Pool, database_url: str, connection: asyncpg.Connection
) -> None:
    """300 wallets in any state, with any policy and any commands: asked, then woken: the same amounts, or none."""
    random = Random(SEED)  # noqa: S311 - a simulation
    people = [await _add_wallet(connection, random) for _ in range(WALLETS)]
    api = await ApiStore.open(database_url, network=Network.TESTNET, asset=USDC, default_policy=POLICY)
    said: dict[Any, Any] = {}
    for person in people:
        seen = await api.see(person.user_id)
        assert seen is not None
        found = evaluate(seen.state, seen.policy, seen.at)
        said[person.wallet_id] = wallet_json(found, seen.last_snapshot, seen.observed_ledger)
    api.close()
    before = await connection.fetchval("select count(*) from deposit_commands")
    await connection.execute("update stellar_wallets set due_at = now()")
    writes = await store_of(consumer_pool).wake_due(wallets_max=2 * WALLETS)
    done = {command.wallet_id: format_stroops(command.amount_stroops) for command in writes.commands}
    assert {wallet_id: each["amount"] for wallet_id, each in said.items() if each["would_deposit"]} == done
    assert all(each["would_deposit"] == (each["reason"] == "issued") for each in said.values())
    kept = {c.wallet_id: format_stroops(c.reserve_stroops) for c in writes.commands}
    assert kept == {
        wallet_id: max(said[wallet_id]["protected"], said[wallet_id]["reserve"], key=_number) for wallet_id in done
    }
    reasons = {each["reason"] for each in said.values()}
    wanted = {"issued", "disabled", "held", "unauthorized", "paused", "below_minimum", "daily_cap", "not_read"}
    assert reasons == wanted, "the simulation comes by every reason"
    assert len(done) > WALLETS // 10
    assert await connection.fetchval("select count(*) from deposit_commands") == before + len(done)


async def test_looking_writes_nothing(
    database_url: str, connection: asyncpg.Connection, feed: Feed, person: Person
) -> None:
    """GET leaves every row as it was, also where it says that it would deposit."""
    await feed.take(feed.event(person, 1, 100))
    await connection.execute("update stellar_wallets set protected_usdc = 0")

    async def contents() -> list[list[asyncpg.Record]]:
        tables = ("stellar_wallets", "balance_snapshots", "deposit_commands", "dead_letters", "read_requests")
        return [await connection.fetch(f"select xmin, * from {table} order by 2") for table in tables]  # noqa: S608

    before = await contents()
    async with api_house(database_url, connection) as house:
        assert (await house.look(person))["would_deposit"]
        assert await contents() == before
        await house.read(person)
        after = await contents()
    assert after[:4] == before[:4]
    assert len(after[4]) == 1


async def test_the_state_is_read_as_the_consumer_reads_it(connection: asyncpg.Connection) -> None:
    """The same columns of the wallet, by name and type: one that is missing here would be a lie there."""

    async def columns(query: str) -> list[tuple[str, str]]:
        prepared = await connection.prepare(query)
        return [(each.name, each.type.name) for each in prepared.get_attributes()]

    assert await columns(API_QUERIES["wallet"]) == await columns(QUERIES["lock_wallets"])


async def test_the_last_snapshot_is_the_last_facts(
    database_url: str, connection: asyncpg.Connection, feed: Feed, person: Person
) -> None:
    """Not the deposit's own, which repeats what is known: what came in, and what was there before."""
    await feed.take(feed.event(person, 1, 100))
    command = (await feed.take(feed.event(person, 2, 150))).commands[0]
    await feed.take(feed.succeeded(command, 3))
    async with api_house(database_url, connection) as house:
        said = await house.look(person)
    assert (said["balance"], said["previous"], said["in_flight"]) == ("150.0000000", "100.0000000", "50.0000000")
    assert said["ledger"] == said["last_snapshot"]["ledger"] == FIRST_LEDGER + 2
    assert said["last_snapshot"]["snapshot_type"] == "webhook"
    assert said["last_snapshot"]["auto_deposit_triggered"] is True


@pytest.mark.parametrize("name", ["enabled", "paused"])
async def test_the_policy_is_the_wallets_own_over_the_default(
    database_url: str, connection: asyncpg.Connection, person: Person, name: str
) -> None:
    """Null is the default's; amounts as text; what is excluded by address."""
    async with api_house(database_url, connection, daily_cap_stroops=5 * 10**9) as house:
        default = (await house.look(person))["policy"]
        await connection.execute(
            f"insert into auto_deposit_policies (wallet_id, {name}, max_deposit, excluded_sources)"  # noqa: S608
            " values ($1, $2, 70, array[$3])",
            person.wallet_id,
            not default[name],
            person.account_id,
        )
        own = (await house.look(person))["policy"]
    assert default["daily_cap"] == "500.0000000"
    assert own == {
        **default,
        name: not default[name],
        "max_deposit": "70.0000000",
        "excluded_sources": [person.account_id],
    }


async def _record(connection: asyncpg.Connection, person: Person, *, balance: int, authorized: bool) -> None:
    await connection.execute(
        """update stellar_wallets set previous_usdc_balance = $2, protected_usdc = $2, balance_ledger = 50000000,
             balance_authorized = $3, latest_snapshot_id = $4 where id = $1""",
        person.wallet_id,
        balance,
        authorized,
        snapshot_id(person.wallet_id, "test", datetime.now(UTC)),
    )


async def _add_wallet(connection: asyncpg.Connection, random: Random) -> Person:
    """A wallet in any state that the tables allow."""
    person = await add_person(connection)
    if random.random() < 0.03:
        return person  # nobody has read it yet
    await _record(connection, person, balance=random.randrange(0, 400), authorized=random.random() < 0.9)
    await connection.execute(
        "update stellar_wallets set protected_usdc = $2, held_at = $3, failures_in_a_row = $4 where id = $1",
        person.wallet_id,
        random.choice((None, 0, 0, 50, 500)),
        datetime.now(UTC) if random.random() < 0.1 else None,
        random.randrange(4),
    )
    if random.random() < 0.8:
        least = random.choice((None, 1, 30))
        await connection.execute(
            """insert into auto_deposit_policies
                 (wallet_id, enabled, paused, min_deposit, max_deposit, daily_cap, reserve)
               values ($1, $2, $3, $4, $5, $6, $7)""",
            person.wallet_id,
            random.choice((None, True, True, False)),
            random.choice((None, False, False, True)),
            least,
            random.choice((None, 0, 40, 200)),
            random.choice((None, 0, 60, 300)),
            random.choice((None, 0, 20)),
        )
    for _ in range(random.choice((0, 0, 1, 3))):
        await _add_command(connection, random, person)
    return person


async def _add_command(connection: asyncpg.Connection, random: Random, person: Person) -> None:
    """Open, succeeded before or after the balance's version, failed or expired; today or lately."""
    status = random.choice(("pending", "published", "succeeded", "succeeded", "failed", "expired"))
    now = datetime.now(UTC)
    today = now - now.replace(hour=0, minute=0, second=0, microsecond=0)
    ago = random.random() * today if random.random() < 0.4 else timedelta(hours=24 + random.randrange(36))
    issued_at = now - ago
    ended = status in ("succeeded", "failed", "expired")
    amount = random.randrange(1, 80)
    await connection.execute(
        """insert into deposit_commands (command_id, wallet_id, user_id, account_id, network, status, amount, payload,
             trace_id, caused_by, snapshot_id, issued_at, expires_at, published_at, completed_at, deposited_amount,
             settled_ledger, transaction_hash, error_code)
           values ($1, $2, $3, $4, 'testnet', $5, $6, 'x', $1, $7, $1, $8, $9, $10, $11, $12, $13, $14, $15)""",
        uuid4(),
        person.wallet_id,
        person.user_id,
        person.account_id,
        status,
        amount,
        str(uuid4()),
        issued_at,
        issued_at + timedelta(minutes=5),
        None if status in ("pending", "expired") else issued_at,
        issued_at if ended else None,
        amount if status == "succeeded" else None,
        random.choice((49_000_000, 51_000_000)) if status == "succeeded" else None,
        "ab" if status == "succeeded" else None,
        "tx_failed" if status == "failed" else None,
    )


def _number(text: str) -> int:
    return int(text.replace(".", ""))
