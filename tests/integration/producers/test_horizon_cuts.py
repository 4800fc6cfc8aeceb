"""Horizon's answers broken off after every single byte, over real sockets: never a shorter answer, never a crash."""

import os
import random
from typing import Any

import orjson
import pytest

from producers.horizon import Horizon
from producers.source import Fatal, Unavailable
from schema.stellar import Cursor, Ledger, Malformed
from tests import recordings
from tests.integration.producers.wire import (
    BYEBYE,
    OBSERVED,
    RECORD,
    Answer,
    account_body,
    client,
    http,
    page_body,
    serving,
    stream_body,
    without_waiting,
)
from tests.unit.producers.records import ALICE, ASSET, LEDGER, payment

CURSOR = Cursor(str(LEDGER << 32))
FRAMINGS = ("length", "chunked", "close")
STEP = int(os.environ.get("HORIZON_CUT_STEP", "3"))  # with 1 at every byte of each; else at every third, by turns
GARBLED = int(os.environ.get("HORIZON_GARBLED", "150"))
EXPECTED_BODY = page_body(payment(number=4097), payment(number=8193, amount="0.0000001"))


async def ask(horizon: Horizon, what: str) -> Any:
    if what == "page":
        return await horizon.payments(CURSOR)
    return await horizon.state(ALICE, ASSET)


@pytest.mark.parametrize("what", ["page", "state"])
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_an_answer_cut_anywhere_is_asked_for_again(what: str, framing: str) -> None:
    """Cut after byte k, for each k, the first answer is a failure and the second one is taken, whole."""
    body = EXPECTED_BODY if what == "page" else account_body()
    headers = () if what == "page" else (f"Latest-Ledger: {OBSERVED}",)
    whole = http(body, *headers, framing=framing)
    begin = FRAMINGS.index(framing) % STEP
    with without_waiting():
        async with serving(Answer(text=whole)) as script, client(script.url) as (horizon, readiness):
            expected = await ask(horizon, what)
            asked = 1
            for cut in range(begin, len(whole), STEP):
                script.answers.appendleft(Answer(text=whole[:cut]))
                assert await ask(horizon, what) == expected, cut
                is_whole = whole[cut:] in (b"\r\n", b"\n")  # the line behind the last chunk says nothing more
                asked += 1 if is_whole and len(script.paths) == asked + 1 else 2
                assert len(script.paths) == asked, cut
            assert not readiness.reasons()


async def test_a_stream_cut_anywhere_says_only_what_it_said() -> None:
    """A stream wakes when its record came whole, ends well when its goodbye did, and else is dead."""
    whole = http(stream_body(RECORD), "Content-Type: text/event-stream", framing="chunked")
    goodbye = http(stream_body(BYEBYE), "Content-Type: text/event-stream", framing="chunked")
    for text, said in ((whole, True), (goodbye, False)):
        needed = len(text) - len(b"0\r\n\r\n") - len(b"\r\n") if said else len(text) - 7
        async with serving(Answer()) as script, client(script.url) as (horizon, readiness):
            for cut in range(0, len(text) + 1, STEP):
                script.answers[0] = Answer(text=text[:cut])
                if cut >= needed:
                    assert await horizon.payment_after(CURSOR) is said, cut
                    continue
                with pytest.raises(Unavailable):
                    await horizon.payment_after(CURSOR)
                assert "stream" in readiness.reasons()


@recordings.needed
async def test_recorded_pages_cut_anywhere() -> None:
    """Real recorded pages, cut at some fifty places each, are read whole or asked for again."""
    with without_waiting():
        for path in sorted((recordings.FOLDER / "operation_page").glob("*.json")):
            body = orjson.dumps(orjson.loads(path.read_bytes()))
            if b'"_embedded"' not in body:
                continue
            whole = http(body, framing="chunked")
            async with serving(Answer(text=whole)) as script, client(script.url) as (horizon, _):
                expected = await horizon.payments(CURSOR)
                for cut in range(0, len(whole), max(STEP, len(whole) // 50)):
                    script.answers.appendleft(Answer(text=whole[:cut]))
                    assert await horizon.payments(CURSOR) == expected, (path.name, cut)


@recordings.needed
@pytest.mark.parametrize(
    ("name", "body"),
    [(path.stem, path.read_bytes()) for path in sorted((recordings.FOLDER / "errors").glob("*.json"))],
)
async def test_recorded_errors_are_never_answers(name: str, body: bytes) -> None:
    """What real Horizons say when they refuse is a failure, or for 410 a person's to decide: no page, no balance."""
    status = name.split("_", maxsplit=1)[0]
    with without_waiting():
        answer = Answer(text=http(body, status=f"{status} x"))
        async with serving(answer) as script, client(script.url, hasty=True) as (horizon, _):
            for what in ("page", "state"):
                with pytest.raises(Fatal if status == "410" else Unavailable):
                    await ask(horizon, what)
            with pytest.raises(Fatal if status == "410" else Unavailable):
                await horizon.payment_after(CURSOR)


async def test_garbled_answers_crash_nothing() -> None:
    """Bytes changed, doubled, left out and put in at random, headers included, end in one of our own failures."""
    seed = int(os.environ.get("HORIZON_SEED", "20"))
    rng = random.Random(seed)  # noqa: S311 - a seeded test
    texts = [http(EXPECTED_BODY, framing=framing) for framing in FRAMINGS]
    texts += [http(account_body(), f"Latest-Ledger: {OBSERVED}", framing=framing) for framing in FRAMINGS]
    texts += [http(stream_body(RECORD, BYEBYE), framing="chunked")]
    with without_waiting():
        async with serving(Answer()) as script, client(script.url, hasty=True) as (horizon, _):
            for number in range(GARBLED):
                text = bytearray(rng.choice(texts))
                for _ in range(rng.randint(1, 4)):
                    begin = rng.randrange(len(text))
                    end = begin + rng.randint(0, 12)
                    text[begin:end] = rng.choice((b"", rng.randbytes(3), bytes(text[begin:end]) * 2, b"9" * 5_000))
                script.answers[0] = Answer(text=bytes(text))
                for question in (horizon.payments(CURSOR), horizon.state(ALICE, ASSET), horizon.payment_after(CURSOR)):
                    try:
                        await question
                    except (Unavailable, Fatal, Malformed):
                        continue
                    except Exception as error:
                        raise AssertionError(f"seed {seed}, number {number}: {bytes(text)!r}") from error


@pytest.mark.parametrize("value", ["0", "-1", "1e3", "9" * 5_000, str(2**32), str(2**63), "", "x"])
async def test_a_ledger_that_cannot_be_is_no_answer(value: str) -> None:
    """A state read in an impossible ledger is a failure: its header decides which payments are in the balance."""
    answer = Answer(text=http(account_body(), f"Latest-Ledger: {value}"))
    with without_waiting():
        async with serving(answer) as script, client(script.url) as (horizon, _):
            with pytest.raises(Unavailable, match="Latest-Ledger"):
                await horizon.state(ALICE, ASSET)


async def test_an_absence_is_only_told_with_its_ledger() -> None:
    """A 404 with the header is an absence as of its ledger, cut in its body or not."""
    whole = http(b'{"status":404}', f"Latest-Ledger: {OBSERVED}", status="404 Not Found")
    with without_waiting():
        async with serving(Answer(text=whole)) as script, client(script.url) as (horizon, _):
            for cut in range(0, len(whole), STEP):
                script.answers.appendleft(Answer(text=whole[:cut]))
                state = await horizon.state(ALICE, ASSET)
                assert (state.is_absence, state.observed) == (True, Ledger(OBSERVED))
