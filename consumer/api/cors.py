"""Which web pages may ask (CORS). No cookies are ever taken, so none are allowed to be sent."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

from schema.service.problems import HEADERS, Handler, problem

METHODS: Final = "GET, POST"
REQUEST_HEADERS: Final = "Authorization, Content-Type"
SHOWN_HEADERS: Final = "Location, Retry-After, WWW-Authenticate"
PREFLIGHT_KEPT_S: Final = 600


@dataclass(frozen=True, slots=True)
class Origins:
    """The origins whose pages may read our answers; each as a browser names it."""

    allowed: frozenset[str]

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Say so in each answer to such a page. From a page of another origin its browser keeps the answer."""
        response = await handler(request)
        response.headers["Vary"] = "Origin"
        origin = request.headers.get("Origin")
        if origin in self.allowed:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = SHOWN_HEADERS
        return response

    async def preflight(self, request: web.Request) -> web.Response:
        """What a browser asks before it lets a page ask."""
        if request.headers.get("Origin") not in self.allowed:
            return problem(HTTPStatus.FORBIDDEN, "origin_not_allowed", "Pages of this origin may not ask here.")
        return web.Response(
            status=HTTPStatus.NO_CONTENT,
            headers={
                **HEADERS,
                "Access-Control-Allow-Methods": METHODS,
                "Access-Control-Allow-Headers": REQUEST_HEADERS,
                "Access-Control-Max-Age": str(PREFLIGHT_KEPT_S),
            },
        )
