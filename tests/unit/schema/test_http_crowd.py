"""Who keeps a connection, and whose an address is."""

from dataclasses import dataclass, field
from ipaddress import ip_network

import pytest

from schema.service.http_crowd import Crowd, client_address, group


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
        ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),  # IPv4 in IPv6's clothes, as a dual-stack socket says it
        ("10.0.0.1", ["198.51.100.7, ::ffff:10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),  # with the port, as Azure's Application Gateway says it
        ("10.0.0.1", ["[2001:db8:1:2:3::4]:4711"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["[2001:db8:1:2:3::4]"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["203.0.113.5, 198.51.100.7:4711, 10.0.0.2:80"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7:"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7:4711:1"], "10.0.0.1"),
        ("10.0.0.1", ["[198.51.100.7"], "10.0.0.1"),
    ],
)
def test_whose_address_counts(peer: str, forwarded: list[str], found: str) -> None:
    """The peer's; behind our proxies the last one that is not theirs."""
    assert client_address(peer, forwarded, [ip_network("10.0.0.0/8")]) == found


def test_an_ipv6_line_is_one_sender() -> None:
    """Every address of one /64 is the same sender; an IPv4 address in IPv6's clothes is itself."""
    assert group("2001:db8::1") == group("2001:db8::ffff") != group("2001:db8:0:1::1")
    assert group("::ffff:192.0.2.1") == "192.0.2.1"
