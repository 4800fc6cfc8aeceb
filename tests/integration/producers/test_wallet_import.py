"""Wallets in bulk on a real PostgreSQL: all or nothing, the good ones alone, the same again, the consumer's view."""

import asyncio
import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from producers.bulk import lines as wallet_lines
from producers.bulk import store as wallet_admin_store
from producers.bulk.importing import FAULTS_SHOWN_MAX, Declined, How, Summary, run
from producers.bulk.progress import Progress
from producers.bulk.store import NotDone
from schema.stellar import Network
from tests.integration.consumer.conftest import Feed, store_of
from tests.people import account_id, add_person
from tests.unit.consumer.worlds import POLICY, movement
from tests.waiting import until

HEADER = "user_id,public_key,action,turnkey_wallet_id,network"


@pytest.fixture
def feed_of_consumer(pool: asyncpg.Pool) -> Feed:
    """A consumer of this database."""
    return Feed(store_of(pool, POLICY))


async def take(url: str, rows: Iterable[Sequence[object]], how: How | None = None) -> Summary:
    """Import these rows: user, address, and what follows of the header's columns."""
    body = "\n".join([HEADER, *(",".join([*map(str, row), "", "", ""][:5]) for row in rows)])
    lines = wallet_lines.read(io.BytesIO(body.encode()), Network.TESTNET)
    return await run(url, Network.TESTNET, lines, how or How(), Progress())


async def users(connection: asyncpg.Connection, count: int) -> list[UUID]:
    ids = [uuid4() for _ in range(count)]
    await connection.executemany("insert into auth.users (id) values ($1)", [(each,) for each in ids])
    return ids


async def rows_of(connection: asyncpg.Connection) -> set[tuple[Any, ...]]:
    """Every wallet: user, address, network, Turnkey's id, paused."""
    return {
        tuple(row)
        for row in await connection.fetch(
            """select w.user_id, w.public_key, w.network, w.turnkey_wallet_id, p.paused
               from stellar_wallets w left join auto_deposit_policies p on p.wallet_id = w.id"""
        )
    }


async def everything(connection: asyncpg.Connection) -> list[list[asyncpg.Record]]:
    return [
        await connection.fetch(f"select *, xmin from {table} order by 1")  # noqa: S608
        for table in ("stellar_wallets", "auto_deposit_policies")
    ]


async def test_wallets_are_added_and_the_same_file_again_changes_nothing(
    database_url: str, connection: asyncpg.Connection
) -> None:
    """Every line becomes a row; the second time not one row is touched, and the summary says so."""
    people = await users(connection, 10_001)  # more than a portion
    rows = [(user, account_id(str(user)), "", f"sub-{number}") for number, user in enumerate(people)]
    summary = await take(database_url, rows)
    assert (summary.lines, summary.added, summary.unchanged, summary.refused) == (10_001, 10_001, 0, 0)
    assert summary.applied
    assert await rows_of(connection) == {(user, key, "testnet", name, None) for user, key, _, name in rows}
    before = await everything(connection)
    again = await take(database_url, rows)
    assert (again.lines, again.added, again.unchanged, again.refused) == (10_001, 0, 10_001, 0)
    assert await everything(connection) == before


async def test_one_bad_line_and_nothing_at_all_is_changed(database_url: str, connection: asyncpg.Connection) -> None:
    """All or nothing: additions, removals and pauses around it are not done."""
    ada, bob = await add_person(connection), await add_person(connection)
    [eve] = await users(connection, 1)
    before = await everything(connection)
    rows = [
        (eve, account_id("eve")),
        (ada.user_id, ada.account_id, "remove"),
        ("", bob.account_id, "pause"),
        (uuid4(), account_id("nobody")),
    ]
    summary = await take(database_url, rows)
    assert (summary.refused, summary.applied, summary.added, summary.removed, summary.paused) == (1, False, 0, 0, 0)
    assert [(each.line, each.column, each.expected) for each in summary.faults] == [
        (5, "user_id", "a user in auth.users")
    ]
    assert await everything(connection) == before


