"""Connections that say nothing, or too little: given up and made anew, so that something moves within 15 seconds."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from producers.asking import CONNECTIONS_MAX
from producers.horizon import Horizon
from producers.settings import READS_AT_ONCE_MAX
from producers.source import Unavailable
from schema.stellar import Cursor, Network
from tests.integration.producers.scene import until_true
from tests.integration.producers.wire import (
    OBSERVED,
    Answer,
    account_body,
    client,
    http,
    page_body,
    root_body,
    serving,
    stream_body,
    without_waiting,
)
from tests.unit.producers.records import ALICE, ASSET, LEDGER, effect, payment

pytestmark = pytest.mark.alone

WITHIN_S = 15.0
CURSOR = Cursor(str(LEDGER << 32))
PAGE = http(page_body(payment()))
STATE = http(account_body(), f"Latest-Ledger: {OBSERVED}")

HANGS = {
    "no byte": Answer(silent=True),
    "half a status line": Answer(text=PAGE[:9], silent=True),
    "half the headers": Answer(text=PAGE[:40], silent=True),
    "headers without a body": Answer(text=PAGE[: PAGE.index(b"{")], silent=True),
    "all but the last byte": Answer(text=PAGE[:-1], silent=True),
    "a chunk that does not come": Answer(text=http(page_body(payment()), framing="chunked")[:-5], silent=True),
    "no end": Answer(text=http(page_body(payment()), framing="close"), silent=True),
    "a byte a second": Answer(text=PAGE, byte_s=1.0),
}


async def _gives_up(name: str, hang: Answer) -> None:
    async with serving(hang, Answer(text=PAGE)) as script, client(script.url) as (horizon, readiness):
        began = time.monotonic()
        asking = asyncio.create_task(horizon.payments(CURSOR))
        await until_true(readiness.reasons, what=f"{name}: it says so", deadline_s=WITHIN_S)
        page = await asking
        assert len(page.records) == 1, name
        assert time.monotonic() - began < WITHIN_S, name
        assert not readiness.reasons(), name


async def _pool_of_dead_connections() -> None:
    """As many as reads run side by side were answered once, and are never answered again."""
    dead = [Answer(text=STATE, silent=True)] * 16
    async with serving(*dead, Answer(text=PAGE)) as script, client(script.url) as (horizon, _):
        await asyncio.gather(*(horizon.state(ALICE, ASSET) for _ in dead))
        began = time.monotonic()
        assert (await horizon.payments(CURSOR)).records
        assert time.monotonic() - began < WITHIN_S


async def _all_reads_hang() -> None:
    """The history is read while as many states as ever may be are waited for in vain."""
    hang = [Answer(silent=True)] * READS_AT_ONCE_MAX
    async with serving(*hang, Answer(text=PAGE)) as script, client(script.url) as (horizon, _):
        reads = [asyncio.create_task(horizon.state(ALICE, ASSET)) for _ in hang]
        await until_true(lambda: len(script.paths) == len(hang), what="all are asked for")
        async with asyncio.timeout(5):
            assert (await horizon.payments(CURSOR)).records
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)


async def _no_greeting() -> None:
    """A stream on which Horizon never says hello is no stream, long before its silence would be too long."""
    mute = Answer(text=http(b"", framing="close"), silent=True)
    async with serving(mute) as script, client(script.url) as (horizon, _):
        began = time.monotonic()
        with pytest.raises(Unavailable, match="dead"):
            await horizon.payment_after(CURSOR)
        assert time.monotonic() - began < WITHIN_S


async def test_what_hangs_is_given_up_within_fifteen_seconds() -> None:
    """Whatever a connection hangs at, the readiness page says so, the next attempt is on another connection, and the
    answer is there within 15 s of the question; other requests go on meanwhile.
    """
    assert CONNECTIONS_MAX > READS_AT_ONCE_MAX
    async with asyncio.TaskGroup() as tasks:
        for name, hang in HANGS.items():
            tasks.create_task(_gives_up(name, hang))
        tasks.create_task(_pool_of_dead_connections())
        tasks.create_task(_all_reads_hang())
        tasks.create_task(_no_greeting())


async def test_a_stream_that_only_greets_is_dead_after_its_silence() -> None:
    """Greetings and retry lines without end keep a stream open, silence ends it: neither is taken for a payment."""
    greetings = http(stream_body(*[b'retry: 1000\nevent: open\ndata: "hello"\n\n'] * 3), framing="close")
    for text in (greetings, http(stream_body(), framing="chunked")[:-5], greetings[:30], b""):
        hang = Answer(text=text, silent=True)
        async with serving(hang) as script, client(script.url, silence_s_max=0.3) as (horizon, readiness):
            with pytest.raises(Unavailable, match="dead"):
                await horizon.payment_after(CURSOR)
            assert "dead" in readiness.reasons()["stream"]


async def test_being_told_to_wait_is_no_readiness() -> None:
    """While a 429 is waited for, however long, the page says so; afterwards it is up again."""
    refused = Answer(text=http(b"", "Retry-After: 1", status="429 x"))
    async with serving(refused, Answer(text=PAGE)) as script, client(script.url) as (horizon, readiness):
        asking = asyncio.create_task(horizon.payments(CURSOR))
        await until_true(lambda: "429" in readiness.reasons().get("horizon", ""), what="it says so", deadline_s=5)
        assert (await asking).records
        assert not readiness.reasons()


async def test_a_replica_without_the_ledger_yet_is_asked_again() -> None:
    """The close of a ledger is asked for until a replica has it: one that is behind does not end the round."""
    missing = Answer(text=http(b"{}", status="404 x"))
    found = Answer(text=http(b'{"closed_at":"2026-01-31T12:00:00Z"}'))
    async with serving(missing, missing, found) as script, client(script.url) as (horizon, _):
        assert (await horizon.closed_at(OBSERVED)).year == 2026


async def test_a_ledger_far_beyond_the_newest_is_another_networks() -> None:
    """Once the newest ledger is known, an answer of years later is a failure: no page to go on from, and no balance of
    an account that this network does not even have.
    """
    root = Answer(text=http(root_body(passphrase=Network.TESTNET.passphrase)))
    later = LEDGER + 5_000_000
    answers = (
        Answer(text=http(page_body(payment(ledger=later)))),
        Answer(text=http(page_body(effect("trade", ledger=later)))),
        Answer(text=http(b"{}", f"Latest-Ledger: {later}", status="404 x")),
    )
    asking: tuple[Callable[[Horizon], Awaitable[object]], ...] = (
        lambda horizon: horizon.payments(CURSOR),
        lambda horizon: horizon.changes(CURSOR),
        lambda horizon: horizon.state(ALICE, ASSET),
    )
    for answer, ask in zip(answers, asking, strict=True):
        async with serving(root, answer) as script, client(script.url) as (horizon, _):
            await horizon.history()
            with pytest.raises(Unavailable, match="another network"):
                await ask(horizon)


async def test_a_newest_ledger_of_long_ago_is_asked_for_again() -> None:
    """A page of years later is believed once the network's own page says so; never when that is another network's."""
    later = LEDGER + 5_000_000
    page = Answer(text=http(page_body(payment(ledger=later))))
    for passphrase, is_believed in ((Network.TESTNET.passphrase, True), (Network.MAINNET.passphrase, False)):
        first = Answer(text=http(root_body(passphrase=Network.TESTNET.passphrase)))
        now = Answer(text=http(root_body(passphrase=passphrase, latest=later)))
        async with serving(first, page, now, page) as script, client(script.url) as (horizon, _):
            await horizon.history()
            if is_believed:
                assert (await horizon.payments(CURSOR)).records
                continue
            with pytest.raises(Unavailable, match="another network"):
                await horizon.payments(CURSOR)


async def test_redirects_lead_to_the_answer_or_to_a_failure() -> None:
    """A redirect to where the answer is works; one to a page of words, or in a circle, is a failure."""
    words = Answer(text=http(b"<html>Sign in</html>"))
    async with serving(Answer(text=PAGE)) as there, serving(words) as portal:
        for location, is_answer in ((there.url, True), (portal.url, False), ("/payments", False), ("gopher:", False)):
            moved = Answer(text=http(b"", f"Location: {location}/payments", status="302 Found"))
            async with serving(moved) as script, client(script.url) as (horizon, _):
                try:
                    with without_waiting():
                        page = await horizon.payments(CURSOR)
                except Unavailable:
                    assert not is_answer, location
                else:
                    assert is_answer, location
                    assert len(page.records) == 1
