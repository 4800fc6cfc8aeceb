"""Webhooks from the socket to the topic: what leads to a fact, what leads to nothing, and what is said about it."""

import asyncio
from collections.abc import Sequence

import orjson
import pytest

from producers.webhook.answers import Outcome
from sandbox.horizon_faults import Fault
from schema.balance_event import SnapshotType
from tests.integration.producers.scene import UNIT, Scene, until_true
from tests.integration.producers.webhook_scene import Open, door, told
from tests.people import account_id
from tests.webhook_senders import (
    OTHER_SECRET,
    PATH,
    SHARED,
    STRANGE_SECRET,
    Reply,
    naming,
    request,
    signed,
)

JSON = {"content-type": "application/json"}


async def test_a_signed_hint_leads_to_a_fact_of_type_webhook(scene: Scene) -> None:
    """The state is read, told with the payments since the stored version, acked, and then the answer says so."""
    await told(scene, 0)
    scene.pay(0, 50)
    scene.close()
    async with door(scene) as opened:
        reply = await opened.sender().hint(naming(scene.account(0), account_id("a stranger")))
        assert (reply.status, reply.json) == (
            200,
            {"tracked": 1, "untracked": 1, "published": 1, "unchanged": 0, "refused": 0},
        )
        [fact] = await scene.facts_of(0)  # it was acked before the answer
        assert fact.snapshot_type is SnapshotType.WEBHOOK
        assert fact.balance_stroops == 150 * UNIT
        assert [each.amount_stroops for each in fact.movements or ()] == [50 * UNIT]
        assert opened.reads() == 1
        assert opened.count("producers_webhook_hints_total") == opened.count("producers_webhook_ignored_total") == 1
    assert await scene.connection.fetchval("select count(*) from public.webhook_ids") == 1


async def test_a_hint_is_never_believed(scene: Scene) -> None:
    """A record that claims a payment which never was leads to a read, which finds nothing new: no fact."""
    await told(scene, 0)
    scene.close()
    record = {
        "id": str(scene.chain.latest.sequence << 32 | 4097),
        "type": "payment",
        "transaction_hash": "ab" * 32,
        "to": scene.account(0),
        "amount": "1000000.0000000",
    }
    async with door(scene) as opened:
        reply = await opened.sender().hint(orjson.dumps(record))
        assert reply.json == {"tracked": 1, "untracked": 0, "published": 0, "unchanged": 1, "refused": 0}
        assert opened.reads() == 1
    assert await scene.facts_of(0) == []


@pytest.mark.parametrize("case", ["unsigned", "strange", "old", "future", "tampered", "bearer", "empty bearer"])
async def test_what_is_not_proved_never_leads_to_a_read(scene: Scene, case: str) -> None:
    """401, nothing is read, nothing is told, nothing is remembered."""
    await told(scene, 0)
    scene.pay(0, 50)
    scene.close()
    body = naming(scene.account(0))
    headers = {
        "unsigned": JSON,
        "strange": signed(body, secret=STRANGE_SECRET),
        "old": signed(body, age_s=330),
        "future": signed(body, age_s=-330),
        "tampered": signed(naming(scene.account(1))),
        "bearer": JSON | {"authorization": f"Bearer {SHARED}x"},
        "empty bearer": JSON | {"authorization": "Bearer "},
    }[case]
    async with door(scene) as opened:
        reply = await opened.sender().send(request(body, headers))
        assert reply.status == 401
        assert reply.json["status"] == 401
        assert reply.json["where"]
        assert reply.json["expected"]
        assert SHARED not in reply.body.decode()
        assert opened.reads() == 0
        assert opened.outcomes("unauthorized") == 1
    assert await scene.facts_of(0) == []
    assert await scene.connection.fetchval("select count(*) from public.webhook_ids") == 0


async def test_a_replay_is_refused_for_ever(scene: Scene) -> None:
    """The same id again, the same bytes or signed anew, at once or by another process after a restart: 409, no read."""
    await told(scene, 0)
    body = naming(scene.account(0))
    headers = signed(body, webhook_id="msg_once")
    async with door(scene) as opened:
        sender = opened.sender()
        assert (await sender.send(request(body, headers))).status == 200
        for again in (
            headers,
            signed(body, webhook_id="msg_once"),
            signed(body, webhook_id="msg_once", secret=OTHER_SECRET),
        ):
            assert (await sender.send(request(body, again))).status == 409
        assert opened.reads() == 1
        assert opened.outcomes("replay") == 3
    async with door(scene) as opened:
        reply = await opened.sender().hint(naming(scene.account(1)), webhook_id="msg_once")
        assert reply.status == 409
        assert opened.reads() == 0


