"""Time at the door of each service: whoever takes too long is told so or cut, and who is good is not."""

import asyncio
import contextlib
import socket

import pytest

from tests.integration.doors import HOST, LATE_S, OpenDoor
from tests.integration.producers.scene import until_true
from tests.webhook_senders import Reply, read_reply


async def ending(reader: asyncio.StreamReader) -> list[Reply]:
    """What is answered until the connection ends."""
    replies = []
    async with asyncio.timeout(LATE_S):
        while not reader.at_eof():
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                replies.append(await read_reply(reader))
    return replies


async def test_each_part_of_a_request_has_its_time(open_door: OpenDoor) -> None:
    """No byte, half a header, half a body: 408, a problem, and the end. Silence after an answer: the end. A rest may be
    longer than headers may take.
    """
    async with open_door(headers_within_s=0.3, body_within_s=0.3, rest_s=1.5) as door:
        whole = door.good(900)
        for sent, statuses in ((b"", [408]), (whole[:40], [408]), (whole[:-5], [408]), (whole, [200])):
            async with door.connected() as [(reader, writer)]:
                writer.write(sent)
                replies = await ending(reader)
            assert [reply.status for reply in replies] == statuses, sent
            if statuses == [408]:
                assert replies[0].headers["content-type"] == "application/problem+json"
                assert replies[0].json["code"] == door.codes[408]
                assert replies[0].json["where"] == ("body" if sent == whole[:-5] else "headers")
        async with door.connected() as [(reader, writer)]:
            for _ in range(3):
                writer.write(door.good())
                assert (await read_reply(reader)).status == 200
                await asyncio.sleep(0.4)
        assert door.cut("slow") == 2
        assert door.cut("rested") >= 1


@pytest.mark.parametrize("part", ["headers", "body"])
async def test_dripping_does_not_buy_time(open_door: OpenDoor, part: str) -> None:
    """A byte now and then does not move the deadline, on the first request or a later one of the connection."""
    async with open_door(headers_within_s=0.4, body_within_s=0.4) as door:
        for before in (b"", door.good()):
            async with door.connected() as [(reader, writer)]:
                if before:
                    writer.write(before)
                    assert (await read_reply(reader)).status == 200
                again = door.good(900)
                begun = again[:30] if part == "headers" else again[:-899]
                writer.write(begun)
                dripping = asyncio.create_task(drip(writer, again[len(begun) :]))
                reply = await asyncio.wait_for(read_reply(reader), LATE_S)
                assert (reply.status, reply.json["where"]) == (408, part)
                dripping.cancel()
                await asyncio.gather(dripping, return_exceptions=True)


async def test_a_sender_that_reads_no_answers_is_cut(open_door: OpenDoor) -> None:
    """Thousands of requests in a row and not one answer taken: the connection ends, and its memory with it."""
    async with open_door(rest_s=0.5) as door:
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)  # or the kernel would take megabytes for us
        narrow.connect((HOST, door.port))
        _reader, writer = await asyncio.open_connection(sock=narrow, limit=1)
        assert isinstance(writer.transport, asyncio.Transport)
        writer.transport.pause_reading()
        writer.write(door.unproven * 12_000)
        await until_true(lambda: door.cut("rested") >= 1, what="it is cut")
        assert door.refusals() < 12_000
        assert (await door.say(door.good(connection="close"))).startswith(b"HTTP/1.1 200 ")
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.mark.parametrize("expect", [{"expect": "100-continue"}, {}])
async def test_a_sender_that_hangs_up_is_no_bug(open_door: OpenDoor, expect: dict[str, str]) -> None:
    """At any moment, also while it is told to go on: nothing is left of it, and nobody else notices."""
    async with open_door(body_within_s=0.5) as door:
        whole = door.good(900, **expect)
        for number in range(60):
            async with door.connected() as [(_, writer)]:
                writer.write(whole[:-300] if number % 2 else whole)
                for _ in range(number % 5):
                    await asyncio.sleep(0)
        await until_true(lambda: door.connections() == 0, what="all are gone")
        assert (await door.say(door.good(connection="close"))).startswith(b"HTTP/1.1 200 ")
        assert door.bugs() == 0


async def test_a_stop_answers_what_is_in_hand_and_waits_for_nobody_else(open_door: OpenDoor) -> None:
    """While it stops: who is in hand is answered, nobody new is let in, and idle and dripping connections hold up
    nothing.
    """
    async with (
        open_door(headers_within_s=LATE_S, body_within_s=2.0, rest_s=LATE_S, stop_within_s=5.0) as door,
        door.connected(5) as idle,
        door.connected() as [(reader, writer)],
    ):
        for _, silent in idle[:3]:
            silent.write(b"POST / HT")
        writer.write(door.held())
        await until_true(lambda: door.in_hand() == 1, what="it is in hand")
        began_s = asyncio.get_running_loop().time()
        await door.stop()
        assert asyncio.get_running_loop().time() - began_s < LATE_S / 2
        assert (await read_reply(reader)).status in (200, 202)  # 202: it is not done, and said so
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, door.port)
        for each, _ in idle:
            assert await ending(each) == []


async def drip(writer: asyncio.StreamWriter, content: bytes) -> None:
    for byte in content:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)