async def test_good_lines_are_taken_in_and_bad_ones_reported(
    database_url: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    """With --skip-bad: what is good is done, every fault is in the report, the first ones in the summary."""
    ada = await add_person(connection)
    people = await users(connection, 30)
    bad = [(user, f"G{number}") for number, user in enumerate(people[:25])]
    good = [(user, account_id(str(user))) for user in people[25:]]
    report = tmp_path / "report.csv"
    rows = [*bad, *good, ("", ada.account_id, "pause")]
    summary = await take(database_url, rows, How(skip_bad=True, report=report))
    assert (summary.refused, summary.added, summary.paused, summary.applied) == (25, 5, 1, True)
    assert (len(summary.faults), summary.faults_in_all) == (FAULTS_SHOWN_MAX, 25)
    with report.open(newline="") as file:
        told = list(csv.DictReader(file))
    assert [(each["line"], each["column"], each["value"]) for each in told] == [
        (str(number + 2), "public_key", f"G{number}") for number in range(25)
    ]
    assert await rows_of(connection) == {
        *((user, key, "testnet", None, None) for user, key in good),
        (ada.user_id, ada.account_id, "testnet", None, True),
    }


async def test_what_contradicts_the_file_or_the_database_is_said(
    database_url: str, connection: asyncpg.Connection
) -> None:
    """Every line that cannot be, with its column and what stands against it, in one go."""
    ada, bob = await add_person(connection), await add_person(connection)
    far = await add_person(connection, network="mainnet")
    one, two, three, four = await users(connection, 4)
    twice = account_id("twice")
    rows: list[tuple[object, ...]] = [
        (one, twice),  # 2
        (two, twice),  # 3: the address again
        (three, account_id("three")),  # 4
        (three, account_id("three too")),  # 5: the user again
        (four, ada.account_id),  # 6: ada's address
        (ada.user_id, account_id("ada's second")),  # 7: she has a wallet
        (far.user_id, far.account_id),  # 8: it is on the other network
        (bob.user_id, bob.account_id, "", "sub-7"),  # 9: his has no such id
        ("", account_id("unknown"), "pause"),  # 10: nobody's
        ("", account_id("unknown too"), "remove"),  # 11: as if it were done
    ]
    summary = await take(database_url, rows, How(skip_bad=True))
    assert {(each.line, each.column) for each in summary.faults} == {
        (3, "public_key"),
        (5, "user_id"),
        (6, "public_key"),
        (7, "user_id"),
        (8, "network"),
        (9, "turnkey_wallet_id"),
        (10, "public_key"),
    }
    said = {each.line: each.expected for each in summary.faults}
    assert "line 2" in said[3]
    assert "line 4" in said[5]
    assert str(ada.user_id) in said[6]
    assert ada.account_id in said[7]
    assert "mainnet" in said[8]
    assert (summary.added, summary.unchanged, summary.refused) == (2, 1, 7)
    other = await take(database_url, [(bob.user_id, ada.account_id, "remove"), ("", far.account_id, "remove")])
    assert [(each.line, each.column) for each in other.faults] == [(2, "user_id"), (3, "network")]


async def test_a_person_gets_another_wallet_in_one_file(database_url: str, connection: asyncpg.Connection) -> None:
    """The old one removed and the new one added, whatever the order of the lines."""
    ada = await add_person(connection)
    new = account_id("ada's new one")
    summary = await take(database_url, [(ada.user_id, new), ("", ada.account_id, "remove")])
    assert (summary.added, summary.removed, summary.refused) == (1, 1, 0)
    assert await rows_of(connection) == {(ada.user_id, new, "testnet", None, None)}


async def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    database_url: str, connection: asyncpg.Connection
) -> None:
    """The same counts, the same tables."""
    ada, bob = await add_person(connection), await add_person(connection)
    [eve] = await users(connection, 1)
    rows = [(eve, account_id("eve")), ("", ada.account_id, "remove"), ("", bob.account_id, "pause")]
    before = await everything(connection)
    dry = await take(database_url, rows, How(dry_run=True))
    assert await everything(connection) == before
    done = await take(database_url, rows)
    assert replace(dry, seconds=0, applied=True, dry_run=False) == replace(done, seconds=0)
    assert (done.added, done.removed, done.paused) == (1, 1, 1)


async def test_nobody_is_removed_when_the_person_asked_says_no(
    database_url: str, connection: asyncpg.Connection
) -> None:
    """Nor is anything else of that file done; the question names how many."""
    ada, bob = await add_person(connection), await add_person(connection)
    asked: list[int] = []

    def refuse(removals: int) -> bool:
        asked.append(removals)
        return False

    before = await everything(connection)
    rows = [("", ada.account_id, "remove"), ("", bob.account_id, "pause")]
    with pytest.raises(Declined):
        await take(database_url, rows, How(confirm=refuse))
    assert asked == [1]
    assert await everything(connection) == before


