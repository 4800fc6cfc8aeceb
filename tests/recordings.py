"""Recorded responses of real Horizons. They are not part of the project; HORIZON_RECORDINGS says where they are."""

import os
from pathlib import Path
from typing import Any

import orjson
import pytest

FOLDER = Path(os.environ.get("HORIZON_RECORDINGS", Path(__file__).parents[2] / "shared" / "horizon"))

needed = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"there are no recorded responses in {FOLDER}: set HORIZON_RECORDINGS"
)


def load(name: str) -> Any:
    """One recorded response, by its name inside the folder."""
    return orjson.loads((FOLDER / name).read_bytes())


def payments() -> list[dict[str, Any]]:
    """Every recorded operation that `/payments` would show, with a real id, oldest first and each once."""
    types = {"payment", "path_payment_strict_send", "path_payment_strict_receive", "invoke_host_function"}
    found = {}
    for path in sorted((FOLDER / "operations").glob("*.json")):
        record = orjson.loads(path.read_bytes())
        token = record.get("paging_token", "")
        if record.get("type") in types and token.isdigit() and len(token) >= 15:
            found[int(token)] = record
    return [found[token] for token in sorted(found)]
