"""Reading the rows of all wallets again: in portions, so that the stream's cycles go on between them, and no oftener
than its own cost allows. With a million wallets it takes seconds; what changes is told by notifications long before.
"""

import gc
from typing import Final
from uuid import UUID

import structlog

from producers.clock import now_s
from producers.store import Store
from producers.wallets import Wallets
from schema.stellar import Network

log = structlog.get_logger(__name__)

LOOK_S: Final = 0.2  # of one look: a payment waits so much longer while all rows are read
REST_SHARE: Final = 50  # by itself it is done again after so many times of what it took: 2% of one core
ASKED_REST_SHARE: Final = 3  # when it is asked for, as each statement of a bulk import does: 25%
FREEZE_EVERY: Final = 20_000  # wallets that came: what is kept of each would be walked through by the collector
_FIRST_ID: Final = UUID(int=0)


class WalletReload:
    """When all rows are to be read, and the reading. A portion that the database does not give is asked for again."""

    def __init__(
        self, store: Store, wallets: Wallets, *, network: Network, refresh_s: float, look_s: float = LOOK_S
    ) -> None:
        self._store = store
        self._wallets = wallets
        self._network = network
        self._refresh_s = refresh_s
        self._look_s = look_s
        self._is_asked = True
        self._next_id: UUID | None = None  # where the reading that is under way goes on
        self._began_s = self._ended_s = self._worked_s = 0.0
        self._frozen = 0

    def ask(self) -> None:
        """Something changed that no notification names."""
        self._is_asked = True

    def next_look_s(self) -> float:
        """Seconds until there is something to read."""
        return 0.0 if self._next_id is not None else max(0.0, self._due_s() - now_s())

    async def look(self) -> None:
        """Read on for `look_s`, a portion at least; the first time to the end. Away: the rest stays due."""
        if not self._wallets.are_loaded:
            await self._load()
            return
        if self._next_id is None:
            if now_s() < self._due_s():
                return
            self._begin()
            self._next_id = _FIRST_ID
        began_s = now_s()
        while self._next_id is not None:
            rows, self._next_id = await self._store.wallets_from(self._next_id, self._network)
            self._wallets.see(rows, now_s=self._began_s)
            if len(self._wallets) - self._frozen >= FREEZE_EVERY:
                gc.freeze()
                self._frozen = len(self._wallets)
            if now_s() - began_s >= self._look_s:
                break
        self._worked_s += now_s() - began_s
        if self._next_id is None:
            self._end()

    async def _load(self) -> None:
        """All at once, in the order they lie in, which is faster: nobody can be followed before."""
        self._begin()
        async for rows in self._store.wallets(self._network):
            self._wallets.see(rows, now_s=self._began_s)
        self._worked_s = now_s() - self._began_s
        self._end()

    def _begin(self) -> None:
        self._is_asked = False
        self._began_s, self._worked_s = now_s(), 0.0
        self._wallets.begin_reload()

    def _end(self) -> None:
        is_first = not self._wallets.are_loaded
        gone = self._wallets.end_reload()
        self._ended_s = now_s()
        if is_first or gone:
            log.info(
                "wallets loaded",
                wallets=len(self._wallets),
                without_fact=len(self._wallets.unread.baselines),
                gone=gone,
            )

    def _due_s(self) -> float:
        if self._is_asked:
            return self._ended_s + ASKED_REST_SHARE * self._worked_s
        return self._began_s + max(self._refresh_s, REST_SHARE * self._worked_s)
