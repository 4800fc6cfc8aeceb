"""The sandbox's server-sent events, byte for byte, and what a stream does at its ends."""

import aiohttp
import orjson

from sandbox.horizon_faults import Fault
from sandbox.horizon_instance import Options
from tests import recordings
from tests.integration.horizon_client import serving

HELLO = b'retry: 1000\nevent: open\ndata: "hello"\n\n'
BYEBYE = b'retry: 10\nevent: close\ndata: "byebye"\n\n'


@recordings.needed
async def test_a_quiet_stream_sends_the_recorded_bytes() -> None:
    """A stream on which nothing happens sends hello, is silent, and says byebye when its time is up."""
    recorded = (recordings.FOLDER / "sse/open_close_empty_stream.txt").read_bytes()
    async with (
        serving(options=Options(stream_check_s=0, stream_s=0.3)) as client,
        client.stream("/payments?cursor=now") as stream,
    ):
        assert stream.response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert await stream.rest() == recorded


@recordings.needed
async def test_a_recorded_payment_is_framed_as_recorded() -> None:
    """A recorded payment that passes through a stream has the recorded frame, and the values that were recorded."""
    raw = recordings.load("operations/payment_4.json")
    async with serving() as client:
        await client.post("/sandbox/replay", {"payments": [raw]})
        async with client.stream("/payments?limit=1&cursor=now") as stream:
            await stream.until(HELLO)
            client.horizon.close_ledger()
            sent = await stream.rest()
    recorded = (recordings.FOLDER / "sse/payment_record_framed.txt").read_bytes()
    assert sent == recorded


@recordings.needed
async def test_an_error_in_mid_stream_has_the_recorded_bytes() -> None:
    """An error ends the stream with its text and no byebye; so does a budget that is used up."""
    unknown = (recordings.FOLDER / "sse/midstream_error_unknown.txt").read_bytes()
    limited = (recordings.FOLDER / "sse/midstream_error_rate_limited.txt").read_bytes()
    async with serving() as client:
        client.horizon.faults.add(Fault(path_prefix="/payments", stream_error="Unexpected stream error"))
        async with client.stream("/payments?cursor=now") as stream:
            await stream.until(HELLO)
            client.horizon.close_ledger()
            assert await stream.rest() == unknown
    options = Options(stream_check_s=0, requests_per_hour=1, burst=1)
    async with serving(options=options) as client, client.stream("/payments?cursor=now") as stream:
        await stream.until(HELLO)
        client.horizon.close_ledger()
        assert await stream.rest() == limited


def _ids(received: bytes) -> list[str]:
    return [line.removeprefix(b"id: ").decode() for line in received.split(b"\n") if line.startswith(b"id: ")]


async def test_a_stream_sends_what_was_there_and_what_comes() -> None:
    """From a cursor on, a stream sends the old records, then the new ones of each ledger, in order and each once."""
    async with serving() as client:
        client.pay(times=5)
        client.horizon.close_ledger()
        async with client.stream("/payments?cursor=1&limit=12") as stream:
            await stream.until(b"data: {")
            client.pay(times=4)
            client.horizon.close_ledger()
            client.horizon.close_ledger()
            client.pay(times=9)
            client.horizon.close_ledger()
            received = await stream.rest()
        page = await client.get("/payments?limit=12")
        assert _ids(received) == [record["paging_token"] for record in page.records]
        assert received.endswith(BYEBYE)
        data = [line.removeprefix(b"data: ") for line in received.split(b"\n") if line.startswith(b"data: {")]
        assert [orjson.loads(line) for line in data] == page.records


async def test_last_event_id_beats_the_cursor() -> None:
    """A client that comes back with Last-Event-ID goes on after it, whatever cursor its address has."""
    async with serving() as client:
        client.pay(times=10)
        client.horizon.close_ledger()
        records = (await client.get("/payments?limit=10")).records
        seen = records[6]["paging_token"]
        async with client.stream("/payments?cursor=now&limit=3", Last_Event_ID=seen) as stream:
            assert _ids(await stream.rest()) == [record["paging_token"] for record in records[7:]]


async def test_streams_of_effects_and_of_one_account() -> None:
    """Effects and an account's own payments stream like all payments do."""
    async with serving() as client:
        wallet = client.people.wallets[1].account_id
        client.pay(wallet=1)  # before that the history does not know the account
        client.horizon.close_ledger()
        async with (
            client.stream("/effects?cursor=now&limit=4") as effects,
            client.stream(f"/accounts/{wallet}/payments?cursor=now&limit=1") as own,
        ):
            await effects.until(HELLO)
            await own.until(HELLO)
            client.pay(wallet=0)
            client.pay(wallet=1)
            client.horizon.close_ledger()
            assert len(_ids(await effects.rest())) == 4
            assert len(_ids(await own.rest())) == 1


async def test_a_stream_looks_for_ledgers_as_often_as_it_is_told() -> None:
    """With a check interval a ledger is seen at the next look, not when it closes."""
    async with (
        serving(options=Options(stream_check_s=0.5, stream_s=30)) as client,
        client.stream("/payments?cursor=now&limit=1") as stream,
    ):
        await stream.until(HELLO)
        client.pay()
        closed = client.horizon.close_ledger().sequence
        assert client.horizon.stream_ledger < closed
        await stream.rest()
        assert client.horizon.stream_ledger == closed


async def test_a_stream_can_be_cut_anywhere() -> None:
    """A fault breaks a stream after exactly so many bytes, in the middle of a record too."""
    async with serving() as client:
        client.pay(times=3)
        client.horizon.close_ledger()
        whole = b""
        async with client.stream("/payments?cursor=1&limit=3") as stream:
            whole = await stream.rest()
        for size in (1, len(HELLO), len(HELLO) + 500, len(whole) - 1):
            client.horizon.faults.add(Fault(path_prefix="/payments", cut_after_bytes=size))
            async with client.stream("/payments?cursor=1&limit=3") as stream:
                received = b""
                try:
                    async for chunk in stream.response.content.iter_any():
                        received += chunk
                except aiohttp.ClientPayloadError:
                    pass  # the body ended early, as it was to
                assert received == whole[:size]
