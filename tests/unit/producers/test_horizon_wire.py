"""Horizon's answers as values: recorded ones, and what no Horizon should send."""

from typing import Any

import orjson
import pytest

from producers import horizon_wire
from sandbox.horizon_problems import before_history, not_found
from schema.stellar import AccountId, Asset, Ledger, Malformed
from tests import recordings
from tests.unit.producers.records import ALICE, ASSET, asset_fields, payment

OBSERVED = Ledger(52_446_900)
USDC = Asset.parse("USDC:GA5ZSEJYB37JRC5AVCIA5MOP4RHTM335X2KGX3IHOJAPP5RE34K4KZVN")


def account(*lines: dict[str, Any]) -> dict[str, Any]:
    """An account's page with these balances, and the native one."""
    native = {"balance": "2.0000000", "asset_type": "native"}
    pool = {"balance": "3.0000000", "asset_type": "liquidity_pool_shares", "liquidity_pool_id": "59fa"}
    return {"account_id": ALICE, "balances": [pool, *lines, native]}


def line(**fields: Any) -> dict[str, Any]:
    return {
        **asset_fields(),
        "balance": "150.0000000",
        "is_authorized": True,
        "last_modified_ledger": 52_414_854,
        **fields,
    }


def test_a_trustline_is_found_by_type_code_and_issuer() -> None:
    """Among other lines, a counterfeit's and a pool's, the asset's own line is the state."""
    counterfeit = line(asset_issuer=ALICE, balance="9.0000000")
    state = horizon_wire.state(account(counterfeit, line()), ALICE, ASSET, OBSERVED)
    assert (state.balance_stroops, state.authorized, state.version) == (1_500_000_000, True, 52_414_854)
    assert (state.observed, state.is_absence) == (OBSERVED, False)


def test_without_a_trustline_it_is_an_absence() -> None:
    """No line of the asset: 0, not authorized, as of the ledger observed."""
    state = horizon_wire.state(account(line(asset_issuer=ALICE)), ALICE, ASSET, OBSERVED)
    assert state == horizon_wire.absence(ALICE, OBSERVED)
    assert state.is_absence


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ([], "body"),
        ({"account_id": "G", "balances": []}, "account_id"),
        ({"account_id": ALICE}, "balances"),
        (account(line(balance="1e7")), "balances[1].balance"),
        (account(line(balance=None)), "balances[1].balance"),
        (account(line(is_authorized="yes")), "balances[1].is_authorized"),
        (account(line(last_modified_ledger=0)), "balances[1].last_modified_ledger"),
        (account(line(last_modified_ledger=2**32)), "balances[1].last_modified_ledger"),
    ],
)
def test_a_state_that_makes_no_sense_is_refused(body: Any, place: str) -> None:
    """A balance that cannot be read is never taken as 0."""
    with pytest.raises(Malformed) as refused:
        horizon_wire.state(body, ALICE, ASSET, OBSERVED)
    assert refused.value.field == place


def page_of(records: list[Any], following: str = "") -> dict[str, Any]:
    links = {"next": {"href": f"https://horizon.example/payments?cursor={following}&limit=200&order=asc"}}
    return {"_links": links, "_embedded": {"records": records}}


def test_a_page_says_where_it_ends() -> None:
    """The cursor is the last record's paging token, untouched; an empty page has none."""
    page = horizon_wire.page(page_of([payment(), {**payment(), "paging_token": "225257527003537409"}]))
    assert (page.cursor, page.full) == ("225257527003537409", False)
    assert horizon_wire.page(page_of([])).cursor is None
    assert horizon_wire.page(page_of([payment()] * 200)).full


def test_a_last_record_without_a_token_does_not_stop_the_reading() -> None:
    """The page's own link to the next one says where it ends; without that, the page is refused."""
    bent = {**payment(), "paging_token": None}
    assert horizon_wire.page(page_of([payment(), bent], "225257527003537410")).cursor == "225257527003537410"
    with pytest.raises(Malformed, match="paging_token"):
        horizon_wire.page({"_embedded": {"records": [bent]}})


def test_one_bad_number_does_not_hide_a_page() -> None:
    """NaN inside one record, which JSON does not know, or a number without end leaves the other records readable."""
    body = orjson.dumps(page_of([payment()])).replace(b'"39.0000000"', b"NaN")
    assert len(horizon_wire.page(horizon_wire.parse(body)).records) == 1
    body = orjson.dumps(page_of([payment()])).replace(b'"39.0000000"', b"9" * 5_000)
    assert len(horizon_wire.page(horizon_wire.parse(body)).records) == 1
    with pytest.raises(Malformed):
        horizon_wire.parse(b"<html>")
    with pytest.raises(Malformed):
        horizon_wire.parse(body[:-10])


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "30"}, 30.0),
        ({"X-RateLimit-Reset": "7"}, 7.0),
        ({"X-RateLimit-Reset": "3096"}, 60.0),
        ({"X-RateLimit-Reset": "1764500000"}, 60.0),
        ({"Retry-After": "600", "X-RateLimit-Reset": "7"}, 600.0),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "Wed, 21 Oct"}, None),
        ({}, None),
    ],
)
def test_how_long_a_refusal_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    """Retry-After in seconds, else the time until the rate limit is reset, a minute at most, else nothing said."""
    assert horizon_wire.retry_after_s(headers) == seconds


@recordings.needed
def test_recorded_roots() -> None:
    """Real root pages give the network and the ledgers."""
    history = horizon_wire.history(recordings.load("root/root_1.json"))
    assert (history.passphrase, history.elder, history.latest) == (
        "Public Global Stellar Network ; September 2015",
        2,
        52_426_477,
    )
    assert horizon_wire.history(recordings.load("root/root_3.json")).elder == 1


@recordings.needed
@pytest.mark.parametrize(
    ("name", "balance", "version"),
    [
        ("account_1", None, None),
        ("account_3", 0, 49_087_929),
        ("account_5", None, None),
        ("account_7", None, None),
    ],
)
def test_recorded_accounts(name: str, balance: int | None, version: int | None) -> None:
    """Real account pages give what they hold of Circle's USDC, or its absence."""
    body = recordings.load(f"accounts/{name}.json")
    state = horizon_wire.state(body, AccountId(body["account_id"]), USDC, OBSERVED)
    if version is None:
        assert state.is_absence
    else:
        assert (state.balance_stroops, state.version) == (balance, version)


@recordings.needed
def test_recorded_pages_and_problems() -> None:
    """Every recorded page says where it ends, and every recorded error has words."""
    for path in sorted((recordings.FOLDER / "operation_page").glob("*.json")):
        body = orjson.loads(path.read_bytes())
        if "_embedded" in body:
            assert horizon_wire.page(body).cursor
    for path in sorted((recordings.FOLDER / "errors").glob("*.json")):
        assert ":" in horizon_wire.problem(path.read_bytes())
    assert horizon_wire.problem(b"") == ""


def test_only_horizons_own_problems_are_problems() -> None:
    """A proxy answers with the same numbers: a problem is known by the type that Horizon gives it."""
    for name, body in (("not_found", not_found().body), ("before_history", before_history().body)):
        assert horizon_wire.is_problem(body, name)
        assert not horizon_wire.is_problem(body, "stale_history")
    for strange in (b"", b"<html>", b"[]", b'"not_found"', b"{}", b'{"type": 404}', b'{"type": "about:blank"}'):
        assert not horizon_wire.is_problem(strange, "not_found")
