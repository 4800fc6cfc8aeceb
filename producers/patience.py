"""How long a command waits for what is away: asks again, ever more slowly, and gives up in the end."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from producers.clock import now_s, wait_about
from producers.source import Unavailable
from producers.store import Away

log = structlog.get_logger(__name__)

AGAIN_S: Final = 0.25
AGAIN_S_MAX: Final = 10.0
T = TypeVar("T")


class OutOfPatience(Unavailable):
    """It was waited for as long as it may take: not asked again."""


class Patience:
    """One wait for one thing. What it gives up with is what it waited for; `on_away` hears of each vain attempt."""

    def __init__(self, seconds: float, *, on_away: Callable[[Unavailable | Away], None] = lambda _error: None) -> None:
        self._seconds = seconds
        self._on_away = on_away
        self._again_s = AGAIN_S
        self._since_s: float | None = None

    async def answer(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer, however often it takes within the patience."""
        while True:
            try:
                return await ask()
            except (Unavailable, Away) as error:
                await self.wait(error)

    async def wait(self, error: Unavailable | Away) -> None:
        """Wait a while before the next attempt; raises the error itself once the patience is at its end."""
        self._on_away(error)
        if self.is_over() or isinstance(error, OutOfPatience):
            raise error
        if self._since_s is None:
            self._since_s = now_s()
        log.warning("away, asked again", reason=f"{type(error).__name__}: {error}"[:300])
        await wait_about(min(self._again_s, self._seconds))
        self._again_s = min(2 * self._again_s, AGAIN_S_MAX)

    def is_over(self) -> bool:
        """Whether the next wait would be one too many."""
        return self._seconds <= 0 if self._since_s is None else now_s() - self._since_s >= self._seconds

    def restore(self) -> None:
        """It answered."""
        self._again_s, self._since_s = AGAIN_S, None
