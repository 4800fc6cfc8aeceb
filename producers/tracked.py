"""Which wallets are followed. There may be a million: an address costs one entry of one dict, and nothing is looked
through as a whole unless something is missing.
"""

from collections.abc import Iterator

import structlog

from schema.stellar import AccountId, Malformed, parse_account_id

log = structlog.get_logger(__name__)


class Tracked:
    """Addresses, each with the number of the reading of all rows that last saw it."""

    def __init__(self) -> None:
        self._seen_in: dict[AccountId, int] = {}
        self._reading = self._ended = 0  # the number of the reading that runs or ran last, of the last one that ended
        self._seen = 0  # how many the present reading saw
        self._refused: set[str] = set()

    def __contains__(self, account_id: str) -> bool:
        return account_id in self._seen_in

    def __len__(self) -> int:
        return len(self._seen_in)

    def __iter__(self) -> Iterator[AccountId]:
        return iter(self._seen_in)

    @property
    def are_loaded(self) -> bool:
        """Whether all rows were read once."""
        return self._ended > 0

    def checked(self, public_key: str) -> AccountId | None:
        """The address; None, said once in the log, when it is none and cannot be followed."""
        try:
            return parse_account_id(public_key)
        except Malformed as malformed:
            if public_key not in self._refused:
                self._refused.add(public_key)
                log.warning("a wallet's public key is no address and cannot be followed", reason=str(malformed))
            return None

    def begin(self) -> None:
        """All rows are going to be read."""
        self._reading += 1
        self._seen = 0

    def see(self, account_id: AccountId) -> None:
        """Its row is there: followed from now on, if it was not."""
        if self._seen_in.get(account_id) != self._reading:
            self._seen_in[account_id] = self._reading
            self._seen += 1

    def forget(self, account_id: AccountId) -> None:
        """Its row is gone."""
        self._seen -= int(self._seen_in.pop(account_id, None) == self._reading)

    def end(self) -> list[AccountId]:
        """All rows were read; those whose rows were not among them."""
        self._ended = self._reading
        if self._seen == len(self._seen_in):
            return []
        return [account_id for account_id, seen_in in self._seen_in.items() if seen_in != self._reading]
