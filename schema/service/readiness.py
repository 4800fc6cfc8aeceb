"""What keeps a program from doing its work, by part: the readiness page's reasons, and a log line at each change."""

import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog

log = structlog.get_logger(__name__)

REASON_CHARACTERS_MAX: Final = 300
SAY_AGAIN_S: Final = 5.0  # a part's reasons may alternate: the page shows the last one, the log not each


class Readiness:
    """Each part says when it is down and when it is up again."""

    def __init__(self) -> None:
        self._down: dict[str, str] = {}
        self._said: dict[str, tuple[str, float]] = {}
        self._watchers: list[Callable[[], Mapping[str, str]]] = []

    def down(self, part: str, reason: str) -> None:
        reason = reason[:REASON_CHARACTERS_MAX]
        now_s = time.monotonic()
        said, said_at_s = self._said.get(part, ("", -SAY_AGAIN_S))
        if reason != said and now_s - said_at_s >= SAY_AGAIN_S:
            log.warning("a part is down", part=part, reason=reason)
            self._said[part] = reason, now_s
        self._down[part] = reason

    def up(self, part: str) -> None:
        if self._down.pop(part, None) is not None:
            log.info("a part is up again", part=part)
            self._said.pop(part, None)

    def watch(self, watcher: Callable[[], Mapping[str, str]]) -> None:
        """Ask this, too, whenever somebody asks: for what is only seen by looking at a clock."""
        self._watchers.append(watcher)

    def reasons(self) -> Mapping[str, str]:
        """What is not right, by part; empty means ready."""
        found = dict(self._down)
        for watcher in self._watchers:
            found.update(watcher())
        return found
