"""`python -m consumer`: records balance events, emits deposit commands, takes in their results."""

import asyncio
import contextlib
import sys

import structlog
import typer

from consumer import service
from consumer.settings import ConsumerSettings
from schema.service import logs
from schema.service.settings import read_environment

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.callback(invoke_without_command=True)
def consume() -> None:
    """Run the consumer until a signal ends it. Start as many as there are partitions."""
    settings = read_environment(ConsumerSettings)
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(service.run(settings))
    except Exception:  # noqa: BLE001 - the last place that can say it
        structlog.get_logger(__name__).exception("a bug: the consumer stops, restart it and report this")
        sys.exit(1)


if __name__ == "__main__":
    app()
