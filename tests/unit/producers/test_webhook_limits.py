"""Who may ask how much, and who keeps a connection."""

from dataclasses import dataclass, field
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.webhook.limits import BURST_S, Crowd, Rates, client_address, group


@dataclass(eq=False)
class Guest:
    """A connection as the crowd sees it."""

    since_s: float
    address: str = "192.0.2.1"
    is_trusted: bool = False
    is_busy: bool = False
    is_proven: bool = False
    gone: bool = field(default=False)


def crowd(*guests: Guest, connections_max: int = 4, per_address_max: int = 3) -> Crowd[Guest]:
    found: Crowd[Guest] = Crowd(connections_max=connections_max, per_address_max=per_address_max)
    found.guests.update(guests)
    return found


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


def test_room_is_made_by_who_never_brought_anything() -> None:
    """The longest without a proven request goes; whoever brought one goes after all others, whoever is busy never."""
    idle, proven, busy = Guest(since_s=5), Guest(since_s=1, is_proven=True), Guest(since_s=0, is_busy=True)
    newcomer = Guest(since_s=9, address="192.0.2.2")
    assert crowd(busy, proven, idle, Guest(since_s=6)).in_the_way(newcomer) is idle
    assert crowd(busy, proven, connections_max=2).in_the_way(newcomer) is proven
    assert crowd(busy, connections_max=1).in_the_way(newcomer) is newcomer
    assert crowd(busy, proven, idle).in_the_way(newcomer) is None


def test_an_address_makes_room_for_itself() -> None:
    """Beyond its own number, its own longest goes, though others are longer there; our proxies have no such number."""
    other = Guest(since_s=0, address="192.0.2.9")
    mine = [Guest(since_s=number + 1) for number in range(3)]
    assert crowd(other, *mine, connections_max=9).in_the_way(Guest(since_s=9)) is mine[0]
    assert crowd(other, *mine, connections_max=9).in_the_way(Guest(since_s=9, is_trusted=True)) is None


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),  # nobody we trust says so
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.5, 198.51.100.7"], "198.51.100.7"),  # what stands before it, a stranger wrote
        ("10.0.0.1", ["198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7", "10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7, nonsense"], "10.0.0.1"),
        ("10.0.0.1", [","], "10.0.0.1"),
        ("10.0.0.1", ["2001:db8:1:2:3::4"], "2001:db8:1:2::/64"),
        ("", ["198.51.100.7"], ""),
    ],
)
def test_whose_address_counts(peer: str, forwarded: list[str], found: str) -> None:
    """The peer's; behind our proxies the last one that is not theirs."""
    assert client_address(peer, forwarded, [ip_network("10.0.0.0/8")]) == found


def test_an_ipv6_line_is_one_sender() -> None:
    """Every address of one /64 is the same sender; an IPv4 address in IPv6's clothes is itself."""
    assert group("2001:db8::1") == group("2001:db8::ffff") != group("2001:db8:0:1::1")
    assert group("::ffff:192.0.2.1") == "192.0.2.1"
