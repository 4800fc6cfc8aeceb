"""`python -m consumer`: records balance events, emits deposit commands, takes in their results."""

import asyncio
import contextlib
import sys
from typing import Annotated, Final, NoReturn

import structlog
import typer

from consumer import holds, service
from consumer.settings import ConsumerSettings, ReleaseSettings
from consumer.store import NOT_MIGRATED
from schema.service import logs
from schema.service.database import TRANSIENT
from schema.service.settings import EXIT_BAD_ENVIRONMENT, Unusable, read_environment
from schema.stellar import AccountId, Malformed, parse_account_id

EXIT_NOT_HELD: Final = 1

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.callback(invoke_without_command=True)
def consume(context: typer.Context) -> None:
    """Run the consumer until a signal ends it. Start as many as there are partitions."""
    if context.invoked_subcommand is not None:
        return
    settings = read_environment(ConsumerSettings)
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(service.run(settings))
    except Unusable as error:
        _refuse(str(error))
    except Exception as error:  # noqa: BLE001 - the last place that can say it
        _refuse_unusable(error)
        structlog.get_logger(__name__).exception("a bug: the consumer stops, restart it and report this")
        sys.exit(1)


def _refuse_unusable(error: Exception) -> None:
    """A login that is refused since the start comes out of a task group."""
    unusable = error.subgroup(Unusable) if isinstance(error, ExceptionGroup) else None
    while unusable is not None:
        first = unusable.exceptions[0]
        if not isinstance(first, ExceptionGroup):
            _refuse(str(first))
        unusable = first


def _refuse(message: str) -> NoReturn:
    sys.stderr.write(f"{message}\n")
    sys.exit(EXIT_BAD_ENVIRONMENT)


@app.command()
def api() -> None:
    """Answer people over HTTP: have their wallet read, and say whether it would trigger a deposit, until a signal."""
    from consumer.api import (
        service as api_service,  # what checks tokens takes a while to import, and nothing else needs it
    )
    from consumer.api.keys import Unread
    from consumer.api.settings import ApiSettings
    from consumer.api.tokens import BadKeys

    settings = read_environment(ApiSettings)
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(api_service.run(settings))
    except (Unread, BadKeys) as error:
        _refuse(f"AUTH_JWKS_FILE is no set of keys: {error}")
    except Unusable as error:
        _refuse(str(error))
    except Exception as error:  # noqa: BLE001 - the last place that can say it
        _refuse_unusable(error)
        structlog.get_logger(__name__).exception("a bug: the api stops, restart it and report this")
        sys.exit(1)


@app.command()
def release(
    accounts: Annotated[
        list[str] | None, typer.Argument(help="Wallets, as G addresses; none: list those on hold.")
    ] = None,
) -> None:
    """Let go of wallets that a conflict put on hold, once you know which balance is true."""
    try:
        account_ids = [parse_account_id(account) for account in accounts or ()]
    except Malformed as malformed:
        raise typer.BadParameter(str(malformed)) from malformed
    settings = read_environment(ReleaseSettings)
    try:
        sys.exit(asyncio.run(_release(settings, account_ids) if account_ids else _list_holds(settings)))
    except Unusable as error:
        _refuse(str(error))
    except TRANSIENT as error:
        sys.exit(f"nothing was released, the database does not answer: {error!r}")
    except NOT_MIGRATED as error:
        sys.exit(f"the database is not migrated ({error}): run `python -m schema migrate`")


async def _list_holds(settings: ReleaseSettings) -> int:
    for hold in await holds.holds(settings.database_url, settings.stellar_network):
        typer.echo(f"{hold.account_id}  {hold.held_at:%Y-%m-%d %H:%M:%S %Z}  {hold.detail or 'no dead letter is kept'}")
    return 0


async def _release(settings: ReleaseSettings, account_ids: list[AccountId]) -> int:
    released = await holds.release(settings.database_url, settings.stellar_network, account_ids)
    for account_id in dict.fromkeys(account_ids):
        typer.echo(f"{account_id}  {'released' if account_id in released else 'was not on hold'}")
    return 0 if released.issuperset(account_ids) else EXIT_NOT_HELD


if __name__ == "__main__":
    app()
