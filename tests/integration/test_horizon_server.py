"""The sandbox's Horizon: pages, states, errors, limits and faults, as a client meets them over HTTP."""

import asyncio
from typing import Any

import aiohttp
import pytest

from sandbox.chain_operations import Payment
from sandbox.horizon_faults import Fault
from sandbox.horizon_instance import Options
from schema.stellar import Stroops
from tests.integration.horizon_client import UNIT, Client, serving


async def _drain(client: Client, path: str, *, order: str = "asc", limit: int = 7) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        answer = await client.get(f"{path}?order={order}&limit={limit}&cursor={cursor}")
        if answer.status == 410 or not answer.records:  # descending ledgers end at the elder one with a 410
            return found
        found += answer.records
        cursor = answer.records[-1]["paging_token"]


async def test_following_the_pages_shows_everything_once() -> None:
    """Pages of payments, effects and ledgers, for everyone and for one account, cover everything in both orders."""
    async with serving() as client:
        wallet = client.people.wallets[0].account_id
        for _ in range(6):
            client.pay(times=5)
            client.horizon.close_ledger()
        for path, count in (
            ("/payments", 30),
            ("/operations", 30),
            ("/effects", 60),
            (f"/accounts/{wallet}/payments", 30),
            (f"/accounts/{wallet}/effects", 30),
            ("/ledgers", 7),
        ):
            rising, falling = await _drain(client, path), await _drain(client, path, order="desc")
            assert len(rising) == count, path
            assert falling == rising[::-1], path


async def test_the_links_of_a_page_lead_on() -> None:
    """`next` leads to the records after the page, `prev` to those before it, as a client that follows links expects."""
    async with serving() as client:
        client.pay(times=30)
        client.horizon.close_ledger()
        first = await client.get("/payments?limit=10")
        base = client.horizon.url
        second = await client.get(first.json["_links"]["next"]["href"].removeprefix(base))
        back = await client.get(second.json["_links"]["prev"]["href"].removeprefix(base))
        assert second.records[0]["id"] > first.records[-1]["id"]
        assert back.records == first.records[::-1]


async def test_a_ledgers_payments_are_its_own() -> None:
    """`/ledgers/{sequence}/payments` has that ledger's payments; of one not there yet, or no longer, it is 404, where
    `/ledgers/{sequence}` says 410 for one long gone.
    """
    async with serving() as client:
        client.pay(times=3)
        ledger = client.horizon.close_ledger().sequence
        client.pay()
        client.horizon.close_ledger()
        assert len((await client.get(f"/ledgers/{ledger}/payments?limit=200")).records) == 3
        assert (await client.get(f"/ledgers/{ledger}")).json["closed_at"].endswith("Z")
        assert (await client.get(f"/ledgers/{ledger + 9}")).status == 404
        assert (await client.get(f"/ledgers/{ledger + 9}/payments")).status == 404
        client.chain.history.trim(before_ledger=ledger)
        assert (await client.get(f"/ledgers/{ledger - 1}")).status == 410
        assert (await client.get(f"/ledgers/{ledger - 1}/payments")).status == 404


async def test_an_account_without_kept_history_is_not_known_to_it() -> None:
    """An account that is there, and that nothing of the history that is kept was about, is 404 to the history alone."""
    async with serving(holding=5) as client:
        wallet = client.people.wallets[0].account_id
        for path in ("payments", "effects"):
            assert (await client.get(f"/accounts/{wallet}/{path}")).status == 404
        client.pay()
        client.horizon.close_ledger()
        assert len((await client.get(f"/accounts/{wallet}/payments")).records) == 1
        client.chain.history.trim(before_ledger=client.horizon.close_ledger().sequence)
        assert (await client.get(f"/accounts/{wallet}/payments")).status == 404
        assert (await client.get(f"/accounts/{wallet}")).status == 200


