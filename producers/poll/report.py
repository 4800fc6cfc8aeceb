"""What a round of the poller did."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from producers.poll.compare import Found
from schema.stellar import AccountId

NAMED_MAX: Final = 20


@dataclass(slots=True, kw_only=True)
class Report:
    """What a round did."""

    wallets: int = 0
    read: int = 0
    unchanged: int = 0
    waiting: int = 0  # told before, and not stored yet
    told: int = 0
    refused: int = 0  # states that make no sense: dead letters
    impossible: int = 0
    left: int = 0  # not read or not told: the next round's
    left_named: list[str] = field(default_factory=list)

    def leave(self, account_ids: Sequence[AccountId]) -> None:
        """Leave these to the next round."""
        self.left += len(account_ids)
        self.left_named += account_ids[: NAMED_MAX - len(self.left_named)]

    @property
    def is_whole(self) -> bool:
        """Whether every wallet was read, and told where it had to be."""
        return not self.left and not self.refused and not self.impossible

    def summary(self, found: Mapping[Found, int], *, seconds: float) -> dict[str, Any]:
        """All of it, for JSON and the log. What was found is counted since the start of the process."""
        counts = {each.value: found.get(each, 0) for each in Found}
        return {**asdict(self), "found": counts, "seconds": round(seconds, 1), "whole": self.is_whole}
