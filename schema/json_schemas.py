"""The messages as JSON Schema files in schema/json, generated from their tables by `python -m schema json`."""

from pathlib import Path
from typing import Final

import orjson

from schema import balance_event, deposit_command, deposit_result, wire

FOLDER: Final = Path(__file__).parent / "json"
_MESSAGES: Final = (
    (balance_event, balance_event.BalanceEvent),
    (deposit_command, deposit_command.DepositCommand),
    (deposit_result, deposit_result.DepositResult),
)


def documents() -> dict[str, bytes]:
    """File name to contents, one per message."""
    found = {}
    for module, message in _MESSAGES:
        name = module.__name__.rpartition(".")[2]
        document = wire.json_schema(
            module.FIELDS, title=module.TYPE, description=" ".join((message.__doc__ or "").split())
        )
        found[f"{name}.schema.json"] = orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"
    return found


def write() -> list[str]:
    """Write every file; the names of those that changed."""
    changed = differing()
    FOLDER.mkdir(exist_ok=True)
    for name, contents in documents().items():
        (FOLDER / name).write_bytes(contents)
    return changed


def differing() -> list[str]:
    """The files that do not say what the tables say."""
    return [
        name
        for name, contents in documents().items()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_bytes() != contents
    ]
