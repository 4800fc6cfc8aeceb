"""What a migration finds in the tables that a person must set right first."""

from pathlib import Path

import asyncpg
import pytest

from schema import migrate
from schema.migrate import MigrationRefused
from tests.people import add_person


async def test_a_mistyped_address_from_before_is_named(empty_database_url: str, tmp_path: Path) -> None:
    """A policy whose excluded source excludes nobody is for a person to set right: migrate names the wallet and the
    address, changes nothing, and goes on when that is done.
    """
    mistyped = "GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA6"
    said: list[str] = []
    before = tmp_path / "before"
    before.mkdir()
    for file in sorted(migrate.FOLDER.glob("*.sql")):
        if file.name < "023":
            (before / file.name).write_text(file.read_text())
    await migrate.migrate(empty_database_url, dry_run=False, wait_s=0, say=said.append, folder=before)
    connection = await asyncpg.connect(empty_database_url)
    try:
        person = await add_person(connection)
        await connection.execute(
            "insert into auto_deposit_policies (wallet_id, excluded_sources) values ($1, array[$2])",
            person.wallet_id,
            mistyped,
        )
        with pytest.raises(MigrationRefused, match=f"wallet {person.wallet_id} has '{mistyped}'"):
            await migrate.migrate(empty_database_url, dry_run=False, wait_s=0, say=said.append)
        await connection.execute("update auto_deposit_policies set excluded_sources = array[$1]", person.account_id)
        await migrate.migrate(empty_database_url, dry_run=False, wait_s=0, say=said.append)
        assert said[-1] == "the schema is up to date"
    finally:
        await connection.close()
