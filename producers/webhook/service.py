"""`webhooks`: hints over HTTP, from senders who prove themselves. Whoever is named and tracked is read, told and acked.

The order is the promise: prove, look whether it was done before, read, tell, ack, note the id, answer 2xx. A crash
anywhere before the id leaves a webhook that its sender says again and that is done again; the facts are the same.
"""

import asyncio
import contextlib
import hashlib
from collections import Counter
from typing import Final
from uuid import UUID
from weakref import WeakValueDictionary

import orjson
import structlog
from aiohttp import web

from producers.clock import now_s
from producers.history import REPLICA_LAG_LEDGERS
from producers.parts import Parts
from producers.settings import WebhookSettings
from producers.source import Fatal, Unavailable
from producers.start import check_network
from producers.store import Away
from producers.together import together
from producers.webhook import requests as webhook_requests
from producers.webhook import signatures as webhook_signatures
from producers.webhook.answers import Outcome, Problem, away, refusal
from producers.webhook.hints import Hint
from producers.webhook.metrics import WebhookMetrics
from producers.webhook.rates import Rates
from producers.webhook.reads import Busy, Reads, Served
from producers.webhook.signatures import Secrets
from schema.service import http_door
from schema.service.http_connection import House, Manners
from schema.service.http_crowd import client_address
from schema.service.problems import HEADERS
from schema.stellar import Ledger, Network

log = structlog.get_logger(__name__)

ASK_EVERY_S: Final = 5.0  # the database; each look is one small query
HISTORY_EVERY_S: Final = 30.0  # Horizon; each look is one request
LEDGERS_AHEAD_MAX: Final = REPLICA_LAG_LEDGERS  # of our Horizon: who is so far ahead speaks of another network
LEDGERS_SOON_MAX: Final = 1  # a read waits some six seconds, and a ledger takes as long
AGAIN_S: Final = 1.0
_REASONS: Final = {
    Unavailable: "the network's state could not be read or told",
    Away: "the database is away",
    Busy: "too many wallets wait to be read",
}


async def serve(settings: WebhookSettings, parts: Parts) -> None:
    """Take webhooks in until cancelled; then finish what is in hand. Fatal when a person must decide."""
    await _check_network(parts)
    metrics = WebhookMetrics(parts.metrics.registry)
    reads = Reads(parts, reads_at_once=settings.states_at_once)
    webhooks = Webhooks(settings, parts, reads, metrics)
    async with together() as tasks, contextlib.AsyncExitStack() as door:
        for work in (reads.run(), parts.publisher.watch(), _watch_database(parts), _watch_history(parts)):
            tasks.create_task(work)
        host, port = settings.webhook_host, settings.webhook_port
        opened = http_door.opened(_house(webhooks, metrics), _manners(settings), host=host, port=port)
        try:
            address = await door.enter_async_context(opened)
        except OSError as error:
            raise Fatal(f"WEBHOOK_HOST and WEBHOOK_PORT cannot be opened: {error}") from error
        log.info("webhooks are taken in", door=str(address))
        await asyncio.Event().wait()


