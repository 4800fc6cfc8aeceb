"""A stream's places in the history, as the database keeps them: one for payments, one for changes."""

from producers.history import Position
from producers.metrics import Metrics
from producers.start import Saved
from producers.store import Store
from schema.stellar import Network


class Cursors:
    """Loaded once, saved last of all."""

    def __init__(self, store: Store, name: str, *, network: Network, follows_changes: bool, metrics: Metrics) -> None:
        self._store = store
        self._name = name
        self._changes_name = f"{name}:changes"  # no stream can be named so
        self._network = network
        self._follows_changes = follows_changes
        self._metrics = metrics
        self._saved: dict[str, Position] = {}

    async def load(self) -> Saved:
        """What was saved. Away when the database does not say."""
        payments = await self._store.cursor(self._name)
        changes = await self._store.cursor(self._changes_name)
        return Saved(payments=payments, changes=changes, follows_changes=self._follows_changes)

    async def save(self, *, payments: Position | None, changes: Position | None) -> None:
        """Save what is new of it. What comes before these places is told and acked; None: nothing can be said yet."""
        for name, position in ((self._name, payments), (self._changes_name, changes)):
            if position is not None and position != self._saved.get(name):
                await self._store.save_cursor(name, self._network, position)
                self._saved[name] = position
        if self._name in self._saved:
            self._metrics.saved_ledger.set(self._saved[self._name].ledger)
