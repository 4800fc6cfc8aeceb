"""What an HTTP endpoint of ours says when it does not do what was asked: JSON problems (RFC 9457)."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
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


def problem(
    status: HTTPStatus, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
) -> web.Response:
    """A problem: `code` for machines, `detail` for people, and what else the reader can use."""
    body = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "code": code,
        "detail": detail,
        **members,
    }
    return web.Response(
        status=status, body=orjson.dumps(body), content_type=CONTENT_TYPE, headers={**HEADERS, **(headers or {})}
    )


def as_problem(error: web.HTTPException) -> web.Response:
    """What aiohttp refuses, in the shape of ours."""
    status = HTTPStatus(error.status)
    kept = {name: error.headers[name] for name in ("Allow", "Location") if name in error.headers}
    return problem(status, status.name.lower(), _DETAILS.get(status, status.description or status.phrase), headers=kept)


_DETAILS: Final = {
    HTTPStatus.NOT_FOUND: "There is nothing at this address.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not take that method: Allow names those it does.",
}
