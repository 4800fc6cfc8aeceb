"""A million holders that take no memory: the one with a number has an address, a balance and a version that follow from
it, and their addresses are in the order of their numbers, so that a page of holders is a range.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from schema.stellar import STROOPS_PER_UNIT, AccountId

ABSENT_EVERY: Final = 1_000  # so often a wallet has no account yet: it is on no page, and is read alone
VERSIONS: Final = 1_000_000  # their last changes lie this many ledgers back at most
UNITS_MAX: Final = 10_000
_RANK_BITS: Final = 42  # of an address: the second character's two, and five of each of the next eight
_KEY_BITS: Final = 256
_SORTED: Final = "234567ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_VALUES: Final = [int.from_bytes(base64.b32decode(f"AAAAAAA{each}"), "big") for each in _SORTED]
_PAIRS: Final = [first << 5 | second for first in _VALUES for second in _VALUES]
_RANKS: Final = {each: rank for rank, each in enumerate(_SORTED)}
_ACCOUNT_ID_VERSION: Final = bytes([6 << 3])


@dataclass(frozen=True, slots=True)
class People:
    """So many of them."""

    count: int

    def account_id(self, number: int) -> AccountId:
        """The address of this one."""
        seed = hashlib.blake2b(number.to_bytes(8, "big"), digest_size=32).digest()
        rank = (((number << 32) + int.from_bytes(seed[:4], "big")) << _RANK_BITS) // (self.count << 32)
        first, places = rank >> 40, 0
        for shift in (30, 20, 10, 0):
            places = places << 10 | _PAIRS[rank >> shift & 1023]
        rest = int.from_bytes(seed, "big") & (1 << (_KEY_BITS - _RANK_BITS)) - 1
        key = (first << 40 | places) << (_KEY_BITS - _RANK_BITS) | rest
        raw = _ACCOUNT_ID_VERSION + key.to_bytes(32, "big")
        return AccountId(base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode())

    def number(self, account_id: str) -> int | None:
        """Whose address it is; None: nobody's here."""
        number = self.behind(account_id[:-1])
        return number if number < self.count and self.account_id(number) == account_id else None

    def behind(self, cursor: str) -> int:
        """The first whose address comes behind this text; `count`: nobody's."""
        low, high = 0, self.count
        if len(cursor) >= 10 and cursor[0] == "G" and cursor[1] in "ABCD" and set(cursor[2:10]) <= _RANKS.keys():
            rank = "ABCD".index(cursor[1])
            for each in cursor[2:10]:
                rank = rank << 5 | _RANKS[each]
            about = rank * self.count >> _RANK_BITS
            low, high = max(0, about - 1), min(self.count, about + 2)
        while low < high:
            middle = (low + high) // 2
            if self.account_id(middle) <= cursor:
                low = middle + 1
            else:
                high = middle
        return low

    def is_absent(self, number: int) -> bool:
        """Whether there is no such account yet."""
        return number % ABSENT_EVERY == ABSENT_EVERY // 2

    def stroops(self, number: int) -> int:
        """What it holds at first."""
        return (number * 7_919 + 13) % (UNITS_MAX * STROOPS_PER_UNIT)

    def ledgers_ago(self, number: int) -> int:
        """How long before the first ledger its trustline changed last."""
        return number * 104_729 % VERSIONS

    def user_id(self, number: int) -> UUID:
        """The person's."""
        return UUID(bytes=hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).digest(), version=4)
