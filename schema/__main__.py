"""`python -m schema migrate|status|topics|json`: the database, the topics, the generated JSON Schemas."""

import asyncio
import sys
from typing import Annotated, NoReturn

import typer

from schema import json_schemas, migrate
from schema import topics as kafka_topics
from schema.migrate import MigrationRefused, State
from schema.service import logs
from schema.service.settings import EXIT_BAD_ENVIRONMENT, KafkaSettings, Unusable, read_environment

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.callback()
def schema() -> None:
    """What is said and what is kept: migrations, topics, JSON Schemas."""


DatabaseUrl = Annotated[str, typer.Option(envvar="DATABASE_URL", help="postgresql://...", show_default=False)]
WaitS = Annotated[float, typer.Option(min=0, help="Seconds to wait for a database that is not there yet.")]


@app.command("migrate")
def migrate_(
    *,
    database_url: DatabaseUrl,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be applied; change nothing.")] = False,
    wait_s: WaitS = 60.0,
) -> None:
    """Apply the files of schema/sql that are pending."""
    try:
        asyncio.run(migrate.migrate(database_url, dry_run=dry_run, wait_s=wait_s, say=_say))
    except MigrationRefused as reason:
        sys.exit(str(reason))
    except Unusable as reason:
        _refuse(reason)


@app.command()
def status(*, database_url: DatabaseUrl, wait_s: WaitS = 60.0) -> None:
    """Show every file of schema/sql and whether it was applied; exit 1 when one is pending or was changed."""
    try:
        files = asyncio.run(migrate.status(database_url, wait_s=wait_s, say=_say))
    except MigrationRefused as reason:
        sys.exit(str(reason))
    except Unusable as reason:
        _refuse(reason)
    width = max(len(file.name) for file in files)
    for file in files:
        applied_at = f"{file.applied_at:%Y-%m-%d %H:%M:%S %Z}" if file.applied_at else ""
        typer.echo(f"{file.name:<{width}}  {file.state:<10}  {applied_at}".rstrip())
    if any(file.state in (State.PENDING, State.CHANGED) for file in files):
        sys.exit(1)


@app.command()
def json(
    *, check: Annotated[bool, typer.Option(help="Write nothing; exit 1 when a file is out of date.")] = False
) -> None:
    """Write schema/json anew from the messages' tables."""
    if not check:
        for name in json_schemas.write():
            typer.echo(f"written: {name}")
        return
    stale = json_schemas.differing()
    if stale:
        sys.exit(f"out of date: {', '.join(stale)}; run `make schemas`")


@app.command()
def topics(
    *,
    partitions: Annotated[
        int, typer.Option(min=1, max=100_000, help="Of each topic that is made.")
    ] = kafka_topics.PARTITIONS,
    replication_factor: Annotated[
        int, typer.Option(min=1, max=1_000, help="At most as many as there are brokers.")
    ] = 1,
    wait_s: Annotated[float, typer.Option(min=1, help="Seconds to wait for a broker that is not there yet.")] = 60.0,
) -> None:
    """Make the four topics where they are missing, and say what is there."""
    settings = read_environment(KafkaSettings)
    logs.configure(level="error", log_format="console")
    try:
        found = asyncio.run(
            kafka_topics.ensure(
                settings, partitions=partitions, replication_factor=replication_factor, wait_s=wait_s, say=typer.echo
            )
        )
    except kafka_topics.NotMade as reason:
        sys.exit(str(reason))
    for topic in found:
        typer.echo(kafka_topics.describe(topic, partitions=partitions))


def _refuse(reason: Unusable) -> NoReturn:
    _say(str(reason))
    sys.exit(EXIT_BAD_ENVIRONMENT)


def _say(sentence: str) -> None:
    """Progress goes beside the output, so that `status` can be piped."""
    typer.echo(sentence, err=True)


if __name__ == "__main__":
    app()
