"""Hot queries find their rows by index, in a big installation and in one that has just begun.

What is looked at are generic plans: asyncpg keeps its statements, and PostgreSQL, after five executions, their plan.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import orjson
import pytest
import pytest_asyncio

import producers
from consumer.api.store import API_QUERIES
from consumer.store import QUERIES
from sandbox.database import PostgresServer
from schema.service.database import load_queries
from tests.fixtures_database import execute, fresh_database

PRODUCERS_QUERIES: Final = load_queries(Path(producers.__file__).with_name("queries.sql"))
BUSY: Final = Path(__file__).with_name("busy.sql").read_text()

BIG_TABLES: Final = {
    "stellar_wallets",
    "balance_snapshots",
    "deposit_commands",
    "auto_deposit_policies",
    "read_requests",
    "dead_letters",
}

# Each hot query, and the indexes that it must find its rows by.
HOT: Final = {
    "wallets_of_commands": {"deposit_commands_pkey"},
    "lock_wallets": {"stellar_wallets_public_key_key", "stellar_wallets_pkey"},
    "lock_due_wallets": {"stellar_wallets_due"},
    "policies": {"auto_deposit_policies_pkey"},
    "commands": {"deposit_commands_open", "deposit_commands_settled", "deposit_commands_pkey"},
    "issued_by_day": {"deposit_commands_wallet_issued"},
    "update_wallets": {"stellar_wallets_pkey"},
    "end_commands": {"deposit_commands_pkey"},
    "request_reads_of_expired": {"deposit_commands_open", "stellar_wallets_pkey"},
    "count_holds": {"stellar_wallets_held"},
    "unsent_commands": {"deposit_commands_unpublished"},
    "mark_commands_sent": {"deposit_commands_pkey"},
    "unsent_dead_letters": {"dead_letters_unpublished"},
}
HOT_OF_PRODUCERS: Final = {
    "wallets_by_id": {"stellar_wallets_pkey"},
    "stored": {"stellar_wallets_public_key_key"},
    "open_requests": {"read_requests_open", "stellar_wallets_pkey"},
    "finish_requests": {"read_requests_open"},
}
HOT_OF_API: Final = {
    "wallet": {"stellar_wallets_user_id_key"},
    "last_snapshot": {"balance_snapshots_one_per_version"},
    "snapshot_type": {"balance_snapshots_one_per_version"},
    "command": {"deposit_commands_pkey", "deposit_commands_wallet_issued"},
    "open_request": {"read_requests_wallet_time"},
    "nth_recent_request": {"read_requests_wallet_time"},
    "request": {"read_requests_pkey"},
    "open_of": {"read_requests_pkey", "stellar_wallets_pkey"},
}
# What people ask, and what the database asks itself when a wallet or a user is deleted.
OTHERS: Final = {
    "select * from balance_snapshots where wallet_id = $1 order by created_at desc limit 20": {
        "balance_snapshots_wallet_time"
    },
    "select * from balance_snapshots where user_id = $1 order by created_at desc limit 20": {
        "balance_snapshots_user_time"
    },
    "select * from balance_snapshots where auto_deposit_triggered order by created_at desc limit 20": {
        "balance_snapshots_triggered"
    },
    "delete from read_requests where wallet_id = $1": {"read_requests_wallet_time"},
}
# In a new installation the other tables are nearly empty, and reading them whole is right; these two queries look into
# the table that grows with every deposit, a wallet at a time.
HOT_FROM_THE_START: Final = ("commands", "issued_by_day")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which tables a statement reads whole, and which indexes it looks into."""

    read_whole: set[str]
    indexes: set[str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def busy_database_url(postgres: PostgresServer, template_database: str) -> AsyncIterator[str]:
    """A big installation, analyzed."""
    async with fresh_database(postgres, template=template_database) as url:
        await execute(url, BUSY)
        await execute(url, "vacuum analyze")
        yield url


@pytest.fixture
async def busy(busy_database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(busy_database_url)
    yield connection
    await connection.close()


async def generic_plan(connection: asyncpg.Connection, query: str) -> Plan:
    """The plan that is kept for a statement, whatever its arguments."""
    await connection.execute(f"set plan_cache_mode = force_generic_plan; prepare hot as {query}")
    count = await connection.fetchval(
        "select cardinality(parameter_types) from pg_prepared_statements where name = 'hot'"
    )
    nulls = f"({', '.join(['null'] * count)})" if count else ""
    explained = orjson.loads(await connection.fetchval(f"explain (format json) execute hot{nulls}"))
    await connection.execute("deallocate hot")
    nodes = list(_nodes(explained[0]["Plan"]))
    return Plan(
        read_whole={node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"},
        indexes={node["Index Name"] for node in nodes if "Index Name" in node},
    )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from _nodes(inner)


@pytest.mark.parametrize("name", HOT)
async def test_a_hot_query_of_the_consumer_reads_no_big_table_whole(busy: asyncpg.Connection, name: str) -> None:
    """Every batch runs these: their cost must follow the batch, not the years before it."""
    plan = await generic_plan(busy, QUERIES[name])
    assert not plan.read_whole & BIG_TABLES
    assert plan.indexes >= HOT[name]


@pytest.mark.parametrize("name", HOT_OF_PRODUCERS)
async def test_a_hot_query_of_the_producers_reads_no_big_table_whole(busy: asyncpg.Connection, name: str) -> None:
    """The same for the other side. Only the start reads every wallet, for it wants every wallet."""
    plan = await generic_plan(busy, PRODUCERS_QUERIES[name])
    assert not plan.read_whole & BIG_TABLES
    assert plan.indexes >= HOT_OF_PRODUCERS[name]


@pytest.mark.parametrize("name", HOT_OF_API)
async def test_a_query_of_the_api_reads_no_big_table_whole(busy: asyncpg.Connection, name: str) -> None:
    """Each request costs one person's rows, whatever there is of others."""
    plan = await generic_plan(busy, API_QUERIES[name])
    assert not plan.read_whole & BIG_TABLES
    assert plan.indexes >= HOT_OF_API[name]


@pytest.mark.parametrize("query", OTHERS)
async def test_what_people_ask_is_found_by_index(busy: asyncpg.Connection, query: str) -> None:
    """Their own latest snapshots, the latest deposits; and a deleted wallet takes its requests along."""
    plan = await generic_plan(busy, query)
    assert not plan.read_whole & BIG_TABLES
    assert plan.indexes >= OTHERS[query]


async def test_no_index_is_there_for_nothing(busy: asyncpg.Connection) -> None:
    """Each index costs every insert: one that guards nothing is one that some query above needs."""
    needed = set[str]().union(*HOT.values(), *HOT_OF_PRODUCERS.values(), *HOT_OF_API.values(), *OTHERS.values())
    rows = await busy.fetch(
        "select indexrelid::regclass::text as name from pg_index join pg_class on pg_class.oid = indrelid"
        " where relnamespace = 'public'::regnamespace and not indisunique"
    )
    assert {row["name"] for row in rows} <= needed


@pytest.mark.parametrize("name", HOT_FROM_THE_START)
async def test_a_new_installation_keeps_no_plan_that_its_first_day_makes_slow(
    connection: asyncpg.Connection, name: str
) -> None:
    """A plan made over empty tables is kept while they fill: it must look rows up by index already then."""
    plan = await generic_plan(connection, QUERIES[name])
    assert not plan.read_whole
    assert plan.indexes >= HOT[name]