async def test_cursors_outside_the_history() -> None:
    """Ascending, a cursor before the history is clamped silently; descending it is 410; past the tip nothing comes."""
    async with serving() as client:
        for _ in range(4):
            client.pay()
            client.horizon.close_ledger()
        elder = client.chain.latest.sequence - 1
        client.chain.history.trim(before_ledger=elder)
        old, beyond = 5 << 32, (client.chain.latest.sequence + 1000) << 32
        assert len((await client.get(f"/payments?cursor={old}")).records) == 2
        assert (await client.get("/")).json["history_elder_ledger"] == elder
        gone = await client.get(f"/payments?cursor={old}&order=desc")
        assert (gone.status, gone.json["type"]) == (410, "https://stellar.org/horizon-errors/before_history")
        assert (await client.get(f"/payments?cursor={beyond}")).records == []
        assert (await client.get("/payments?cursor=now")).records == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("cursor=abc", "cursor"),
        ("cursor=-5", "cursor"),
        ("cursor=99999999999999999999", "cursor"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("order=up", "order"),
        ("join=everything", "join"),
    ],
)
async def test_bad_parameters_are_named(query: str, field: str) -> None:
    """A parameter that makes no sense is 400 with its name, as problem JSON."""
    async with serving() as client:
        answer = await client.get(f"/payments?{query}")
        assert answer.status == 400
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert answer.json["extras"]["invalid_field"] == field


async def test_what_is_not_there_and_not_acceptable() -> None:
    """Unknown addresses and accounts are 404, other formats 406, each with Horizon's own problem document."""
    async with serving() as client:
        stranger = "GAFK7XFZHMLSNV7OJTBO7BAIZA66X6QIBV5RMZZYXK4Q7ZSO52J5C3WQ"
        account = f"/accounts/{stranger}"
        for path in ("/nothing", account, f"{account}/payments", f"/transactions/{'ab' * 32}"):
            missing = await client.get(path)
            assert (missing.status, missing.json["title"]) == (404, "Resource Missing"), path
        assert (await client.get("/accounts/GABC")).status == 400
        other = await client.get("/payments", Accept="text/html")
        assert (other.status, other.json["type"]) == (406, "https://stellar.org/horizon-errors/not_acceptable")


async def test_states_say_of_which_ledger_they_are() -> None:
    """Every state, and its absence, carries Latest-Ledger; history does not."""
    async with serving(holding=5) as client:
        client.horizon.close_ledger()
        latest = str(client.chain.latest.sequence)
        wallet = client.people.wallets[0].account_id
        stranger = "GAFK7XFZHMLSNV7OJTBO7BAIZA66X6QIBV5RMZZYXK4Q7ZSO52J5C3WQ"
        for path in (f"/accounts/{wallet}", f"/accounts/{stranger}", f"/accounts?asset={client.people.asset}"):
            assert (await client.get(path)).headers["Latest-Ledger"] == latest, path
        assert "Latest-Ledger" not in (await client.get("/payments")).headers


async def test_the_holders_of_an_asset_come_in_pages() -> None:
    """`/accounts?asset=` lists every holder once, page by page, with what each holds."""
    async with serving(wallets=25, holding=5) as client:
        people = client.people
        expected = {key.account_id for key in (*people.wallets, *people.payers, people.vault, people.market)}
        found: list[str] = []
        cursor = ""
        while records := (await client.get(f"/accounts?asset={people.asset}&limit=10&cursor={cursor}")).records:
            found += [record["account_id"] for record in records]
            cursor = records[-1]["paging_token"]
        assert found == sorted(expected)
        assert (await client.get("/accounts?asset=USDC")).status == 400


async def test_a_replica_that_lags_shows_an_older_ledger_everywhere() -> None:
    """With a lag, history, state and root are those of an older ledger, and the header says so."""
    async with serving() as client:
        wallet = client.people.wallets[0].account_id
        client.horizon.close_ledger()
        before = client.chain.latest.sequence
        client.pay()
        client.horizon.close_ledger()
        client.horizon.faults.add(Fault(lag_ledgers=1, times=4))
        assert (await client.get(f"/ledgers/{before + 1}/payments")).status == 404
        account = await client.get(f"/accounts/{wallet}")
        assert account.headers["Latest-Ledger"] == str(before)
        lines = [line for line in account.json["balances"] if line.get("asset_issuer") == client.people.asset.issuer]
        assert [line["balance"] for line in lines] == ["0.0000000"]
        assert (await client.get("/payments")).records == []
        assert (await client.get("/")).json["history_latest_ledger"] == before
        assert len((await client.get("/payments")).records) == 1


