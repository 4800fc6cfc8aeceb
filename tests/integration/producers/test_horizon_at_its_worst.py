"""Horizon at its worst, one line each: nothing is lost, nothing false is told, the page is true, and it heals alone."""

import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import aiohttp
import pytest

from producers import asking, reader, stream
from producers.parts import Pace
from sandbox.horizon_faults import Fault
from sandbox.torture.proxy import Link, Mode, dial_tcp
from tests.integration.producers.scene import Running, Scene, until_true
from tests.integration.producers.truth import Truth
from tests.integration.producers.wire import page_body
from tests.unit.producers.records import LEDGER, payment

WALLETS = 3
LEDGERS = 2  # that close while a trouble lasts
HEALED_WITHIN_S = 30.0  # on a crowded machine; the figure of each is in the test's output
PACE = Pace(idle_drain_s=0.3, wallets_refresh_s=20.0)
FOR_LONG = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Misery:
    """A trouble. `told`: everything is told while it lasts. `unready`: while it lasts the page says so."""

    faults: tuple[Fault, ...] = ()
    mode: Mode = Mode.OPEN
    told: bool = False
    unready: bool = False


def every(count: int = 1, *, path: str = "/", **fault: object) -> tuple[Fault, ...]:
    """One request of so many."""
    return (Fault(path_prefix=path, every=count, times=FOR_LONG, **fault),)  # type: ignore[arg-type]


ALIEN = LEDGER + 5_000_000
ALIEN_PAGE = page_body(payment(ledger=ALIEN))
HTML = b"<!DOCTYPE html><html><body>Just a moment...</body></html>"
SLOW_DOWN = "problem: rate_limit_exceeded. full details: The rate limit for the requesting IP address is over"
PAYMENTS = "/payments"

SILENCES = {
    "nobody listens": Misery(mode=Mode.REFUSED, unready=True),
    "half-open: we are not heard": Misery(mode=Mode.DEAF, unready=True),
    "half-open: we hear nothing": Misery(mode=Mode.MUTE, unready=True),
    "a link that stalls": Misery(mode=Mode.STALLED, unready=True),
    "a slow link": Misery(mode=Mode.SLOWED),
    "a byte now and then": Misery(faults=every(byte_s=0.2), unready=True),
    "every other answer drips": Misery(faults=every(2, byte_s=0.2)),
    "no answer": Misery(faults=every(delay_s=60), unready=True),
    "a silent stream": Misery(faults=every(stream="mute", only="stream"), told=True),
    "a stream of greetings": Misery(faults=every(stream="greet", only="stream"), told=True),
    "a stream that says goodbye at once": Misery(faults=every(stream="close", only="stream"), told=True),
    "a stream that ends with an error": Misery(faults=every(stream_error="Unexpected stream error"), told=True),
    "a stream that is rate limited": Misery(faults=every(stream_error=SLOW_DOWN, only="stream"), told=True),
    "a stream cut in its greeting": Misery(faults=every(cut_after_bytes=20, only="stream"), told=True),
    "a stream cut in its record": Misery(faults=every(cut_after_bytes=200, only="stream"), told=True),
}
REFUSALS = {
    "500": Misery(faults=every(status=500), unready=True),
    "503, stale history": Misery(faults=every(status=503, headers={"Retry-After": "3"}), unready=True),
    "504, an empty body": Misery(faults=every(status=504), unready=True),
    "504, every other": Misery(faults=every(2, status=504), told=True),
    "401 and a login page": Misery(faults=every(status=401, body=HTML), unready=True),
    "404 by a proxy": Misery(faults=every(status=404, body=HTML), unready=True),
    "404 by a proxy, for accounts": Misery(faults=every(status=404, path="/accounts", body=HTML), unready=True),
    "429, Retry-After": Misery(faults=every(status=429, headers={"Retry-After": "1"}), unready=True),
    "429, X-RateLimit-Reset": Misery(faults=every(status=429, headers={"X-RateLimit-Reset": "1"}), unready=True),
    "429, no time at all": Misery(faults=every(status=429, headers={"Retry-After": "0"}), unready=True),
    "429, every third": Misery(faults=every(3, status=429, headers={"Retry-After": "0"}), told=True),
    "redirects in a circle": Misery(faults=every(status=302, headers={"Location": "/payments"}), unready=True),
    "redirects to nowhere": Misery(faults=every(status=301), unready=True),
}
NONSENSE = {
    "HTML": Misery(faults=every(status=200, body=HTML), unready=True),
    "HTML, every other": Misery(faults=every(2, status=200, body=HTML), told=True),
    "an empty body": Misery(faults=every(status=200), unready=True),
    "JSON of something else": Misery(faults=every(status=200, body=b"{}"), unready=True),
    "a state of something else": Misery(
        faults=every(2, path="/accounts", status=200, body=b"{}", headers={"Latest-Ledger": "52000100"})
    ),
    "cut": Misery(faults=every(cut_after_bytes=150), unready=True),
    "cut, in chunks": Misery(faults=every(cut_after_bytes=150, chunked=True), unready=True),
    "cut, every other": Misery(faults=every(2, cut_after_bytes=700, only="page"), told=True),
    "doubled records": Misery(faults=every(records="doubled"), told=True),
    "each page twice": Misery(faults=every(2, path=PAYMENTS, records="twice"), told=True),
    "backwards": Misery(faults=every(2, path=PAYMENTS, records="backwards"), told=True),
    "the last one first": Misery(faults=every(2, path=PAYMENTS, records="last first"), told=True),
    "out of order": Misery(faults=every(2, path=PAYMENTS, records="evens first"), told=True),
}
REPLICAS = {
    "all are behind": Misery(faults=every(lag_ledgers=2)),
    "every other one is behind": Misery(faults=every(2, lag_ledgers=2), told=True),
    "every other one is far behind": Misery(faults=every(2, lag_ledgers=500), told=True),
    "most are behind": Misery(faults=(*every(2, lag_ledgers=3), *every(2, lag_ledgers=1)), told=True),
    "states are behind": Misery(faults=every(path="/accounts", lag_ledgers=5), unready=True),
    "the history is behind": Misery(faults=every(path=PAYMENTS, lag_ledgers=2)),
    "ledgers are behind": Misery(faults=every(2, path="/ledgers", lag_ledgers=3), told=True),
    "another network's history": Misery(
        faults=every(2, path=PAYMENTS, status=200, body=ALIEN_PAGE, only="page"), told=True
    ),
    "another network's accounts": Misery(
        faults=every(2, path="/accounts", status=404, headers={"Latest-Ledger": str(ALIEN)}), told=True
    ),
}
KINDS = {"silences": SILENCES, "refusals": REFUSALS, "nonsense": NONSENSE, "replicas": REPLICAS}