async def test_of_one_id_at_once_one_is_done(scene: Scene) -> None:
    """A sender that loses patience and sends the id again while it is in hand: one is done, the others hear so."""
    await told(scene, 0)
    body = naming(scene.account(0))
    async with door(scene) as opened:
        replies = await asyncio.gather(*(opened.sender().hint(body, webhook_id="msg_once") for _ in range(8)))
        assert sorted(reply.status for reply in replies) == [200] + [409] * 7
        assert opened.reads() == 1


async def test_a_database_webhook_with_the_shared_secret(scene: Scene) -> None:
    """Supabase's body for an inserted row: the wallet is read, and as its first sight told as its baseline."""
    await scene.add_wallet(0)
    row = {"id": 1, "public_key": scene.account(0), "network": "testnet"}
    change = {"type": "INSERT", "table": "stellar_wallets", "schema": "public", "record": row, "old_record": None}
    body = orjson.dumps(change)
    async with door(scene) as opened:
        for _ in range(2):  # it has no id: said twice it is done twice, and the fact is the same
            reply = await opened.sender().send(request(body, JSON | {"authorization": f"Bearer {SHARED}"}))
            assert (reply.status, reply.json["published"]) == (200, 1)
    first, second = await scene.until(lambda facts: len(facts) == 2, what="both are told")
    assert (first.snapshot_type, first.event_id) == (SnapshotType.POLL, second.event_id)
    assert await scene.connection.fetchval("select count(*) from public.webhook_ids") == 0


async def test_strangers_and_the_other_network_cost_no_request(scene: Scene) -> None:
    """Accounts that nobody tracks on our network are counted, and the chain is not asked."""
    await scene.add_wallet(0, network="mainnet")
    async with door(scene) as opened:
        asked = opened.count("producers_reads_total")
        reply = await opened.sender().hint(naming(scene.account(0), scene.account(1)))
        assert (reply.status, reply.json["tracked"], reply.json["untracked"]) == (200, 0, 2)
        assert opened.reads() == asked == 0


async def test_many_hints_of_one_wallet_lead_to_few_reads(scene: Scene) -> None:
    """Hints that come before a read begins share it; one that comes while it is under way is served by the next."""
    await told(scene, 0)
    body = naming(scene.account(0))
    scene.horizon.faults.add(Fault(path_prefix=f"/accounts/{scene.account(0)}", delay_s=0.3))
    async with door(scene) as opened:
        first = asyncio.create_task(opened.sender().hint(body))
        await asyncio.sleep(0)
        others = [asyncio.create_task(opened.sender().hint(body)) for _ in range(40)]
        replies = await asyncio.gather(first, *others)
        assert {reply.status for reply in replies} == {200}
        assert 1 <= opened.reads() <= 3


async def test_a_hint_during_a_read_needs_a_read_that_began_after_it(scene: Scene) -> None:
    """A payment that the read under way has missed is in the answer to the hint that announces it."""
    await told(scene, 0)
    scene.close()
    slow = Fault(path_prefix=f"/accounts/{scene.account(0)}", delay_s=0.5, lag_ledgers=1)  # as it was when it was asked
    scene.horizon.faults.add(slow)
    async with door(scene) as opened:
        first = asyncio.create_task(opened.sender().hint(naming(scene.account(0))))
        await until_true(lambda: slow.asked, what="the read is under way")
        scene.pay(0, 50)
        scene.close()
        second = await opened.sender().hint(naming(scene.account(0)))
        assert second.status == 200
        assert (await first).json["unchanged"] == 1
        assert [fact.balance_stroops for fact in await scene.facts_of(0)] == [150 * UNIT]


async def test_a_record_of_a_far_ledger_is_refused_and_of_the_next_waited_for(scene: Scene) -> None:
    """Of another network's ledger: 422, at once. Of one that is minutes away: 503, at once. Of one that is about to
    close: read when it is there.
    """
    await told(scene, 0)
    latest = scene.chain.latest.sequence

    def record(ledger: int) -> bytes:
        return orjson.dumps(
            {"id": str(ledger << 32 | 4097), "type": "payment", "transaction_hash": "ab" * 32, "to": scene.account(0)}
        )

    async with door(scene) as opened:
        reply = await opened.sender().hint(record(latest + 1_000))
        assert (reply.status, reply.json["where"]) == (422, "id")
        reply = await opened.sender().hint(record(latest + 50))
        assert (reply.status, reply.headers["retry-after"]) == (503, "5")
        assert opened.reads() == 0
        waiting = asyncio.create_task(opened.sender().hint(record(latest + 1)))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        scene.pay(0, 50)
        scene.close()
        assert (await waiting).json["published"] == 1
        assert (await scene.facts_of(0))[-1].balance_stroops == 150 * UNIT


