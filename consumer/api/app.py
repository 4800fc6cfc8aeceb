"""What people ask over HTTP: to have their wallet read now, and whether it would trigger a deposit, and why or why not.

    POST /api/wallet/defindex/auto-deposit[?wait=SECONDS]   has the wallet read
    GET  /api/wallet/defindex/auto-deposit                  would it deposit now?
    GET  /api/wallet/defindex/auto-deposit/requests/{id}    how far is the read, and what came of it

Everything is the asking person's own, by the `sub` of their token.
"""

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from consumer.api import metrics
from consumer.api.cors import Origins
from consumer.api.keys import KeyRing
from consumer.api.rates import Rates
from consumer.api.store import Answered, ApiStore, Busy, TooMany
from consumer.api.tokens import Person, Refused, Rules, UnknownKey, verify
from consumer.api.view import evaluate, request_json, request_status, wallet_json
from consumer.api.waiting import Waiting
from schema.service import http_door
from schema.service.database import TRANSIENT
from schema.service.problems import HEADERS, Handler, as_problem, problem

log = structlog.get_logger(__name__)

PATH: Final = "/api/wallet/defindex/auto-deposit"
REQUEST_PATH: Final = PATH + "/requests/{request_id}"
WAIT_S_MAX: Final = 30
AWAY_AGAIN_S: Final = 2
_PERSON: Final = web.RequestKey("person", Person)
_WAIT: Final = re.compile(r"([0-9]{1,2})(?:\.([0-9]{1,3}))?", re.ASCII)
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_REALM: Final = 'Bearer realm="auto-deposit"'

