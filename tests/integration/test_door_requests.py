"""What may be sent to the door of each service, and what is said to the rest: a problem, with nothing quoted."""

import asyncio
import gzip

import orjson
import pytest

from tests.integration.doors import Doorway, OpenDoor, status_of
from tests.integration.producers.scene import until_true
from tests.webhook_senders import read_reply, request

PRIVATE = "what-nobody-may-see"


def problem_of(said: bytes) -> dict[str, object]:
    """The problem in an answer, which must be whole, and ours."""
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert b"no-store" in head
    assert b"aiohttp" not in head
    found: dict[str, object] = orjson.loads(body)
    assert found["status"] == status_of(said)
    assert found["title"]
    assert found["detail"]
    return found


async def test_a_body_has_its_size(open_door: OpenDoor) -> None:
    """By what its header says, or by what comes; and up to it all is well."""
    async with open_door() as door:
        most = door.body_bytes_max
        assert status_of(await door.say(door.good(most, connection="close"))) == 200
        head = door.good(most).partition(b"\r\n\r\n")[0]
        length = b"content-length: %d" % most
        said = [
            await door.say(door.good(most + 1)),
            await door.say(head.replace(length, b"content-length: 99999999999999") + b"\r\n\r\n"),
            await door.say(
                head.replace(length, b"transfer-encoding: chunked")
                + b"\r\n\r\n"
                + b"400\r\n%b\r\n" % (b" " * 1024) * (most // 1024 + 1)
                + b"0\r\n\r\n"
            ),
        ]
        assert [status_of(each) for each in said] == [413] * 3
        for each in said:
            problem = problem_of(each)
            assert (problem["code"], problem["where"]) == (door.codes[413], "body")
            assert str(most) in str(problem["expected"])


async def test_what_is_packed_is_not_unpacked(open_door: OpenDoor) -> None:
    """The bytes that come are what counts: a bomb is as large as it was sent."""
    bomb = gzip.compress(b" " * 1_000_000)
    async with open_door() as door:
        assert len(bomb) < door.body_bytes_max
        headers = {"content-encoding": "gzip", "connection": "close"}
        head = door.good(len(bomb), **headers).partition(b"\r\n\r\n")[0]
        said = await door.say(head + b"\r\n\r\n" + bomb)
        assert status_of(said) == (200 if door.name == "api" else 415)


NO_HTTP = (
    b"nonsense\r\n\r\n",
    b"\x00\x01\x02\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: a\r\nauthorization %b\r\n\r\n" % PRIVATE.encode(),
    b"GET / HTTP/1.1\r\nhost: a\r\n%b\x00: a\r\n\r\n" % PRIVATE.encode(),
    b"GET /%b HTTP/1.1\r\nhost: a\r\n\r\n" % (b"a" * 9_000),
    b"GET / HTTP/1.1\r\nhost: a\r\nx: %b\r\n\r\n" % (b"x" * 17_000),
    b"GET / HTTP/1.1\r\nhost: a\r\n%b\r\n" % b"".join(b"x%d: y\r\n" % number for number in range(70)),
    b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
)


async def test_what_is_no_http_is_a_problem(open_door: OpenDoor, capsys: pytest.CaptureFixture[str]) -> None:
    """Nonsense, lines and headers that are too long or too many, lengths that contradict each other: 400 and the end of
    the connection; nothing of it is quoted, in the answer or in the log.
    """
    async with open_door() as door:
        for number, sent in enumerate(NO_HTTP):
            said = await door.say(sent)
            assert status_of(said) == 400, sent[:100]
            assert problem_of(said)["code"] == door.codes[400]
            assert PRIVATE.encode() not in said
            assert refused(door, 400) == number + 1
    assert PRIVATE not in "".join(capsys.readouterr())


async def test_a_body_that_is_broken_is_a_problem(open_door: OpenDoor) -> None:
    """Chunks that are none: 400 where they come with their header, and else they are a body that does not come."""
    async with open_door(body_within_s=0.3) as door:
        head = door.good().partition(b"\r\n\r\n")[0]
        lines = [line for line in head.split(b"\r\n") if not line.startswith(b"content-length")]
        chunked = b"\r\n".join([*lines, b"transfer-encoding: chunked", b"", b""])
        for parts, status in (((chunked + b"zz\r\nxx",), 400), ((chunked, b"zz\r\nxx"), 408)):
            said = await door.say(*parts, pause_s=0.1)
            assert (status_of(said), problem_of(said)["code"]) == (status, door.codes[status])


async def test_headers_may_be_as_long_as_tokens_are(open_door: OpenDoor) -> None:
    """One of 15 KiB, and sixty of them, are taken."""
    async with open_door() as door:
        many = {f"x-{number}": "y" for number in range(50)}
        for headers in (many, {"x-long": "x" * 15_000}):
            assert status_of(await door.say(door.good(connection="close", **headers))) == 200


@pytest.mark.parametrize("before", ["", "a request"])
@pytest.mark.parametrize("how", ["whole", "without end", "in parts"])
async def test_headers_have_a_size_in_all(open_door: OpenDoor, how: str, before: str) -> None:
    """64 KiB: else each of hundreds of strangers could have us hold a megabyte. More is refused when it is there, not
    when its time is over; up to it all is well.
    """
    async with open_door() as door:
        fits = {f"x-{number}": "y" * 15_000 for number in range(4)}
        assert status_of(await door.say(door.good(connection="close", **fits))) == 200
        whole = door.good(**{f"x-{number}": "y" * 15_000 for number in range(10)})
        sent = {"whole": [whole], "without end": [whole[:140_000]], "in parts": [whole[:40_000], whole[40_000:90_000]]}
        async with door.connected() as [(reader, writer)]:
            if before:
                writer.write(door.good())
                assert (await read_reply(reader)).status == 200
            for part in sent[how]:
                writer.write(part)
                await writer.drain()
            reply = await asyncio.wait_for(read_reply(reader), 5)
            assert (reply.status, reply.json["code"], reply.json["where"]) == (400, door.codes[400], "headers")
            assert await asyncio.wait_for(reader.read(), 5) == b""
        assert door.bugs() == 0


async def test_what_is_not_expected_of_us_is_refused(open_door: OpenDoor) -> None:
    """Expect is 100-continue or nothing, whatever bytes it holds and whether the address is there; it is not quoted."""
    async with open_door() as door:
        for expected in ("\xff\xfe", "200-ok", PRIVATE, "100-continue, x"):
            for whole in (door.good(900), request(b"x", {}, path="/nowhere")):
                said = await door.say(whole.replace(b"host:", b"expect: %b\r\nhost:" % expected.encode("latin-1"), 1))
                assert problem_of(said)["code"] == door.codes[417]
                assert PRIVATE.encode() not in said
        for whole, status in ((door.good(), 200), (request(b"x", {}, path="/nowhere"), 404)):
            said = await door.say(whole.replace(b"host:", b"connection: close\r\nexpect: \r\nhost:", 1))
            assert status_of(said) == status


async def test_who_waits_for_a_word_is_told_once_to_go_on(open_door: OpenDoor) -> None:
    """100 Continue, then the answer. Nothing of it in HTTP/1.0, which does not know it."""
    async with open_door() as door:
        for said in ("100-continue", "100-Continue"):
            head, _, body = door.good(900, expect=said, connection="close").partition(b"\r\n\r\n")
            async with door.connected() as [(reader, writer)]:
                writer.write(head + b"\r\n\r\n")
                assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
                writer.write(body)
                assert status_of(await reader.read()) == 200
        old = door.good(900, expect="100-continue").replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        assert (await door.say(old)).startswith(b"HTTP/1.0 200 ")


async def test_what_is_not_there_or_not_done_is_a_problem(open_door: OpenDoor) -> None:
    """Another address, another method, no proof, and a method without an address, which aiohttp cannot read."""
    async with open_door() as door:
        for sent, status in (
            (request(b"", {"connection": "close"}, method=door.method, path="/nowhere"), 404),
            (b"CONNECT  \r\nhost: x\r\nconnection: close\r\n\r\n", 404),
            (request(b"", {"connection": "close"}, method=door.other_method, path=door.path), 405),
            (door.unproven.replace(b"host:", b"connection: close\r\nhost:", 1), 401),
        ):
            said = await door.say(sent)
            assert (status_of(said), bool(problem_of(said))) == (status, True)
            assert (b"\r\nAllow: " in said) == (status == 405)


async def test_many_requests_on_one_connection_are_answered_in_order(open_door: OpenDoor) -> None:
    """Sent at once, each has its answer, good and bad ones in between."""
    async with open_door() as door, door.connected() as [(reader, writer)]:
        writer.write(b"".join(door.good() + door.unproven for _ in range(20)))
        statuses = [(await read_reply(reader)).status for _ in range(40)]
        assert statuses == [200, 401] * 20
        writer.transport.abort()
        await until_true(lambda: door.connections() == 0, what="it is gone")


def refused(door: Doorway, status: int) -> float:
    """How many of the door's own problems were counted."""
    if door.name == "api":
        return door.count("requests_total", route="none", code=str(status))
    return door.count("requests_total", outcome=door.codes[status])
