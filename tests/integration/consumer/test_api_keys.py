"""The keys of people's tokens: read from a file or an address, read again, and kept while they cannot be had."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from consumer.api import keys as api_keys
from consumer.api.keys import BYTES_MAX, KeyRing, Unread, from_file, from_url
from consumer.api.tokens import BadKeys
from schema.service.readiness import Readiness
from tests.signing import jwk, jwks
from tests.waiting import until


class Publisher:
    """Where a project publishes its keys: as it is told."""

    def __init__(self) -> None:
        self.content = jwks(jwk("ES256", "a"))
        self.status = 200
        self.asked = 0
        self.holds = asyncio.Event()
        self.holds.set()
        self.url = ""

    async def serve(self, _request: web.Request) -> web.Response:
        self.asked += 1
        await self.holds.wait()
        headers = {"Location": self.url} if self.status == 302 else {}
        return web.Response(status=self.status, body=self.content, headers=headers)


@pytest.fixture
async def publisher() -> AsyncIterator[Publisher]:
    """An HTTP server with the keys."""
    publisher = Publisher()
    app = web.Application()
    app.add_routes([web.get("/auth/v1/.well-known/jwks.json", publisher.serve)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    publisher.url = f"http://127.0.0.1:{runner.addresses[0][1]}/auth/v1/.well-known/jwks.json"
    yield publisher
    publisher.holds.set()
    await runner.cleanup()


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


async def test_keys_are_read_and_then_all_is_ready(publisher: Publisher, http: ClientSession) -> None:
    """Not ready before, and not by a set that cannot be used; ready from the first good one on."""
    readiness = Readiness()
    ring = KeyRing(from_url(http, publisher.url), secret=None, readiness=readiness)
    assert set(readiness.reasons()) == {"keys"}
    good, publisher.content = publisher.content, b'{"keys": []}'
    with pytest.raises(BadKeys):
        await ring.look()
    assert (ring.are_there, set(readiness.reasons())) == (False, {"keys"})
    publisher.content = good
    await ring.look()
    assert (ring.are_there, dict(readiness.reasons())) == (True, {})
    assert set(ring.keys.public) == {"a"}


async def test_without_an_address_only_the_secret_counts() -> None:
    """A project with the old secret alone is ready at once, and asks nobody."""
    readiness = Readiness()
    ring = KeyRing(None, secret="s" * 32, readiness=readiness)
    await ring.look()
    await ring.look_for_new()
    await ring.run()
    assert (ring.are_there, dict(readiness.reasons()), ring.keys.secret) == (True, {}, "s" * 32)


@pytest.mark.parametrize(
    ("status", "content"), [(500, b""), (404, b"{}"), (302, b""), (200, b"x" * (BYTES_MAX + 1)), (200, b"<html>")]
)
async def test_the_last_good_keys_stay(publisher: Publisher, http: ClientSession, status: int, content: bytes) -> None:
    """Whatever comes instead of keys: an error, a redirect, a page, too much. What is known goes on being good."""
    readiness = Readiness()
    ring = KeyRing(from_url(http, publisher.url), secret=None, readiness=readiness)
    await ring.look()
    publisher.status, publisher.content = status, content
    with pytest.raises((Unread, BadKeys)):
        await ring.look()
    assert set(ring.keys.public) == {"a"}
    assert not readiness.reasons()


@pytest.mark.parametrize("content", [b'{"keys": []}', jwks({"kty": "EC", "crv": "P-384", "kid": "a"})])
async def test_a_set_without_keys_withdraws_those_of_before(
    publisher: Publisher, http: ClientSession, content: bytes
) -> None:
    """Whoever has a key that its project took back signs in as nobody, though no other came instead."""
    readiness = Readiness()
    ring = KeyRing(from_url(http, publisher.url), secret=None, readiness=readiness)
    await ring.look()
    publisher.content = content
    running = asyncio.create_task(ring.run())
    await until(lambda: _true(set(readiness.reasons()) == {"keys"}), "the page says that there are none")
    assert (ring.are_there, dict(ring.keys.public)) == (False, {})
    running.cancel()


async def test_a_project_that_signs_with_its_secret_publishes_no_keys(
    publisher: Publisher, http: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are set before it changes over: the empty set is all there is to read, and everything is ready. It stays so
    while the address is away; and the first key that is published counts.
    """
    monkeypatch.setattr(api_keys, "REFRESH_EVERY_S", 0.02)
    monkeypatch.setattr(api_keys, "RETRY_S", 0.02)
    readiness = Readiness()
    ring = KeyRing(from_url(http, publisher.url), secret="s" * 32, readiness=readiness)
    good, publisher.content = publisher.content, b'{"keys": []}'
    running = asyncio.create_task(ring.run())
    await until(lambda: _true(not readiness.reasons()), "it is ready")
    assert (ring.are_there, ring.keys.secret) == (True, "s" * 32)
    publisher.status = 503
    asked = publisher.asked
    await until(lambda: _true(publisher.asked > asked + 2), "it goes on trying")
    assert (ring.are_there, dict(readiness.reasons())) == (True, {})
    publisher.status, publisher.content = 200, good
    await until(lambda: _true(set(ring.keys.public) == {"a"}), "the new key is read")
    running.cancel()


