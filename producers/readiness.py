"""What keeps the producer from doing its work, by part: the readiness page's reasons, and a log line at each change."""

from collections.abc import Callable, Mapping

import structlog

log = structlog.get_logger(__name__)


class Readiness:
    """Each part says when it is down and when it is up again."""

    def __init__(self) -> None:
        self._down: dict[str, str] = {}
        self._watchers: list[Callable[[], Mapping[str, str]]] = []

    def down(self, part: str, reason: str) -> None:
        reason = reason[:300]
        if part not in self._down:
            log.warning("a part is down", part=part, reason=reason)
        self._down[part] = reason

    def up(self, part: str) -> None:
        if self._down.pop(part, None) is not None:
            log.info("a part is up again", part=part)

    def watch(self, watcher: Callable[[], Mapping[str, str]]) -> None:
        """Ask this, too, whenever somebody asks: for what is only seen by looking at a clock."""
        self._watchers.append(watcher)

    def reasons(self) -> Mapping[str, str]:
        """What is not right, by part; empty means ready."""
        found = dict(self._down)
        for watcher in self._watchers:
            found.update(watcher())
        return found
