"""Who keeps a connection when there are too many, and whose an address is. Pure: the time is given."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, Generic, Protocol, TypeVar

_IPV6_PREFIX: Final = 64  # of one line: whoever has one has all of its addresses
_WITH_PORT: Final = re.compile(r"\[([^]]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")  # some proxies say it

IpNetwork = IPv4Network | IPv6Network


class Guest(Protocol):
    """A connection."""

    address: str
    is_trusted: bool  # one of our own proxies': it brings many senders' requests
    is_busy: bool  # with a request that proved itself: it is never put out
    is_proven: bool  # it has brought one before
    since_s: float  # since when it has brought none


G = TypeVar("G", bound=Guest)


class Crowd(Generic[G]):
    """Everyone who is connected."""

    def __init__(self, *, connections_max: int, per_address_max: int) -> None:
        self.guests: set[G] = set()
        self._connections_max = connections_max
        self._per_address_max = per_address_max

    def in_the_way(self, newcomer: G) -> G | None:
        """Who has to go so that the newcomer has room: whoever is longest without a request that proved itself, and has
        never brought one rather than brought one before. The newcomer itself where all are busy; None: there is room.
        """
        others = [guest for guest in self.guests if guest.address == newcomer.address]
        if newcomer.is_trusted or len(others) < self._per_address_max:
            if len(self.guests) < self._connections_max:
                return None
            others = list(self.guests)
        idle = (guest for guest in others if not guest.is_busy)
        return min(idle, key=lambda guest: (guest.is_proven, guest.since_s), default=newcomer)


def client_address(peer: str, forwarded: Sequence[str], trusted: Sequence[IpNetwork]) -> str:
    """Whose limits count: the peer's; behind our own proxies the last address that is not one of theirs."""
    address = peer
    for hop in reversed([each.strip() for value in forwarded for each in value.split(",")]):
        match = _WITH_PORT.fullmatch(hop)
        before = hop if match is None else match[1] or match[2]
        if not is_in(address, trusted) or _parsed(before) is None:
            break
        address = before
    return group(address)


def group(address: str) -> str:
    """The address, or for IPv6 the line it is on."""
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, _IPV6_PREFIX), strict=False))
    return address if parsed is None else str(parsed)


def is_in(address: str, networks: Sequence[IpNetwork]) -> bool:
    """Whether the address is in one of these networks."""
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in networks)


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    """None where it is no address. A socket for both kinds says IPv4 in IPv6's clothes: it is IPv4 all the same."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed
