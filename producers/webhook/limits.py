"""How much a sender may ask, and who keeps a connection when there are too many. Pure: the time is given."""

import math
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, Generic, Protocol, TypeVar

ADDRESSES_MAX: Final = 10_000  # remembered; beyond that the oldest begins anew
BURST_S: Final = 2.0  # so many seconds' worth may come at once
_IPV6_PREFIX: Final = 64  # of one line: whoever has one has all of its addresses

IpNetwork = IPv4Network | IPv6Network


class _Bucket:
    """Fills at a steady rate up to its burst."""

    __slots__ = ("_at_s", "_per_s", "_tokens")

    def __init__(self, per_s: float, now_s: float) -> None:
        self._per_s = per_s
        self._tokens = per_s * BURST_S
        self._at_s = now_s

    def wait_s(self, now_s: float) -> float:
        """Take one, and 0; or how long until there is one."""
        filled = self._tokens + (now_s - self._at_s) * self._per_s
        self._tokens, self._at_s = min(filled, self._per_s * BURST_S), now_s
        if self._tokens < 1:
            return (1 - self._tokens) / self._per_s
        self._tokens -= 1
        return 0.0


class Rates:
    """Requests a second: of each address, then of all. What an address has too many does not count towards all."""

    def __init__(self, *, per_s: int, per_address_per_s: int, now_s: float) -> None:
        self._all = _Bucket(per_s, now_s)
        self._per_address_per_s = per_address_per_s
        self._by_address: dict[str, _Bucket] = {}

    def wait_s(self, address: str, now_s: float) -> int:
        """Count a request, and 0; or the whole seconds after which it may come again."""
        bucket = self._by_address.pop(address, None) or _Bucket(self._per_address_per_s, now_s)
        self._by_address[address] = bucket
        if len(self._by_address) > ADDRESSES_MAX:
            del self._by_address[next(iter(self._by_address))]
        return math.ceil(bucket.wait_s(now_s) or self._all.wait_s(now_s))


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
        if not is_in(address, trusted):
            break
        try:
            ip_address(hop)
        except ValueError:
            break
        address = hop
    return group(address)


def group(address: str) -> str:
    """The address, or for IPv6 the line it is on."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(IPv6Network((parsed, _IPV6_PREFIX), strict=False))
    return address


def is_in(address: str, networks: Sequence[IpNetwork]) -> bool:
    """Whether the address is in one of these networks."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
