"""How a wallet's row may differ from what the chain says of it. Pure.

| the row                                    | the chain                         | that is                   |
|--------------------------------------------|-----------------------------------|---------------------------|
| no version                                 | anything                          | a missing baseline        |
| a version beyond the ledger of the read    | not known yet                     | too early: read it again  |
| nothing held, not authorized, any ledger   | the same, or no trustline         | equal                     |
| a balance of an older ledger than the read | no trustline                      | behind                    |
| an older version                           | a newer version                   | behind                    |
| a newer version                            | an older one, read at or after it | ahead: not of this chain  |
| the same version, another balance          | the same version                  | a conflict                |
| the same version, the same balance         | authorized where the row is not   | authorized differs        |
| the same in everything                     | the same                          | equal                     |

Facts repair what is missing or behind. The consumer refuses the same version with another content, and a lower one.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from producers.source import State
from schema.stellar import Ledger, Stroops


class Kind(StrEnum):
    """What is the matter with a wallet."""

    MISSING = "missing baseline"
    BEHIND = "behind"
    CONFLICT = "conflict"
    AUTHORIZED = "authorized differs"
    AHEAD = "database ahead"
    UNREADABLE = "unreadable"
    TOO_EARLY = "read too early"


REPAIRABLE: Final = (Kind.MISSING, Kind.BEHIND)
MEANINGS: Final = {
    Kind.MISSING: "no fact is stored: it was never told, or not recorded",
    Kind.BEHIND: "an older fact is stored: a newer one was not told, or not recorded",
    Kind.CONFLICT: "another balance is stored of the same version: no fact can mend that",
    Kind.AUTHORIZED: "the same version is stored with another authorization: no fact can mend that",
    Kind.AHEAD: "the stored version is newer than anything on this chain: another network's, or from before a reset",
    Kind.UNREADABLE: "the key is no address, or the chain's answer makes no sense",
    Kind.TOO_EARLY: "the source is behind the database: it could not be read at the stored version or later",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the database holds of a wallet. `balance_stroops` None: none, or no amount that the chain could have."""

    version: Ledger | None
    balance_stroops: Stroops | None
    authorized: bool
    held: bool = False

    @property
    def is_absence(self) -> bool:
        return self.version is not None and self.balance_stroops == 0 and not self.authorized


def compare(row: Row, state: State) -> Kind | None:  # noqa: PLR0911 - the rows of the table
    """What is the matter; None: they are equal."""
    if row.version is None:
        return Kind.MISSING
    if row.version > state.observed:
        return Kind.TOO_EARLY
    if row.is_absence and state.balance_stroops == 0 and not state.authorized:
        return None  # an absence seen again is not told again, and has a version only of the ledger it was seen in
    if state.is_absence:
        return Kind.BEHIND if row.version < state.observed else Kind.TOO_EARLY
    if row.version != state.version:
        return Kind.BEHIND if row.version < state.version else Kind.AHEAD
    if row.balance_stroops != state.balance_stroops:
        return Kind.CONFLICT
    return None if row.authorized == state.authorized else Kind.AUTHORIZED
