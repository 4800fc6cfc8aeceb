"""`python -m docs.generate [--check]`: the pages that follow from the code, written from it."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from docs import configuration_page, metrics_page, topics_page, torture_page

FOLDER: Final = Path(__file__).parent
PAGES: Final = {
    "configuration.md": configuration_page.page,
    "metrics.md": metrics_page.page,
    "topics.md": topics_page.page,
    "torture.md": torture_page.page,
}
BEGINNING: Final = "<!-- Written by `make docs` from the code: change it there. -->\n"

app = typer.Typer(add_completion=False)


def documents() -> dict[str, str]:
    """File name to contents."""
    return {name: f"{BEGINNING}{page()}" for name, page in PAGES.items()}


def differing() -> list[str]:
    """The pages that do not say what the code says."""
    return [
        name
        for name, contents in documents().items()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_text(encoding="utf-8") != contents
    ]


@app.command()
def main(
    *, check: Annotated[bool, typer.Option(help="Write nothing; exit 1 when a page is out of date.")] = False
) -> None:
    """Write docs/configuration.md, docs/metrics.md, docs/topics.md and docs/torture.md anew."""
    changed = differing()
    if check:
        sys.exit(f"out of date: {', '.join(changed)}; run `make docs`" if changed else 0)
    for name in changed:
        (FOLDER / name).write_text(documents()[name], encoding="utf-8")
        typer.echo(f"written: {name}")


if __name__ == "__main__":
    app()
