"""What the readiness page and the log say of a part's troubles."""

import time

import pytest
from structlog.testing import capture_logs

from schema.service.readiness import Readiness


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, to be moved by hand."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_reason_that_came_too_soon_to_be_logged_is_logged_when_it_stays(clock: list[float]) -> None:
    """Away, then at once not migrated: the page says the last one, and so does the log once it may."""
    troubles = Readiness()
    with capture_logs() as lines:
        troubles.down("database", "away")
        for _ in range(20):
            clock[0] += 1
            troubles.down("database", "not migrated")
    assert [line["reason"] for line in lines] == ["away", "not migrated"]
    assert troubles.reasons() == {"database": "not migrated"}


def test_reasons_that_alternate_are_not_logged_each_time(clock: list[float]) -> None:
    """Two reasons in turn, ten times a second: a line every five seconds."""
    troubles = Readiness()
    with capture_logs() as lines:
        for turn in range(100):
            clock[0] += 0.1
            troubles.down("horizon", ("429", "504")[turn % 2])
    assert len(lines) <= 3


def test_up_again_is_said_once_and_ends_the_reason() -> None:
    """What is up has no reason left, and no second line."""
    troubles = Readiness()
    with capture_logs() as lines:
        troubles.down("broker", "away")
        troubles.up("broker")
        troubles.up("broker")
    assert troubles.reasons() == {}
    assert [line["event"] for line in lines] == ["a part is down", "a part is up again"]
