"""How often one person may ask, against a count of what they asked."""

import math
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.api.rates import Rates

ADA, BOB = uuid4(), uuid4()


def test_a_minutes_requests_may_come_at_once() -> None:
    """Then each is let in as soon as it was told, and no sooner; another person is not held."""
    rates = Rates(per_minute=6, at_once_max=100)
    assert [rates.begin(ADA, now_s=100.0) for _ in range(7)] == [0] * 6 + [10]
    assert rates.begin(ADA, now_s=109.9) == 1
    assert rates.begin(BOB, now_s=109.9) == 0
    assert rates.begin(ADA, now_s=110.0) == 0
    assert rates.begin(ADA, now_s=110.0) == 10


@pytest.mark.parametrize("per_minute", [1, 6, 120])
def test_a_rounding_error_is_no_request_too_many(per_minute: int) -> None:
    """Whatever the clock shows, a stranger's first minute is let in whole, and who comes back as told is let in."""
    for second in range(1, 1_000):
        now_s = second * math.pi
        rates = Rates(per_minute=per_minute, at_once_max=per_minute + 1)
        assert [rates.begin(ADA, now_s=now_s) for _ in range(per_minute)] == [0] * per_minute, now_s
        again_s = rates.begin(ADA, now_s=now_s)
        assert again_s == -(-60 // per_minute)
        assert rates.begin(ADA, now_s=now_s + again_s) == 0, now_s


def test_so_many_at_once() -> None:
    """Beyond that the next one waits until one has ended; what was not let in counts for nothing."""
    rates = Rates(per_minute=1000, at_once_max=2)
    assert [rates.begin(ADA, now_s=0.0) for _ in range(3)] == [0, 0, 1]
    rates.end(ADA)
    assert rates.begin(ADA, now_s=0.0) == 0


@given(st.integers(1, 50), st.lists(st.floats(0, 30), max_size=100))
def test_no_minute_has_more_than_twice(per_minute: int, pauses_s: list[float]) -> None:
    """A burst and what melts meanwhile: never more than two minutes' requests within one; who waits as told gets in."""
    rates = Rates(per_minute=per_minute, at_once_max=1)
    now_s, let_in = 0.0, []
    for pause_s in pauses_s:
        now_s += pause_s
        again_s = rates.begin(ADA, now_s=now_s)
        if again_s:
            now_s += again_s
            assert rates.begin(ADA, now_s=now_s) == 0
        rates.end(ADA)
        let_in.append(now_s)
        assert sum(each > now_s - 60 for each in let_in) <= 2 * per_minute


def test_who_asks_no_more_is_forgotten() -> None:
    """Ten thousand who came once do not stay in memory."""
    rates = Rates(per_minute=60, at_once_max=1)
    for number in range(10_000):
        person = UUID(int=number)
        assert rates.begin(person, now_s=number * 0.1) == 0
        rates.end(person)
    assert len(rates._gone_at) < 100
    assert not rates._in_hand
