"""Wallets to be read for nobody's sake: first sights, and everyone of whom something may have been missed.

There may be a million. Whoever was paid goes first, so they are given out in portions, a cycle at a time.
"""

import itertools
from collections.abc import Iterable, Iterator

from schema.stellar import AccountId, Ledger


class Unread:
    """Two queues. First sights wait for no cursor: a restart finds them by their rows. The others hold the cursors."""

    def __init__(self) -> None:
        self.baselines: dict[AccountId, Ledger] = {}  # no fact is stored; each with the ledger the read must have seen
        self.missed: dict[AccountId, Ledger] = {}  # a fact is stored, and what came after it may not have been seen
        self._drain = 0

    def __len__(self) -> int:
        return len(self.baselines) + len(self.missed)

    def miss(self, account_ids: Iterable[AccountId], at_least: Ledger, *, drain: int) -> None:
        """Have all of these read. No cursor behind this drain is saved before they are."""
        if not self.missed:
            self._drain = drain
        if self.baselines:
            account_ids = (each for each in account_ids if each not in self.baselines)
        self.missed.update(dict.fromkeys(account_ids, at_least))

    def portion(self, wallets_max: int) -> Iterator[tuple[AccountId, Ledger, bool]]:
        """The next ones: the ledger that the read must have seen, and whether it is a first sight. They go to the end:
        one that cannot be read does not stop the others.
        """
        left = wallets_max
        for queue in (self.baselines, self.missed):
            for account_id in list(itertools.islice(queue, left)):
                queue[account_id] = queue.pop(account_id)
                left -= 1
                yield account_id, queue[account_id], queue is self.baselines

    def account_ids(self) -> list[AccountId]:
        """All of them."""
        return [*self.baselines, *self.missed]

    def find(self, account_id: AccountId) -> tuple[Ledger, bool] | None:
        """The ledger that the read must have seen, and whether it is a first sight; None: it is not to be read."""
        for queue in (self.baselines, self.missed):
            if account_id in queue:
                return queue[account_id], queue is self.baselines
        return None

    def settle(self, account_id: AccountId, observed: Ledger) -> None:
        """It was read as of this ledger."""
        self.baselines.pop(account_id, None)
        if self.missed and self.missed.get(account_id, observed) <= observed:
            self.missed.pop(account_id, None)

    def forget(self, account_id: AccountId) -> None:
        """It is not to be read."""
        self.baselines.pop(account_id, None)
        self.missed.pop(account_id, None)

    @property
    def open_drain(self) -> int | None:
        """Before which drain the cursors have to stay."""
        return self._drain if self.missed else None
