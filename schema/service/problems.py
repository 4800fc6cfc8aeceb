"""What an HTTP endpoint of ours says when it does not do what was asked: JSON problems (RFC 9457)."""

import json
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final, Protocol

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CONTENT_TYPE: Final = "application/problem+json"
HEADERS: Final = {  # of every answer: it is one person's, it is no page, and it is what it says it is
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Server": "stellar-auto-deposit",
}


class Problem(Exception):
    """A request that is not done, and why: `code` for machines, `detail` for people, and where there is one, what is
    wrong and what was expected instead. Raised while a request is answered, it is the answer.
    """

    def __init__(  # noqa: PLR0913 - what a problem may say
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        *,
        title: str = "",
        where: str = "",
        expected: str = "",
        headers: Mapping[str, str] | None = None,
        is_last: bool = False,  # the connection ends with it
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.headers = {**HEADERS, **(headers or {})}
        said: dict[str, Any] = {"type": "about:blank", "title": title or status.phrase, "status": status.value}
        said |= {"code": code, "detail": detail}
        said |= {name: text for name, text in (("where", where), ("expected", expected)) if text}
        self.body = json.dumps(said).encode() + b"\n"  # in ASCII: what is quoted may hold bytes that are no UTF-8
        self._is_last = is_last

    def response(self) -> web.Response:
        """The answer to a request."""
        found = web.Response(status=self.status, body=self.body, content_type=CONTENT_TYPE, headers=self.headers)
        if self._is_last:
            found.force_close()
        return found

    def raw(self) -> bytes:
        """The same where nothing came that could be called a request, as the last words of a connection."""
        headers = self.headers | {"Content-Type": CONTENT_TYPE, "Content-Length": str(len(self.body))}
        lines = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            *(f"{name}: {headers[name]}" for name in headers),
        ]
        return "\r\n".join([*lines, "Connection: close\r\n\r\n"]).encode() + self.body


class Trouble(StrEnum):
    """What ends a request before anybody looks at what it asks."""

    BAD_HTTP = "bad_http"
    TOO_SLOW = "too_slow"
    TOO_LARGE = "too_large"
    BAD_EXPECT = "bad_expect"
    GONE = "gone"
    BUG = "bug"


class Refusal(Protocol):
    """Puts a trouble in the words of a service."""

    def __call__(self, trouble: Trouble, detail: str, *, where: str = "", expected: str = "") -> Problem: ...


_TROUBLES: Final = {
    Trouble.BAD_HTTP: (HTTPStatus.BAD_REQUEST, "bad_request"),
    Trouble.TOO_SLOW: (HTTPStatus.REQUEST_TIMEOUT, "request_timeout"),
    Trouble.TOO_LARGE: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large"),
    Trouble.BAD_EXPECT: (HTTPStatus.EXPECTATION_FAILED, "expectation_failed"),
    Trouble.GONE: (HTTPStatus.BAD_REQUEST, "gone"),
    Trouble.BUG: (HTTPStatus.INTERNAL_SERVER_ERROR, "internal_server_error"),
}


def refusal(trouble: Trouble, detail: str, *, where: str = "", expected: str = "") -> Problem:
    """Where a service has no words of its own."""
    status, code = _TROUBLES[trouble]
    return Problem(status, code, detail, where=where, expected=expected, is_last=True)


def problem(status: HTTPStatus, code: str, detail: str, *, headers: Mapping[str, str] | None = None) -> web.Response:
    """A problem as an answer."""
    return Problem(status, code, detail, headers=headers).response()


def as_problem(error: web.HTTPException) -> web.Response:
    """What aiohttp refuses, in the shape of ours."""
    status = HTTPStatus(error.status)
    kept = {name: error.headers[name] for name in ("Allow", "Location") if name in error.headers}
    return problem(status, status.name.lower(), _DETAILS.get(status, status.description or status.phrase), headers=kept)


_DETAILS: Final = {
    HTTPStatus.NOT_FOUND: "There is nothing at this address.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not take that method: Allow names those it does.",
}
