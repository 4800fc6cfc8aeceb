"""How much one person may ask, so that nobody else waits for it. Pure: the time is given."""

from collections import Counter
from typing import Final
from uuid import UUID

MINUTE_S: Final = 60
FORGOTTEN_AT_ONCE: Final = 2
ROUNDING_S: Final = 0.001  # floats leave a trace of a debt that is paid


class Rates:
    """So many requests a minute of each person, in any rhythm (GCRA), and so many in hand at once.

    A person's debt grows by a minute with each request and melts `per_minute` times as fast as time passes. It is kept
    as the moment, on that fast clock, when it will be gone.
    """

    def __init__(self, *, per_minute: int, at_once_max: int) -> None:
        self._per_minute = per_minute
        self._at_once_max = at_once_max
        self._gone_at: dict[UUID, float] = {}
        self._in_hand: Counter[UUID] = Counter()

    def begin(self, person: UUID, *, now_s: float) -> int:
        """Let a request in, and 0: `end` it; or the whole seconds after which it may come again."""
        if self._in_hand[person] >= self._at_once_max:
            return 1
        now = now_s * self._per_minute
        gone_at = max(self._gone_at.get(person, now), now) + MINUTE_S
        too_much = gone_at - now - (MINUTE_S + ROUNDING_S) * self._per_minute
        if too_much > 0:
            return int(-(-too_much // self._per_minute))
        self._forget(now)
        self._gone_at[person] = gone_at
        self._in_hand[person] += 1
        return 0

    def end(self, person: UUID) -> None:
        """The request is answered."""
        self._in_hand[person] -= 1
        if not self._in_hand[person]:
            del self._in_hand[person]

    def _forget(self, now: float) -> None:
        """Who owes nothing is remembered no longer: a few are looked at for each request, so that it stays cheap."""
        for _ in range(min(FORGOTTEN_AT_ONCE, len(self._gone_at))):
            person = next(iter(self._gone_at))
            gone_at = self._gone_at.pop(person)
            if gone_at > now:
                self._gone_at[person] = gone_at
