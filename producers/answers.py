"""What a read request is answered with: the fact that was told for it, or why nothing could be. Pure."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from schema.balance_event import BalanceEvent
from schema.stellar import Ledger, Stroops

REFUSED_CHARACTERS_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A fact's identity and what it says; or only `refused`."""

    event_id: UUID | None = None
    ledger: Ledger | None = None
    observed_ledger: Ledger | None = None
    balance_stroops: Stroops | None = None
    refused: str | None = None


def told(event: BalanceEvent) -> Answer:
    """The answer that this fact is."""
    return Answer(
        event_id=event.event_id,
        ledger=event.ledger,
        observed_ledger=event.observed_ledger,
        balance_stroops=event.balance_stroops,
    )


def refused(reason: object) -> Answer:
    """No answer: the reason, in a sentence for people."""
    return Answer(refused=str(reason)[:REFUSED_CHARACTERS_MAX].replace("\x00", "\\x00"))
