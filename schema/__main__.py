"""`python -m schema json`: the generated JSON Schemas. `migrate`, `status` and `topics` join it here."""

import sys
from typing import Annotated

import typer

from schema import json_schemas

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.callback()
def schema() -> None:
    """What is said and what is kept: migrations, topics, JSON Schemas."""


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


if __name__ == "__main__":
    app()
