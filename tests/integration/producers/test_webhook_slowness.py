"""Deadlines and room at the door: who takes too long is told so or cut, and who is good gets through."""

import asyncio
import socket

import pytest

from sandbox.horizon_faults import Fault
from tests.integration.producers.scene import Scene, until_true
from tests.integration.producers.webhook_scene import door
from tests.people import account_id
from tests.webhook_senders import naming, read_reply, request, signed

BODY = naming(account_id("a stranger"))


async def test_each_part_of_a_request_has_its_time(scene: Scene) -> None:
    """No byte, half a header, half a body, silence after an answer: each ends, and what was begun ends with 408."""
    async with door(scene, webhook_headers_within_s=0.3, webhook_body_within_s=0.3, webhook_rest_s=0.3) as opened:
        whole = request(BODY, signed(BODY))
        for sent, statuses in ((b"", [408]), (whole[:90], [408]), (whole[:-5], [408]), (whole, [200])):
            reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
            writer.write(sent)
            for status in statuses:
                reply = await asyncio.wait_for(read_reply(reader), 10)
                assert reply.status == status, sent
            assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.close()
        assert opened.outcomes("too_slow") == 1  # of the body; the others never were a request
        assert opened.count('producers_webhook_connections_cut_total{cut="slow"}') == 2
        assert opened.count('producers_webhook_connections_cut_total{cut="rested"}') >= 1


@pytest.mark.parametrize("part", ["headers", "body"])
async def test_dripping_does_not_buy_time(scene: Scene, part: str) -> None:
    """A byte now and then does not move the deadline, on the first request or a later one of the connection."""
    async with door(scene, webhook_headers_within_s=0.5, webhook_body_within_s=0.5) as opened:
        whole = request(BODY, signed(BODY))
        for before in (b"", whole):
            reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
            if before:
                writer.write(before)
                assert (await read_reply(reader)).status == 200
            again = request(BODY, signed(BODY))
            begun = again[:30] if part == "headers" else again[: -len(BODY)]
            writer.write(begun)
            dripping = asyncio.create_task(_drip(writer, again[len(begun) :]))
            reply = await asyncio.wait_for(read_reply(reader), 10)
            assert reply.status == 408
            dripping.cancel()
            writer.transport.abort()
            await asyncio.gather(dripping, return_exceptions=True)


async def test_when_there_are_too_many_the_idle_make_room(scene: Scene) -> None:
    """A crowd of connections that bring nothing fills the room; a good sender gets in, every time, and stays."""
    async with door(scene, webhook_connections_max=20, webhook_connections_per_address_max=20) as opened:
        good = opened.sender()
        assert (await good.hint(BODY)).status == 200
        crowd = [await asyncio.open_connection("127.0.0.1", opened.port) for _ in range(60)]
        assert (await good.hint(BODY)).status == 200
        assert (await opened.sender().hint(BODY)).status == 200
        await until_true(lambda: opened.count("producers_webhook_connections") <= 20, what="no more than there may be")
        assert opened.count('producers_webhook_connections_cut_total{cut="crowded"}') >= 41
        for _, writer in crowd:
            writer.transport.abort()


async def test_who_is_at_work_is_never_put_out(scene: Scene) -> None:
    """Where every connection has a proven request in hand, a newcomer is turned away, and they all are answered."""
    await scene.add_wallet(0)
    scene.horizon.faults.add(Fault(path_prefix=f"/accounts/{scene.account(0)}", delay_s=1.0, times=3))
    async with door(scene, webhook_connections_max=3) as opened:
        busy = [asyncio.create_task(opened.sender().hint(naming(scene.account(0)))) for _ in range(3)]
        await until_true(lambda: opened.count("producers_webhook_hints_total") == 3, what="they are at work")
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        writer.write(request(BODY, signed(BODY)))
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await read_reply(reader)
        writer.transport.abort()
        assert [(await each).status for each in busy] == [200] * 3


async def test_a_sender_that_reads_no_answers_is_cut(scene: Scene) -> None:
    """Thousands of requests in a row and not one answer taken: the connection ends, and its memory with it."""
    async with door(scene, webhook_rest_s=0.5, webhook_requests_per_address_per_s=100_000) as opened:
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)  # or the kernel would take megabytes for us
        narrow.connect(("127.0.0.1", opened.port))
        _reader, writer = await asyncio.open_connection(sock=narrow, limit=1)
        assert isinstance(writer.transport, asyncio.Transport)
        writer.transport.pause_reading()
        one = request(b"", {}, method="GET")
        writer.write(one * 40_000)
        await until_true(
            lambda: opened.count('producers_webhook_connections_cut_total{cut="rested"}') >= 1, what="it is cut"
        )
        assert (await opened.sender().hint(BODY)).status == 200
        writer.transport.abort()


@pytest.mark.parametrize("head", [b"expect: 100-continue\r\n", b""])
async def test_a_sender_that_hangs_up_is_no_bug(scene: Scene, head: bytes) -> None:
    """At any moment, also while it is told to go on: it is counted as gone, and nobody else notices."""
    first, rest = request(BODY, signed(BODY)).split(b"\r\n", 1)
    whole = first + b"\r\n" + head + rest
    async with door(scene, webhook_body_within_s=0.5) as opened:
        for number in range(60):
            _, writer = await asyncio.open_connection("127.0.0.1", opened.port)
            writer.write(whole[: -len(BODY)] if number % 2 else whole)
            for _ in range(number % 5):
                await asyncio.sleep(0)
            writer.transport.abort()
        await until_true(lambda: opened.count("producers_webhook_connections") == 0, what="all are gone")
        assert (await opened.sender().hint(BODY)).status == 200
        assert opened.outcomes("gone") > 0
        assert opened.outcomes("bug") == 0


async def _drip(writer: asyncio.StreamWriter, content: bytes) -> None:
    for byte in content:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)