for _route in (PATH, REQUEST_PATH, "none"):  # at 0 from the start, like all that an alarm rests on
    for _code in (HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE):
        metrics.REQUESTS.labels(_route, _code.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """The API's handlers, and what stands before each of them."""

    store: ApiStore
    waiting: Waiting
    keys: KeyRing
    rules: Rules
    rates: Rates
    reads_per_minute: int
    origins: Origins

    def routes(self) -> list[web.AbstractRouteDef]:
        """Every address there is."""
        return [
            web.get(PATH, self.look, allow_head=False),
            web.post(PATH, self.read),
            web.get(REQUEST_PATH, self.follow, allow_head=False),
            web.options(PATH, self.origins.preflight),
            web.options(REQUEST_PATH, self.origins.preflight),
        ]

    def middlewares(self) -> Iterable[Middleware]:
        """From the outside in."""
        return (self._count, self.origins.middleware, self._survive, self._admit)

    # -- what is asked

    async def look(self, request: web.Request) -> web.Response:
        """Whether the person's wallet would trigger a deposit now."""
        seen = await self.store.see(request[_PERSON].user_id)
        if seen is None:
            return _no_wallet()
        found = evaluate(seen.state, seen.policy, seen.at)
        return _json(HTTPStatus.OK, wallet_json(found, seen.last_snapshot, seen.observed_ledger))

    async def read(self, request: web.Request) -> web.Response:
        """Have the person's wallet read, and wait for it as long as they say."""
        wait_s = _wait_s(request)
        if wait_s is None:
            detail = f"wait is a number of seconds from 0 to {WAIT_S_MAX}, once: ?wait=10"
            return problem(HTTPStatus.BAD_REQUEST, "bad_wait", detail)
        person = request[_PERSON]
        asked = await self.store.ask(person.user_id, per_minute=self.reads_per_minute)
        if asked is None:
            return _no_wallet()
        if isinstance(asked, TooMany):
            detail = (
                f"The wallet was read {self.reads_per_minute} times within a minute: that is as often as it may be."
            )
            return _too_many(asked.again_s, "too_many_reads", detail)
        if asked.is_new:
            metrics.READS.inc()
            log.info("read asked for", request_id=str(asked.id), user_id=str(person.user_id))
        if wait_s:
            await self.waiting.until_settled(asked.id, seconds=wait_s)
        answered = await self.store.answered(person.user_id, asked.id)
        if answered is None:
            return _no_wallet()  # it went away while we waited
        is_settled = request_status(answered.row) in ("recorded", "refused")
        status = HTTPStatus.OK if wait_s and is_settled else HTTPStatus.ACCEPTED
        return _json(status, self._said(answered), headers={"Location": f"{PATH}/requests/{asked.id}"})

    async def follow(self, request: web.Request) -> web.Response:
        """How far a read is, and what came of it."""
        request_id = request.match_info["request_id"]
        answered = None
        if _UUID.fullmatch(request_id):
            answered = await self.store.answered(request[_PERSON].user_id, UUID(request_id))
        if answered is None:
            return problem(HTTPStatus.NOT_FOUND, "no_request", "You have no request with this id.")
        return _json(HTTPStatus.OK, self._said(answered))

    def _said(self, answered: Answered) -> dict[str, Any]:
        seen = answered.seen
        return request_json(
            answered.row,
            location=f"{PATH}/requests/{answered.row['id']}",
            snapshot_type=answered.snapshot_type,
            command=answered.command,
            found=None if seen is None else evaluate(seen.state, seen.policy, seen.at),
        )

    # -- what stands before it

    @web.middleware
    async def _count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        began_s = time.monotonic()
        response = await handler(request)
        resource = request.match_info.route.resource
        metrics.REQUESTS.labels("none" if resource is None else resource.canonical, response.status).inc()
        metrics.SECONDS.observe(time.monotonic() - began_s)
        return response

    @web.middleware
    async def _survive(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """What is away is not the person's fault, and passes."""
        try:
            return await handler(request)
        except web.HTTPException as error:
            return as_problem(error)
        except (Busy, *TRANSIENT) as error:
            log.warning("not answered", reason=f"{type(error).__name__}: {error}"[:300])
            detail = (
                "Not now: something that is needed for the answer does not answer itself. Nothing is lost; ask again."
            )
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, "away", detail, headers={"Retry-After": str(AWAY_AGAIN_S)})

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Only persons, and only so many of their requests. An address that is not there is nobody's secret."""
        if request.match_info.http_exception is not None or request.method == "OPTIONS":
            return await handler(request)
        try:
            person = await self._person(request)
        except Refused as refused:
            metrics.REFUSED_TOKENS.labels(refused.code).inc()
            return _unauthorized(refused)
        again_s = self.rates.begin(person.user_id, now_s=time.monotonic())
        if again_s:
            return _too_many(again_s, "too_many_requests", "You asked too often, or too much at once.")
        http_door.prove(request)
        try:
            request[_PERSON] = person
            return await handler(request)
        finally:
            self.rates.end(person.user_id)

    async def _person(self, request: web.Request) -> Person:
        """Refused when the request has no token, or none of a person's. A key that is not known is looked for."""
        said = request.headers.getall("Authorization", [])
        scheme, _, rest = said[0].partition(" ") if len(said) == 1 else ("", "", "")
        token = rest.strip(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refused("no_token", "Sign in, and send your session's access token: Authorization: Bearer ...")
        try:
            return verify(token, self.keys.keys, self.rules)
        except UnknownKey:
            await self.keys.look_for_new()
        if not self.keys.are_there:
            raise Busy("the keys of tokens were not read yet")
        return verify(token, self.keys.keys, self.rules)


def _wait_s(request: web.Request) -> float | None:
    """The seconds that the person would wait; 0 where they say nothing; None where it makes no sense."""
    said = request.query.getall("wait", ["0"])
    match = _WAIT.fullmatch(said[0])
    if len(said) != 1 or match is None:
        return None
    seconds, thousandths = match.groups(default="")
    wait = timedelta(seconds=int(seconds), milliseconds=int(thousandths.ljust(3, "0")))
    return wait.total_seconds() if wait.total_seconds() <= WAIT_S_MAX else None


def _json(status: HTTPStatus, body: Mapping[str, Any], *, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(body),
        content_type="application/json",
        headers={**HEADERS, **(headers or {})},
    )


def _no_wallet() -> web.Response:
    detail = "You have no wallet here: it has a row once your account has a Stellar address on this network."
    return problem(HTTPStatus.NOT_FOUND, "no_wallet", detail)


def _too_many(again_s: int, code: str, detail: str) -> web.Response:
    return problem(HTTPStatus.TOO_MANY_REQUESTS, code, detail, headers={"Retry-After": str(again_s)})


def _unauthorized(refused: Refused) -> web.Response:
    """RFC 6750: no error is named to who brought no token."""
    said = "" if refused.code == "no_token" else f', error="invalid_token", error_description="{refused.detail}"'
    return problem(
        HTTPStatus.UNAUTHORIZED, refused.code, refused.detail, headers={"WWW-Authenticate": f"{_REALM}{said}"}
    )