async def test_an_address_that_is_silent_is_given_up(
    publisher: Publisher, http: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within its deadline; and one where nobody is at once."""
    monkeypatch.setattr(api_keys, "WITHIN_S", 0.2)
    publisher.holds.clear()
    with pytest.raises(Unread, match="TimeoutError"):
        await from_url(http, publisher.url)()
    with pytest.raises(Unread):
        await from_url(http, "http://127.0.0.1:1/keys")()


async def test_a_new_key_is_looked_for_but_not_all_the_time(
    publisher: Publisher, http: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many tokens with an unknown key cause one look, and the next only a while later: forgers cannot make us ask."""
    ring = KeyRing(from_url(http, publisher.url), secret=None, readiness=Readiness())
    publisher.content = jwks(jwk("ES256", "a"), jwk("ES256", "b"))
    publisher.holds.clear()
    looking = [asyncio.create_task(ring.look_for_new()) for _ in range(50)]
    await until(lambda: _true(publisher.asked == 1), "one of them asks")
    looking[0].cancel()  # whoever goes away does not end it for the others
    publisher.holds.set()
    await asyncio.gather(*looking, return_exceptions=True)
    assert set(ring.keys.public) == {"a", "b"}
    for _ in range(50):
        await ring.look_for_new()
    assert publisher.asked == 1
    monkeypatch.setattr(api_keys, "UNKNOWN_AGAIN_S", 0.0)
    await ring.look_for_new()
    assert publisher.asked == 2


async def test_keys_are_read_again_by_themselves(
    publisher: Publisher, http: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was withdrawn is gone after a while; a failure is followed by another try soon, not by the end."""
    monkeypatch.setattr(api_keys, "REFRESH_EVERY_S", 0.02)
    monkeypatch.setattr(api_keys, "RETRY_S", 0.02)
    ring = KeyRing(from_url(http, publisher.url), secret=None, readiness=Readiness())
    running = asyncio.create_task(ring.run())
    await until(lambda: _true(set(ring.keys.public) == {"a"}), "they are read")
    publisher.status = 503
    asked = publisher.asked
    await until(lambda: _true(publisher.asked > asked + 2), "it goes on trying")
    assert set(ring.keys.public) == {"a"}
    publisher.status, publisher.content = 200, jwks(jwk("EdDSA", "c"))
    await until(lambda: _true(set(ring.keys.public) == {"c"}), "the new ones are read")
    running.cancel()


async def test_a_file_is_read_with_its_limit(tmp_path: Path) -> None:
    """A set from a file; one that is not there, is a folder, or is too large, is named."""
    file = tmp_path / "jwks.json"
    with pytest.raises(Unread, match=r"jwks\.json: No such file"):
        await from_file(str(file))()
    with pytest.raises(Unread, match="directory"):
        await from_file(str(tmp_path))()
    file.write_bytes(jwks(jwk("ES256", "a")))
    assert await from_file(str(file))() == file.read_bytes()
    file.write_bytes(b"x" * (BYTES_MAX + 1))
    with pytest.raises(Unread, match=f"more than {BYTES_MAX} bytes"):
        await from_file(str(file))()


async def _true(condition: object) -> object:
    return condition
