"""Many account ids, sorted, in 56 bytes each; each has a number, its place."""

from bisect import bisect_left
from typing import Final

from schema.stellar import AccountId

WIDTH: Final = 56


class Accounts:
    """Filled in order, then looked up."""

    def __init__(self) -> None:
        self._text = bytearray()

    def __len__(self) -> int:
        return len(self._text) // WIDTH

    def __getitem__(self, number: int) -> AccountId:
        return AccountId(self._text[number * WIDTH : (number + 1) * WIDTH].decode())

    def append(self, account_id: AccountId) -> None:
        """The next one, behind the last in the order of the letters."""
        if len(account_id) != WIDTH or (self._text and account_id.encode() <= self._text[-WIDTH:]):
            raise AssertionError(f"{account_id} is not behind {self._text[-WIDTH:].decode()}")
        self._text += account_id.encode()

    def number(self, account_id: AccountId) -> int | None:
        """Its place; None when it is not among them."""
        wanted = account_id.encode()
        place = bisect_left(range(len(self)), wanted, key=self._at)
        return place if place < len(self) and self._at(place) == wanted else None

    def _at(self, number: int) -> bytes:
        return bytes(self._text[number * WIDTH : (number + 1) * WIDTH])