class Webhooks:
    """Answers each request."""

    def __init__(self, settings: WebhookSettings, parts: Parts, reads: Reads, metrics: WebhookMetrics) -> None:
        self._settings = settings
        self._parts = parts
        self._reads = reads
        self._metrics = metrics
        self._secrets = Secrets(
            signing=settings.webhook_secrets,
            shared=settings.webhook_shared_secrets,
            tolerance_s=settings.webhook_tolerance_s,
        )
        self._rates = Rates(
            per_s=settings.webhook_requests_per_s,
            per_address_per_s=settings.webhook_requests_per_address_per_s,
            now_s=now_s(),
        )
        self._ids: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        self._latest = Ledger(1)
        self._latest_asked_s = -AGAIN_S

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """What came of a request; a Problem where it is not done."""
        began_s = now_s()
        try:
            found = await self._answer(request)
        except Problem as problem:
            say = log.info if http_door.is_proven(request) else log.debug  # strangers do not fill the log
            say("webhook refused", outcome=problem.code, reason=str(problem))
            raise
        self._metrics.requests.labels(Outcome.DONE.value).inc()
        self._metrics.seconds.observe(now_s() - began_s)
        return web.Response(body=orjson.dumps(found) + b"\n", content_type="application/json", headers=HEADERS)

    async def _answer(self, request: web.BaseRequest) -> dict[str, int]:
        settings = self._settings
        self._check_rate(request)
        webhook_requests.check_address(request)
        with webhook_requests.proving():
            claim = webhook_signatures.claim(
                webhook_requests.headers(request), secrets=self._secrets, now=self._parts.clock()
            )
        webhook_requests.check_form(request)
        body = await http_door.body(request)
        with webhook_requests.proving():
            claim.prove(body, self._secrets)
        http_door.prove(request)
        hint = webhook_requests.hint(body)
        try:
            async with asyncio.timeout(settings.webhook_answer_within_s):
                return await self._take(hint, claim.id)
        except TimeoutError:
            raise away(f"it is not acked within {settings.webhook_answer_within_s:g} s") from None
        except (Unavailable, Away, Busy) as error:
            log.warning("webhook not done", reason=f"{type(error).__name__}: {error}")
            raise away(next(said for kind, said in _REASONS.items() if isinstance(error, kind))) from error

    async def _take(self, hint: Hint, id_: str | None) -> dict[str, int]:
        """Do what the hint asks, unless it was done before. Of one id only one at a time: the next finds it done."""
        if id_ is None:
            return await self._serve(hint)
        key = _key(self._parts.network, id_)
        async with self._ids.setdefault(key, asyncio.Lock()):
            if await self._parts.store.webhook_is_done(key):
                raise Problem(Outcome.REPLAY, "a webhook of this id is done: it need not be sent again")
            found = await self._serve(hint)
            await self._parts.store.finish_webhook(key)
            return found

    async def _serve(self, hint: Hint) -> dict[str, int]:
        tracked = await self._parts.store.stored(list(hint.accounts), self._parts.network)
        self._metrics.hints.inc(len(tracked))
        self._metrics.ignored.inc(len(hint.accounts) - len(tracked))
        if hint.ledger is not None and tracked:
            await self._check_ledger(hint.ledger)
        ledger = hint.ledger or Ledger(1)
        if tracked and (hint.ledger is None or any(each.version is None for each in tracked.values())):
            ledger = max(ledger, await self._newest())  # it happened by now; and what came before the row is baseline
        served = await self._reads.serve(list(tracked), ledger=ledger)
        counts = Counter(served.values())
        if counts[Served.AWAY]:
            raise Unavailable(f"{counts[Served.AWAY]} of {len(served)} wallets could not be read or told")
        log.info("webhook done", tracked=len(tracked), untracked=len(hint.accounts) - len(tracked))
        return {
            "tracked": len(tracked),
            "untracked": len(hint.accounts) - len(tracked),
            "published": counts[Served.PUBLISHED],
            "unchanged": counts[Served.UNCHANGED],
            "refused": counts[Served.REFUSED],
        }

    async def _check_ledger(self, ledger: Ledger) -> None:
        """A ledger that is about to come is waited for; for one that takes longer the sender comes again; and one that
        is far ahead is not of our network.
        """
        if ledger > self._latest + LEDGERS_SOON_MAX:
            await self._newest()
        if ledger > self._latest + LEDGERS_AHEAD_MAX:
            raise Problem(
                Outcome.BAD_HINT,
                f"the record is of ledger {ledger}, and the newest is {self._latest}",
                where="id",
                expected=f"a record of {self._parts.network}",
            )
        if ledger > self._latest + LEDGERS_SOON_MAX:  # other hints of the wallet share its read: it must not hang
            raise Unavailable(f"ledger {ledger} was announced, and the newest is {self._latest}")

    async def _newest(self) -> Ledger:
        """The newest ledger, asked for once a second at most."""
        if now_s() - self._latest_asked_s >= AGAIN_S:
            self._latest = max(self._latest, (await self._parts.source.history()).latest)
            self._latest_asked_s = now_s()
        return self._latest

    def _check_rate(self, request: web.BaseRequest) -> None:
        forwarded = request.headers.getall("X-Forwarded-For", [])
        address = client_address(request.remote or "", forwarded, self._settings.webhook_trusted_proxies)
        if wait_s := self._rates.wait_s(address, now_s()):
            raise Problem(Outcome.TOO_MANY, f"come again in {wait_s} s", retry_after_s=wait_s)


def _manners(settings: WebhookSettings) -> Manners:
    return Manners(
        connections_max=settings.webhook_connections_max,
        per_address_max=settings.webhook_connections_per_address_max,
        trusted=settings.webhook_trusted_proxies,
        headers_within_s=settings.webhook_headers_within_s,
        body_within_s=settings.webhook_body_within_s,
        body_bytes_max=settings.webhook_body_bytes_max,
        rest_s=settings.webhook_rest_s,
        stop_within_s=settings.webhook_answer_within_s,
    )


def _house(webhooks: Webhooks, metrics: WebhookMetrics) -> House:
    return House(
        answer=webhooks.answer,
        refusal=refusal,
        refused=lambda problem: metrics.requests.labels(problem.code).inc(),
        connections=metrics.connections,
        cut=metrics.cut,
        forgets_the_gone=False,  # what was begun goes on: the facts are true whoever hears the answer
    )


async def _check_network(parts: Parts) -> None:
    """Return when the source has said that it is of our network: before that nobody is read."""
    while True:
        try:
            check_network(await parts.source.history(), parts.network)
        except Unavailable as unavailable:
            parts.readiness.down("start", str(unavailable))
            await asyncio.sleep(AGAIN_S)
        else:
            parts.readiness.up("start")
            return


async def _watch_database(parts: Parts) -> None:
    """Say on the readiness page whether the database answers, for ever: webhooks may be rare."""
    while True:
        try:
            await parts.store.webhook_is_done(UUID(int=0))  # are the tables there?
            await parts.store.check_writable()
        except Away as away_:
            parts.readiness.down("database", str(away_))
        else:
            parts.readiness.up("database")
        await asyncio.sleep(ASK_EVERY_S)


async def _watch_history(parts: Parts) -> None:
    """The same for the source, which says it by itself when it is asked."""
    while True:
        await asyncio.sleep(HISTORY_EVERY_S)
        with contextlib.suppress(Unavailable):
            await parts.source.history()


def _key(network: Network, webhook_id: str) -> UUID:
    """Senders choose their ids; this one has a fixed size. Two networks share a table, not their webhooks."""
    return UUID(bytes=hashlib.sha256(f"{network} {webhook_id}".encode()).digest()[:16])
