"""Who may ask how much."""

from hypothesis import given
from hypothesis import strategies as st

from producers.webhook.rates import BURST_S, Rates


def test_a_burst_then_a_steady_rate() -> None:
    """Two seconds' worth at once, then one for each part of a second, and a wait that is true."""
    rates = Rates(per_s=1000, per_address_per_s=10, now_s=0.0)
    assert [rates.wait_s("a", 0.0) for _ in range(21)] == [0] * 20 + [1]
    assert rates.wait_s("a", 0.05) == 1
    assert rates.wait_s("a", 0.11) == 0
    assert [rates.wait_s("b", 0.11) for _ in range(20)] == [0] * 20


def test_one_address_does_not_use_up_everybodys() -> None:
    """What one address is refused does not count towards all; what many addresses ask does."""
    rates = Rates(per_s=100, per_address_per_s=10, now_s=0.0)
    for _ in range(10_000):
        rates.wait_s("flood", 0.0)
    assert rates.wait_s("good", 0.0) == 0
    refused = sum(bool(rates.wait_s(str(number), 0.0)) for number in range(1_000))
    assert refused == 1_000 - (100 * BURST_S - 10 * BURST_S - 1)


@given(st.lists(st.floats(0, 1), max_size=200), st.integers(1, 50))
def test_no_second_has_more_than_its_rate(pauses_s: list[float], per_s: int) -> None:
    """However they come: never more than the burst and the rate since the beginning."""
    rates = Rates(per_s=10**6, per_address_per_s=per_s, now_s=0.0)
    now_s, taken = 0.0, 0
    for pause_s in pauses_s:
        now_s += pause_s
        taken += rates.wait_s("a", now_s) == 0
        assert taken <= per_s * (BURST_S + now_s) + 1e-6
