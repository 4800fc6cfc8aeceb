"""What a stream needs to know of the chain, whoever tells it: Horizon today, Stellar RPC when Horizon ends."""

import contextlib
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from schema.balance_event import Movement
from schema.stellar import AccountId, Asset, Cursor, Ledger, Malformed, Stroops

PAGE_RECORDS_MAX: Final = 200  # Horizon's own limit


class Unavailable(Exception):
    """The source did not answer, or answered that it cannot now. Transient: ask again later, nothing is lost."""


@contextlib.contextmanager
def making_sense(what: str) -> Iterator[None]:
    """An answer that makes no sense is none: Malformed becomes Unavailable."""
    try:
        yield
    except Malformed as malformed:
        raise Unavailable(f"{what}: {malformed}") from malformed


class Fatal(Exception):
    """Going on would be wrong until a person decides; the text says what is the matter and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Which ledgers the source has, and of which network."""

    passphrase: str
    elder: Ledger
    latest: Ledger
    asked_at: str = "HORIZON_URL"  # the variable that says where, for a person who must set it right


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Records in the order of the ledgers. A page that is not full ends at the newest ledger the source has, whole:
    a ledger's records appear all at once.
    """

    records: Sequence[object]
    cursor: Cursor | None  # after the last record; None: there is none
    full: bool
    complete: Ledger | None = None  # the answer itself proves that nothing up to this ledger is missing; None: no word


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a wallet holds of the asset, as of `observed`. Without a trustline: 0, and `version` is `observed`."""

    account_id: AccountId
    balance_stroops: Stroops
    authorized: bool
    version: Ledger
    observed: Ledger

    @property
    def is_absence(self) -> bool:
        return not self.authorized and self.balance_stroops == 0 and self.version == self.observed


class Source(Protocol):
    """Every method raises Unavailable when its attempts are used up, Malformed when the answer makes no sense."""

    payments_show_every_change: bool
    """Whether `payments` has a record for every change of a trustline. If not, `changes` has the others."""

    async def history(self) -> History:
        """The ledgers there are."""

    async def payments(self, cursor: Cursor) -> Page:
        """The next records of the whole network's payments, oldest first."""

    async def ledger_payments(self, ledger: Ledger, cursor: Cursor | None) -> Page | None:
        """The next records of one ledger's payments, from its first on; None: the source does not have the ledger."""

    async def account_payments(self, account_id: AccountId, cursor: Cursor) -> Page | None:
        """The next records of one account's payments, oldest first; None: the history does not know the account."""

    async def sourced(self, account_id: AccountId, movements: Sequence[Movement]) -> Sequence[Movement] | None:
        """All that `payments` showed of a wallet, in the movements of Horizon's payments: what was traded, claimed or
        taken has no source. Only of whole operations. None: that is not known any more.
        """

    async def state(self, account_id: AccountId, asset: Asset, *, in_bulk: bool = False) -> State:
        """What the account holds of the asset now. `in_bulk`: whoever was paid may go before it."""

    async def closed_at(self, ledger: Ledger) -> datetime:
        """When a ledger closed."""

    async def payment_after(self, cursor: Cursor) -> bool:
        """Wait until there is a payment after the cursor; False when the source ends the wait before."""

    async def changes(self, cursor: Cursor) -> Page:
        """The next records of whatever changed a trustline, oldest first: they say who was touched, not by how much.
        Empty where `payments_show_every_change`.
        """

    async def change_after(self, cursor: Cursor) -> bool:
        """Wait until there is such a record after the cursor; False when the source ends the wait before."""

    def states(
        self, account_ids: Collection[AccountId], asset: Asset, *, known_absent: Collection[AccountId] = ()
    ) -> AsyncIterator[State]:
        """What each of these accounts holds, in no order, read in the way that costs the fewest requests. An account
        whose state makes no sense is left out, and one in `known_absent` may be when it is absent still. Unavailable
        ends the reading in the middle: ask again for those that did not come.
        """

    async def states_requests(self, accounts: int, asset: Asset) -> int:
        """About how many requests it takes to read the states of so many accounts, in portions sorted by address."""
