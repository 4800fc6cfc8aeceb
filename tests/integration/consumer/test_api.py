"""Who may see what of the API, and what else strangers send it; on a real PostgreSQL beside both real stores."""

from uuid import uuid4

import asyncpg
import pytest

from tests.integration.consumer.api_house import APP, ApiHouse, add_person_without_wallet
from tests.integration.consumer.conftest import Feed
from tests.people import Person, add_person
from tests.signing import claims, token

# Who may see what


async def test_nobody_sees_anything_of_anyone_else(house: ApiHouse, feed: Feed, connection: asyncpg.Connection) -> None:
    """Two people with wallets, balances and requests: each is told of their own alone, a guessed id is not found."""
    ada, bob = await add_person(connection), await add_person(connection)
    await feed.take(feed.event(ada, 1, 111), feed.event(bob, 1, 222))
    adas = (await house.read(ada)).body["request_id"]
    bobs = (await house.read(bob)).body["request_id"]
    assert adas != bobs
    for me, other, balance, theirs in ((ada, bob, "111.0000000", bobs), (bob, ada, "222.0000000", adas)):
        looked = await house.look(me)
        assert (looked["balance"], looked["account_id"]) == (balance, me.account_id)
        said = await house.ask("GET", f"/requests/{theirs}", person=me)
        assert (said.status, said.body["code"]) == (404, "no_request")
        assert other.account_id not in str(looked) + str(said)
    nobody = Person(user_id=uuid4(), wallet_id=uuid4(), account_id=ada.account_id)
    assert (await house.ask("GET", f"/requests/{adas}", person=nobody)).status == 404


async def test_who_has_no_wallet_is_told_so(house: ApiHouse, connection: asyncpg.Connection) -> None:
    """Not signed up, signed up without a wallet, a wallet without an address, one on the other network: 404."""
    without = await add_person_without_wallet(connection)
    elsewhere = await add_person(connection, network="mainnet")
    bare = await add_person(connection)
    await connection.execute("update stellar_wallets set public_key = null where id = $1", bare.wallet_id)
    for user_id in (uuid4(), without, elsewhere.user_id, bare.user_id):
        person = Person(user_id=user_id, wallet_id=uuid4(), account_id=bare.account_id)
        for method in ("GET", "POST"):
            said = await house.ask(method, person=person)
            assert (said.status, said.body["code"]) == (404, "no_wallet")
    assert await connection.fetchval("select count(*) from read_requests") == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "no_token"),
        ({"Authorization": "Basic YWRhOmFkYQ=="}, "no_token"),
        ({"Authorization": "Bearer"}, "no_token"),
        ({"Authorization": "Bearer "}, "no_token"),
        ({"Authorization": "Bearer nonsense"}, "malformed_token"),
        ({"Authorization": f"Bearer {'a' * 9000}"}, "malformed_token"),
        ({"Authorization": "Bearer \xe4\xf6\xfc"}, "malformed_token"),
        ({"Authorization": f"Bearer {token(claims(role='service_role'))}"}, "wrong_role"),
        ({"Authorization": f"Bearer {token(claims(exp=1))}"}, "expired_token"),
        ({"Authorization": f"Bearer {token(name='forged')}"}, "unknown_token"),
        ({"Cookie": f"sb-access-token={token()}"}, "no_token"),
        ({"apikey": token()}, "no_token"),
    ],
    ids=[
        "nothing",
        "basic",
        "bearer of none",
        "blank",
        "nonsense",
        "long",
        "umlauts",
        "service",
        "expired",
        "forged",
        "cookie",
        "apikey",
    ],
)
async def test_without_a_persons_token_nothing(
    house: ApiHouse, method: str, headers: dict[str, str], code: str
) -> None:
    """401, how to come in, and what is wrong; nothing of what is there."""
    for path in ("", "?wait=5", f"/requests/{uuid4()}"):
        if method == "POST" and path.startswith("/requests"):
            continue
        said = await house.ask(method, path, headers=headers)
        assert (said.status, said.body["code"]) == (401, code)
        challenge = said.headers["WWW-Authenticate"]
        assert challenge.startswith('Bearer realm="auto-deposit"')
        assert ("invalid_token" in challenge) == (code != "no_token")


async def test_a_token_in_the_address_is_no_token(house: ApiHouse, person: Person) -> None:
    """Addresses stand in logs."""
    said = await house.ask("GET", f"?access_token={token(claims(person.user_id))}")
    assert said.status == 401


# What else comes in


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "HEAD", "TRACE", "PROPFIND"])
async def test_other_methods_are_not_taken(house: ApiHouse, person: Person, method: str) -> None:
    """405, with those that are."""
    said = await house.ask(method, person=person)
    assert said.status == 405
    assert set(said.headers["Allow"].split(",")) == {"GET", "OPTIONS", "POST"}
    assert (await house.ask(method)).status == 405


async def test_every_answer_is_kept_nowhere(house: ApiHouse, person: Person) -> None:
    """Whatever its status: it is one person's."""
    for said in (
        await house.ask("GET", person=person),
        await house.ask("POST", person=person),
        await house.ask("GET"),
        await house.ask("GET", "/api/elsewhere"),
        await house.ask("PUT"),
    ):
        assert said.headers["Cache-Control"] == "no-store"
        assert said.headers["X-Content-Type-Options"] == "nosniff"
        assert "aiohttp" not in said.headers["Server"]


async def test_only_pages_of_named_origins_may_ask(house: ApiHouse, person: Person) -> None:
    """Their preflight is answered, and their answers may be read; a page of another origin gets neither."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for path in ("", f"/requests/{uuid4()}"):
        good = await house.ask("OPTIONS", path, headers={"Origin": APP, **asked})
        assert good.status == 204
        assert good.headers["Access-Control-Allow-Origin"] == APP
        assert "Authorization" in good.headers["Access-Control-Allow-Headers"]
        assert "POST" in good.headers["Access-Control-Allow-Methods"]
        assert "Access-Control-Allow-Credentials" not in good.headers
    for origin in ("https://evil.example", "null", APP + ".evil.example", "https://APP.example.org", "*"):
        bad = await house.ask("OPTIONS", headers={"Origin": origin, **asked})
        assert bad.status == 403
        said = await house.ask("GET", person=person, headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in {**bad.headers, **said.headers}
        assert said.headers["Vary"] == "Origin"
    for person_or_none in (person, None):
        said = await house.ask("GET", person=person_or_none, headers={"Origin": APP})
        assert said.headers["Access-Control-Allow-Origin"] == APP
        assert "Location" in said.headers["Access-Control-Expose-Headers"]
