"""Room at the door of each service: whoever only sits there makes way, who is at work never does."""

import contextlib
from ipaddress import ip_network

from tests.integration.doors import OpenDoor, status_of
from tests.integration.producers.scene import until_true
from tests.webhook_senders import read_reply

LONG = {"headers_within_s": 60.0, "body_within_s": 60.0, "rest_s": 60.0}


async def test_when_there_are_too_many_the_idle_make_room(open_door: OpenDoor) -> None:
    """A crowd of connections that bring nothing fills the room; a good sender gets in, every time, and stays."""
    async with (
        open_door(connections_max=20, per_address_max=20, **LONG) as door,
        door.connected() as [(reader, writer)],
    ):
        writer.write(door.good())
        assert (await read_reply(reader)).status == 200
        async with door.connected(60):
            for _ in range(5):
                assert status_of(await door.say(door.good(connection="close"))) == 200
            assert door.connections() <= 20
            assert door.cut("crowded") >= 41
            writer.write(door.good())
            assert (await read_reply(reader)).status == 200


async def test_bodies_in_drips_keep_nobody_out(open_door: OpenDoor) -> None:
    """With every place taken by a body that does not come, however well its header proves itself, there is room."""
    async with open_door(connections_max=20, per_address_max=20, **LONG) as door, door.connected(20) as slow:
        for _, writer in slow:
            writer.write(door.good(900)[:-100])
            await writer.drain()
        for _ in range(5):
            assert status_of(await door.say(door.good(connection="close"))) == 200


async def test_whoever_proves_nothing_goes_first(open_door: OpenDoor) -> None:
    """Of two that rest, a stranger's goes though it asked later: what it asked proved nothing."""
    async with (
        open_door(connections_max=2, per_address_max=2, **LONG) as door,
        door.connected() as [(good_reader, good)],
        door.connected() as [(strange_reader, stranger)],
    ):
        good.write(door.good())
        assert (await read_reply(good_reader)).status == 200
        stranger.write(door.unproven)
        assert (await read_reply(strange_reader)).status == 401
        assert status_of(await door.say(door.good(connection="close"))) == 200
        with contextlib.suppress(ConnectionError):
            assert await strange_reader.read() == b""
        good.write(door.good())
        assert (await read_reply(good_reader)).status == 200


async def test_who_is_at_work_is_never_put_out(open_door: OpenDoor) -> None:
    """Where every connection has a request in hand, a newcomer is turned away, and they all are answered."""
    async with open_door(connections_max=3, per_address_max=3, **LONG) as door, door.connected(3) as busy:
        for _, writer in busy:
            writer.write(door.held())
        await until_true(lambda: door.in_hand() == 3, what="they are at work")
        with contextlib.suppress(ConnectionError):
            assert await door.say(door.good()) == b""
        assert door.cut("crowded") == 1
        await door.release()
        assert [(await read_reply(reader)).status for reader, _ in busy] == [200] * 3


async def test_an_address_makes_room_for_itself(open_door: OpenDoor) -> None:
    """Beyond its own number an address loses its own connections, and nobody else's."""
    async with (
        open_door(connections_max=50, per_address_max=5, **LONG) as door,
        door.connected(5, local="127.0.0.7") as others,
        door.connected(20),
    ):
        await until_true(lambda: door.cut("crowded") == 15, what="all but five are cut")
        for reader, writer in others:
            writer.write(door.good())
            assert (await read_reply(reader)).status == 200


async def test_our_own_proxies_bring_everybodys_connections(open_door: OpenDoor) -> None:
    """They have no number of their own."""
    trusted = (ip_network("127.0.0.0/8"),)
    async with (
        open_door(connections_max=50, per_address_max=5, trusted=trusted, **LONG) as door,
        door.connected(20),
    ):
        await until_true(lambda: door.connections() == 20, what="all of them are in")
        assert door.cut("crowded") == 0
