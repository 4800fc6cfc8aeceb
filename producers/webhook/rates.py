"""How much a sender may ask. Pure: the time is given."""

import math
from typing import Final

ADDRESSES_MAX: Final = 10_000  # remembered; beyond that the oldest begins anew
BURST_S: Final = 2.0  # so many seconds' worth may come at once


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