def table(scene: Scene) -> list[tuple[Outcome, int, bytes]]:
    """Each wrong request, and its answer."""
    body = naming(scene.account(0))
    good = signed(body)
    return [
        (Outcome.BAD_HTTP, 400, b"nonsense\r\n\r\n"),
        (Outcome.BAD_HTTP, 400, b"POST / HTTP/1.1\r\nbad header\r\n\r\n"),
        (Outcome.BAD_HTTP, 400, request(body, good | {"transfer-encoding": "chunked"})),
        (Outcome.BAD_JSON, 400, request(b"{", signed(b"{"))),
        (Outcome.UNAUTHORIZED, 401, request(body, JSON)),
        (Outcome.NOT_FOUND, 404, request(body, good, path="/")),
        (Outcome.NOT_FOUND, 404, request(body, good, path=f"{PATH}/")),
        (Outcome.NOT_FOUND, 404, b"CONNECT  \r\nhost: x\r\n\r\n"),  # aiohttp finds no address in it
        (Outcome.BAD_METHOD, 405, request(b"", {}, method="GET")),
        (Outcome.BAD_METHOD, 405, request(body, good, method="PUT")),
        (Outcome.NO_LENGTH, 411, request(b"", good).replace(b"content-length: 0\r\n", b"")),
        (Outcome.TOO_LARGE, 413, request(body, good | {"content-length": "65537"})),
        (Outcome.BAD_TYPE, 415, request(body, good | {"content-type": "text/plain"})),
        (Outcome.BAD_TYPE, 415, request(body, good | {"content-type": "application/json; charset=latin-1"})),
        (Outcome.BAD_TYPE, 415, request(body, good | {"content-encoding": "gzip"})),
        (Outcome.BAD_EXPECT, 417, request(body, good | {"expect": "200-ok"})),
        (Outcome.BAD_HINT, 422, request(b"{}", signed(b"{}"))),
        (Outcome.BAD_HINT, 422, request(naming("G"), signed(naming("G")))),
    ]


async def test_what_is_wrong_is_said(scene: Scene) -> None:
    """Each wrong request has its answer: a JSON problem with what is wrong, where, and what was expected."""
    async with door(scene) as opened:
        for outcome, status, content in table(scene):
            before = opened.outcomes(outcome)
            reply = await opened.sender().send(content)
            assert (reply.status, reply.headers["content-type"]) == (status, "application/problem+json"), content
            assert reply.json["status"] == status
            assert reply.json["title"]
            assert reply.json["detail"]
            assert opened.outcomes(outcome) == before + 1
            if outcome is Outcome.BAD_METHOD:
                assert reply.headers["allow"] == "POST"
        assert opened.reads() == 0


async def test_a_body_in_chunks_and_one_that_is_announced(scene: Scene) -> None:
    """Chunks are read, and counted: too many bytes are refused. `Expect: 100-continue` is answered before the body."""
    body = naming(account_id("a stranger"))
    async with door(scene) as opened:
        chunked = signed(body) | {"transfer-encoding": "chunked"}
        head = request(b"", chunked).replace(b"content-length: 0\r\n", b"")
        assert (await opened.sender().send(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))).status == 200
        large = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
        assert (await opened.sender().send(head + large + large)).status == 413
        expected = request(body, signed(body) | {"expect": "100-continue"})
        assert (await opened.sender().send(expected)).status == 200


async def flood(opened: Open, *, headers: Sequence[dict[str, str]]) -> list[Reply]:
    """Requests as fast as they are answered, until one is refused or all are sent."""
    sender = opened.sender()
    replies: list[Reply] = []
    for each in headers:
        replies.append(await sender.send(request(b"", each, method="GET")))
        if replies[-1].status == 429:
            break
    return replies


async def test_too_many_requests(scene: Scene) -> None:
    """Beyond its rate an address is told when to come again, and the others are not held up."""
    async with door(scene, webhook_requests_per_address_per_s=1) as opened:
        *before, refused = await flood(opened, headers=[{}] * 500)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert len(before) >= 2
        other = opened.sender(local="127.0.0.9")
        assert (await other.hint(naming(account_id("a stranger")))).status == 200


async def test_behind_a_proxy_each_sender_has_its_own_rate(scene: Scene) -> None:
    """The proxy's word counts where it is trusted; nobody else's does."""
    many = [{"x-forwarded-for": f"198.51.100.{number}"} for number in range(200)]
    async with door(scene, webhook_requests_per_address_per_s=1) as opened:
        assert (await flood(opened, headers=many))[-1].status == 429
    trusted = "127.0.0.0/8"
    async with door(scene, webhook_requests_per_address_per_s=1, webhook_trusted_proxies=trusted) as opened:
        assert (await flood(opened, headers=many))[-1].status == 405
