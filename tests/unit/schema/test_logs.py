"""Every line of the log is what LOG_FORMAT says, whoever says it."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import logging, structlog
from schema.service import logs
logs.configure(level="info", log_format={log_format!r})
structlog.get_logger("ours").info("ours", cursor="1")
logging.getLogger("aiokafka").error("Unable connect to %s: %s", "broker:9092", "Authentication failed")
logging.getLogger("aiokafka").warning("not said")
try:
    raise OSError("gone")
except OSError:
    logging.getLogger("asyncio").exception("two\\nlines")
"""


def _said(log_format: str) -> list[str]:
    program = [sys.executable, "-c", PROGRAM.format(log_format=log_format)]
    return subprocess.run(program, check=True, capture_output=True, text=True).stderr.splitlines()


def test_what_libraries_say_is_json_too() -> None:
    """One object a line, with level and time; the reason of a failed login is a library's, and so is a trace."""
    ours, refused, traced = [json.loads(line) for line in _said("json")]
    assert (ours["event"], ours["cursor"], ours["level"]) == ("ours", "1", "info")
    assert refused["event"] == "Unable connect to broker:9092: Authentication failed"
    assert (refused["logger"], refused["level"]) == ("aiokafka", "error")
    assert refused["timestamp"]
    assert traced["event"] == "two\nlines"
    assert "OSError: gone" in traced["exception"]


@pytest.mark.parametrize("words", ["Authentication failed", "OSError: gone"])
def test_for_people_it_is_words(words: str) -> None:
    """The same, for the eye."""
    assert any(words in line for line in _said("console"))
