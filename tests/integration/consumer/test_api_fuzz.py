"""Thousands of requests that nobody would send: none is an error of ours, none is let in, and people notice nothing."""

import asyncio
import os
from dataclasses import replace
from random import Random
from typing import Final

import asyncpg
from aiohttp import ClientSession

from consumer.api.app import PATH
from tests.integration.consumer.api_house import MANNERS, ApiHouse, api_house
from tests.people import Person
from tests.signing import claims, encoded, token

REQUESTS: Final = int(os.environ.get("API_FUZZ_REQUESTS", "2000"))
SEED: Final = int(os.environ.get("API_FUZZ_SEED", "1"))
AT_ONCE: Final = 16
METHODS: Final = ("GET", "POST", "PUT", "HEAD", "OPTIONS", "TRACE", "get", "G\x00T", "POST" * 50, "")
PATHS: Final = (
    PATH,
    f"{PATH}/requests/",
    f"{PATH}/",
    "/",
    "/api",
    "/api/../metrics",
    "//",
    "*",
    "/%00",
    "/%ff",
    "http://x/",
)
QUERIES: Final = (
    "",
    "?wait=0",
    "?wait=-1",
    "?wait=1e9",
    "?wait=%00",
    "?wait=0&wait=0",
    "?" + "a" * 5000,
    "?%",
    "?wait=0.01",
)
NAMES: Final = (
    "Authorization", "Origin", "Content-Type", "Content-Length", "Transfer-Encoding", "Expect", "Host", "Cookie",
    "Content-Encoding", "X-Forwarded-For", "Connection", "Upgrade", "Range", "If-None-Match",
)  # fmt: skip
VALUES: Final = (
    "", "0", "-1", "1", "99999999999999999999", "chunked", "100-continue", "close", "keep-alive", "gzip", "h2c",
    "websocket", "application/json", "Bearer", "Bearer x.y.z", "\xff\xfe", "\x01", "'\";--", "null", "https://app.example.org",
)  # fmt: skip
STATUSES: Final = {"200", "202", "204", "400", "401", "403", "404", "405", "408", "413", "417", "429", "431"}


async def test_no_request_is_an_error_of_ours(
    database_url: str, connection: asyncpg.Connection, person: Person
) -> None:
    """Of bytes, of headers, of tokens, of paths: only statuses that are meant, and rows only of who may ask."""
    manners = replace(
        MANNERS, connections_max=200, per_address_max=200, headers_within_s=0.4, body_within_s=0.4, rest_s=0.4
    )
    async with api_house(database_url, connection, manners=manners, reads_per_minute=1) as house:
        random = Random(SEED)  # noqa: S311 - a search, repeated by its seed
        plans = iter([_request(random, person) for _ in range(REQUESTS)])
        seen: set[str] = set()

        async def work() -> None:
            for plan in plans:
                seen.update(await _send(house, plan))

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        assert seen <= STATUSES, seen - STATUSES
        assert seen >= {"400", "401", "404", "405"}
        async with ClientSession() as session:
            headers = {"Authorization": f"Bearer {token(claims(person.user_id))}"}
            async with session.get(house.url + PATH, headers=headers) as response:
                assert response.status == 200
        assert (
            await connection.fetchval("select count(*) from read_requests where wallet_id <> $1", person.wallet_id) == 0
        )


async def _send(house: ApiHouse, plan: bytes) -> set[str]:
    """The status of whatever is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.address.port)
    try:
        writer.write(plan)
        async with asyncio.timeout(30):
            said = await reader.read()
    except ConnectionError:
        return set()
    finally:
        writer.close()
    said = said.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    return {said.split(b" ", 2)[1].decode()} if said.startswith(b"HTTP/") else set()


def _request(random: Random, person: Person) -> bytes:
    """One request, bent somewhere; now and then bytes of no sense at all."""
    if random.random() < 0.1:
        return random.randbytes(random.randrange(300))
    method = random.choice(METHODS) if random.random() < 0.3 else random.choice(("GET", "POST"))
    path = random.choice(PATHS) if random.random() < 0.4 else PATH
    target = path + random.choice(QUERIES)
    lines = [f"{method} {target} HTTP/1.1", "Host: a"]
    if random.random() < 0.9:
        lines.append(f"Authorization: Bearer {_token(random, person)}")
    more = random.choice((0, 0, 1, 3, 150))
    lines += [f"{random.choice(NAMES)}: {random.choice(VALUES)}" for _ in range(more)]
    lines.append("Connection: close")
    body = random.randbytes(random.choice((0, 0, 10, 5000)))
    if body:
        lines.append(f"Content-Length: {len(body)}")
    raw = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body
    if random.random() < 0.2:
        place = random.randrange(len(raw))
        raw = raw[:place] + random.randbytes(1) + raw[place + random.randrange(2) :]
    return raw


def _token(random: Random, person: Person) -> str:
    """A true one now and then; else one that is not quite."""
    kind = random.randrange(6)
    if kind == 0:
        return token(claims(person.user_id))
    if kind == 1:
        return token(
            claims(person.user_id, **{random.choice(("exp", "aud", "sub", "role", "iss", "nbf")): _odd(random)})
        )
    if kind == 2:
        true = token(claims(person.user_id))
        place = random.randrange(len(true))
        return true[:place] + random.choice("Az-_.=09") + true[place + 1 :]
    header = {"alg": random.choice(("none", "HS256", "ES256", "")), "kid": random.choice(("a", "b", 7, None))}
    return f"{encoded(header)}.{encoded(claims(person.user_id))}.{encoded(random.randbytes(random.randrange(80)))}"


def _odd(random: Random) -> object:
    return random.choice((None, 0, -1, 1e300, 10**30, "", "x", [], {}, [None], True, "service_role", "\x00"))