async def test_failed_payments_show_when_asked_for() -> None:
    """A failed payment is left out, and shown with transaction_successful false when include_failed is true."""
    async with serving() as client:
        wallet, payer = client.people.wallets[0].account_id, client.people.payers[0].account_id
        client.chain.enqueue(Payment(source=wallet, to=payer, asset=client.people.asset, stroops=Stroops(UNIT)))
        client.horizon.close_ledger()
        assert (await client.get("/payments")).records == []
        (failed,) = (await client.get("/payments?include_failed=true")).records
        assert failed["transaction_successful"] is False


async def test_the_request_budget_is_told_and_enforced() -> None:
    """Requests within the burst say what is left; beyond it 429 says when to come back."""
    async with serving(options=Options(stream_check_s=0, requests_per_hour=3600, burst=3)) as client:
        left = [(await client.get("/")).headers["X-RateLimit-Remaining"] for _ in range(3)]
        limited = await client.get("/")
        assert left == ["2", "1", "0"]
        assert (limited.status, limited.headers["Retry-After"]) == (429, "1")
        assert limited.json["type"] == "https://stellar.org/horizon-errors/rate_limit_exceeded"


async def test_faults_happen_to_whom_they_are_meant_for() -> None:
    """A fault hits the next requests that match it, so many times, and no others; what it answers is its own."""
    async with serving() as client:
        client.pay()
        client.horizon.close_ledger()
        client.horizon.faults.add(Fault(path_prefix="/payments", status=503, body=b"busy", times=2, skip=1))
        client.horizon.faults.add(Fault(path_prefix="/ledgers", status=504))
        assert [(await client.get("/payments")).status for _ in range(4)] == [200, 503, 503, 200]
        assert (await client.get("/")).status == 200
        empty = await client.get("/ledgers")
        assert (empty.status, empty.body) == (504, b"")
        client.horizon.faults.add(Fault(path_prefix="/payments", cut_after_bytes=100))
        with pytest.raises(aiohttp.ClientPayloadError):
            await client.get("/payments")
        client.horizon.faults.add(Fault(path_prefix="/payments", delay_s=60))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.get("/payments"), 0.2)
        assert len((await client.get("/payments")).records) == 1


async def test_another_process_can_tell_the_story() -> None:
    """The control addresses pay, run any operation, close, open wallets, and answer what an oracle asks."""
    async with serving() as client:
        told = (await client.get("/sandbox/world")).json
        wallet = told["wallets"][0]["account_id"]
        await client.post("/sandbox/pay", {"to": wallet, "amount": "50"})
        await client.post("/sandbox/transactions", _crossed(told, wallet))
        closed = await client.post("/sandbox/close", {})
        assert closed["operations"] == 2
        history = (await client.get(f"/sandbox/accounts/{wallet}/history")).json
        assert history["balance"] == "52.5000000"
        assert [change["amount"] for change in history["changes"]] == ["50.0000000", "2.5000000"]
        assert history["last_modified_ledger"] == closed["ledger"]
        opened = (await client.post("/sandbox/wallets", {"count": 2, "balance": "7"}))["wallets"]
        assert (await client.get(f"/accounts/{opened[1]['account_id']}")).status == 200
        assert (await client.get("/sandbox/sums")).json["exact"] is True
        closes = (await client.get(f"/sandbox/ledgers?after={closed['ledger'] - 1}")).json
        assert list(closes) == [str(closed["ledger"])]
        await client.post("/sandbox/faults", [{"path_prefix": "/payments", "status": 500}])
        assert (await client.get("/payments")).status == 500


def _crossed(told: dict[str, Any], wallet: str) -> dict[str, Any]:
    offer = {
        "operation": "CrossOffer",
        "source": told["market"],
        "maker": wallet,
        "sold": told["asset"],
        "sold_stroops": "2.5",
        "bought": "native",
        "bought_stroops": "1",
    }
    return {"operations": [offer]}
