"""What a webhook is answered: one value for each ending, with the words that the sender reads. Pure."""

import json
from enum import StrEnum
from typing import Any, Final

SERVER: Final = "webhooks"  # and not which version of what
PROBLEM_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 5  # what is away is asked for again within a second; a sender need not be so quick


class Outcome(StrEnum):
    """How a request ended."""

    DONE = "done"
    BAD_HTTP = "bad_http"
    BAD_JSON = "bad_json"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    BAD_METHOD = "bad_method"
    TOO_SLOW = "too_slow"
    REPLAY = "replay"
    NO_LENGTH = "no_length"
    TOO_LARGE = "too_large"
    BAD_TYPE = "bad_type"
    BAD_HINT = "bad_hint"
    TOO_MANY = "too_many"
    GONE = "gone"
    AWAY = "away"
    BUG = "bug"


_STATUS: Final = {
    Outcome.BAD_HTTP: (400, "This is not HTTP that can be read"),
    Outcome.BAD_JSON: (400, "The body is not JSON"),
    Outcome.UNAUTHORIZED: (401, "Nothing proves who sent this"),
    Outcome.NOT_FOUND: (404, "There is nothing here"),
    Outcome.BAD_METHOD: (405, "Webhooks are posted"),
    Outcome.TOO_SLOW: (408, "The request came too slowly"),
    Outcome.REPLAY: (409, "This webhook was taken in before"),
    Outcome.NO_LENGTH: (411, "The body's length is not said"),
    Outcome.TOO_LARGE: (413, "The body is too large"),
    Outcome.BAD_TYPE: (415, "The body is not plain JSON"),
    Outcome.BAD_HINT: (422, "The body names no accounts in a way that is known"),
    Outcome.TOO_MANY: (429, "Too many requests"),
    Outcome.GONE: (400, "The sender hung up"),
    Outcome.AWAY: (503, "Not done yet"),
    Outcome.BUG: (500, "A bug of ours"),
}
# Behind these the connection ends: where the next request begins is not known, or not worth waiting for.
_LAST: Final = frozenset(
    {Outcome.BAD_HTTP, Outcome.TOO_SLOW, Outcome.NO_LENGTH, Outcome.TOO_LARGE, Outcome.GONE, Outcome.BUG}
)


class Problem(Exception):
    """A request that is not done, and why: what is wrong, where, and what was expected instead."""

    def __init__(
        self, outcome: Outcome, detail: str, *, where: str = "", expected: str = "", retry_after_s: int | None = None
    ) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.status, self._title = _STATUS[outcome]
        self.ends_connection = outcome in _LAST
        self._detail = detail
        self._where = where
        self._expected = expected
        self._retry_after_s = retry_after_s

    def body(self) -> bytes:
        """RFC 9457. Escaped to ASCII: what is quoted may hold bytes that are no UTF-8."""
        said: dict[str, Any] = {"title": self._title, "status": self.status, "detail": self._detail}
        more = {"where": self._where, "expected": self._expected}
        return json.dumps(said | {name: text for name, text in more.items() if text}).encode() + b"\n"

    def headers(self) -> dict[str, str]:
        """What belongs to the status."""
        found = {"Server": SERVER}
        if self.outcome is Outcome.UNAUTHORIZED:
            found["WWW-Authenticate"] = "Bearer"
        if self.outcome is Outcome.BAD_METHOD:
            found["Allow"] = "POST"
        if self._retry_after_s is not None:
            found["Retry-After"] = str(self._retry_after_s)
        return found


def away(part: str) -> Problem:
    """Nothing is lost as long as the sender says it again."""
    return Problem(Outcome.AWAY, f"{part}: send it again, with the same id", retry_after_s=RETRY_AFTER_S)