async def test_a_pause_holds_the_consumers_decision_until_it_ends(
    database_url: str, connection: asyncpg.Connection, feed_of_consumer: Feed
) -> None:
    """Paused, money that comes in is recorded and not commanded; unpaused, the next fact commands all of it. A policy
    that the wallet has besides is kept, and what is paused or not already is not written again.
    """
    feed, person = feed_of_consumer, await add_person(connection)
    await connection.execute(
        "insert into auto_deposit_policies (wallet_id, min_deposit) values ($1, 5)", person.wallet_id
    )
    await feed.take(feed.event(person, 1, 100))
    assert (await take(database_url, [("", person.account_id, "pause")])).paused == 1
    assert (await take(database_url, [("", person.account_id, "pause")])).unchanged == 1
    writes = await feed.take(feed.event(person, 2, 150, since=1, movements=(movement(2, 50),)))
    assert not writes.commands
    assert (await take(database_url, [("", person.account_id, "unpause")])).unpaused == 1
    assert (await take(database_url, [("", person.account_id, "unpause")])).unchanged == 1
    writes = await feed.take(feed.event(person, 3, 156, since=2, movements=(movement(3, 6),)))
    assert [command.amount_stroops for command in writes.commands] == [56 * 10_000_000]
    row = await connection.fetchrow("select paused, min_deposit from auto_deposit_policies")
    assert row is not None
    assert (row["paused"], int(row["min_deposit"])) == (None, 5)


async def test_what_others_write_meanwhile_is_no_half_import(database_url: str, connection: asyncpg.Connection) -> None:
    """A person makes their own wallet while it is imported: the import does nothing and says to run it again, which
    then names the line.
    """
    first, second = await users(connection, 2)
    rows = [(first, account_id("first")), (second, account_id("second"))]
    other = connection.transaction()
    await other.start()
    await connection.execute(
        "insert into stellar_wallets (user_id, public_key, network) values ($1, $2, 'testnet')",
        second,
        account_id("own"),
    )
    task = asyncio.create_task(take(database_url, rows))
    waits = "select exists (select from pg_locks where not granted)"
    await until(lambda: connection.fetchval(waits), "the import waits for the person")
    await other.commit()
    with pytest.raises(NotDone, match="run it again"):
        await task
    assert {row[1] for row in await rows_of(connection)} == {account_id("own")}
    again = await take(database_url, rows)
    assert [(each.line, each.column) for each in again.faults] == [(3, "user_id")]


async def test_the_list_has_every_wallet_of_the_network(database_url: str, connection: asyncpg.Connection) -> None:
    """Portion by portion, each once, with what is known of it."""
    ada = await add_person(connection)
    await add_person(connection, network="mainnet")
    await connection.execute(
        "update stellar_wallets set balance_ledger = 7, previous_usdc_balance = 1.5, balance_authorized = true "
        "where id = $1",
        ada.wallet_id,
    )
    people = await users(connection, wallet_admin_store.PORTION_WALLETS + 1)
    await take(database_url, [(user, account_id(str(user))) for user in people])
    async with wallet_admin_store.opened(database_url, Network.TESTNET) as store:
        listed = [row async for row in store.wallets()]
    assert len(listed) == len({row.account_id for row in listed}) == len(people) + 1
    [known] = [row for row in listed if row.version is not None]
    assert (known.account_id, known.version, known.balance_stroops) == (ada.account_id, 7, 15_000_000)
    assert (known.network, known.paused, known.held) == ("testnet", None, False)


async def test_a_database_that_cannot_is_said(empty_database_url: str) -> None:
    """Not migrated, or not there: what to do, and no trace."""
    with pytest.raises(NotDone, match="schema migrate"):
        await take(empty_database_url, [(uuid4(), account_id("x"))])
    with pytest.raises(NotDone, match="does not answer"):
        await take("postgresql://postgres@/nothing?host=/nowhere", [(uuid4(), account_id("x"))])
    for url in (empty_database_url.replace("?", "_none?"), empty_database_url.replace("postgres@", "nobody@")):
        with pytest.raises(NotDone, match="DATABASE_URL"):
            await take(url, [(uuid4(), account_id("x"))])
