"""Where the recorded Horizon responses are: beside the project, never in it."""

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("HORIZON_RECORDINGS", Path(__file__).parents[2] / "shared" / "horizon"))


def recordings() -> Path:
    """The folder; without one the test is skipped, in CI it fails."""
    if FOLDER.is_dir():
        return FOLDER
    reason = f"no recorded Horizon responses in {FOLDER}: set HORIZON_RECORDINGS"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
