"""What a webhook is answered: one value for each ending, with the words that the sender reads."""

from enum import StrEnum
from http import HTTPStatus
from typing import Final

from schema.service import problems
from schema.service.problems import Trouble

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
    BAD_EXPECT = "bad_expect"
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
    Outcome.BAD_EXPECT: (417, "What is expected is not known"),
    Outcome.BAD_HINT: (422, "The body names no accounts in a way that is known"),
    Outcome.TOO_MANY: (429, "Too many requests"),
    Outcome.GONE: (400, "The sender hung up"),
    Outcome.AWAY: (503, "Not done yet"),
    Outcome.BUG: (500, "A bug of ours"),
}
_HEADERS: Final = {Outcome.UNAUTHORIZED: {"WWW-Authenticate": "Bearer"}, Outcome.BAD_METHOD: {"Allow": "POST"}}
# Behind these the connection ends: where the next request begins is not known, or not worth waiting for.
_LAST: Final = frozenset({*(Outcome(each) for each in Trouble), Outcome.NO_LENGTH})


class Problem(problems.Problem):
    """A request that is not done, and why: what is wrong, where, and what was expected instead."""

    def __init__(
        self, outcome: Outcome, detail: str, *, where: str = "", expected: str = "", retry_after_s: int | None = None
    ) -> None:
        status, title = _STATUS[outcome]
        headers = dict(_HEADERS.get(outcome, {}))
        if retry_after_s is not None:
            headers["Retry-After"] = str(retry_after_s)
        super().__init__(
            HTTPStatus(status),
            outcome.value,
            detail,
            title=title,
            where=where,
            expected=expected,
            headers=headers,
            is_last=outcome in _LAST,
        )


def refusal(trouble: Trouble, detail: str, *, where: str = "", expected: str = "") -> Problem:
    """What the door refuses by itself, as one of the endings."""
    return Problem(Outcome(trouble), detail, where=where, expected=expected)


def away(part: str) -> Problem:
    """Nothing is lost as long as the sender says it again."""
    return Problem(Outcome.AWAY, f"{part}: send it again, with the same id", retry_after_s=RETRY_AFTER_S)