@pytest.fixture
async def link(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Link]:
    """The way to Horizon. What takes eight seconds takes less than one here; elsewhere the real figures are shown."""
    monkeypatch.setattr(asking, "REQUEST_TIMEOUT", aiohttp.ClientTimeout(total=0.6, sock_connect=0.6))
    monkeypatch.setattr(asking, "IDLE_S_MAX", 0.5)
    monkeypatch.setattr(asking, "PATIENCE_S", 0.3)
    monkeypatch.setattr(asking, "RETRY_WAIT_S_MAX", 0.2)
    monkeypatch.setattr(asking, "RETRY_JITTER_S", 0.1)
    monkeypatch.setattr(reader, "LAGGING_WAIT_S_MAX", 0.2)
    monkeypatch.setattr(reader, "FAILED_WAIT_S_MAX", 0.5)
    monkeypatch.setattr(stream, "AGAIN_S_MAX", 0.5)
    address = urlsplit(scene.horizon.url)
    assert address.hostname is not None
    assert address.port is not None
    found = Link("horizon", dial_tcp(address.hostname, address.port))
    await found.start()
    scene.url = f"http://127.0.0.1:{found.port}"
    yield found
    await found.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_at_its_worst(scene: Scene, link: Link, kind: str) -> None:
    """One trouble after the other over one stream: amid each, ledgers close with payments; after each, all is told, all
    that was told is the chain's, and the page is clear. Where the page must say that it lasts, it does.
    """
    truth = Truth(scene=scene, wallets=WALLETS)
    for wallet in range(WALLETS):
        await scene.add_wallet(wallet)
    async with scene.stream(pace=PACE) as running:
        await scene.until(truth.all_told, what="the baselines")
        for fact in list(scene.facts):
            await scene.store(fact)
        for name, misery in KINDS[kind].items():
            try:
                healed_s = await _suffer(scene, link, truth, running, misery)
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}; the page: {dict(running.parts.readiness.reasons())}") from error
            truth.judge(await scene.read(), after=name)
            sys.stdout.write(f"healed within {healed_s:5.2f} s: {name}\n")
    assert not await scene.connection.fetchval("select count(*) from public.dead_letters")


async def _suffer(scene: Scene, link: Link, truth: Truth, running: Running, misery: Misery) -> float:
    """Go through one trouble; how many seconds after its end everything is told and the page is clear."""
    await link.set_mode(misery.mode)
    faults = [replace(fault) for fault in misery.faults]
    for fault in faults:
        scene.horizon.faults.add(fault)
    link.cut()  # a stream that is open already would not meet it
    for number in range(LEDGERS):
        for wallet in range(WALLETS):
            scene.pay(wallet, 1 + number, payer=wallet)
            scene.pay(wallet, 2, payer=number)
        ledger = truth.close()
        truth.close()  # the states are of a ledger without payments, whose time must be asked for
        if misery.told:
            await scene.until(truth.all_told, what="told while it lasts")
    if misery.unready:
        await until_true(running.parts.readiness.reasons, what="the page says so")
    await until_true(lambda: all(fault.asked >= fault.every for fault in faults), what="it is met")
    scene.horizon.faults.clear()
    await link.set_mode(Mode.OPEN)
    ended = time.monotonic()
    await scene.until(truth.all_told, what="told afterwards")
    await until_true(lambda: _is_saved(scene, ledger), what="the cursor is saved", deadline_s=HEALED_WITHIN_S)
    await until_true(lambda: not running.parts.readiness.reasons(), what="ready again", deadline_s=HEALED_WITHIN_S)
    healed_s = time.monotonic() - ended
    assert healed_s < HEALED_WITHIN_S
    return healed_s


async def _is_saved(scene: Scene, ledger: int) -> bool:
    return (await scene.saved_ledger() or 0) >= ledger
