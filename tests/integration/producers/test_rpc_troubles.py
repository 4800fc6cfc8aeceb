"""Every trouble of Stellar RPC, made by the sandbox's: what passes, what stays, and what is not RPC at all."""

from typing import Any

import pytest

from producers.budget import Budget
from producers.rpc.source import Rpc
from producers.source import Fatal, Unavailable
from sandbox.horizon_instance import Options
from schema.service.readiness import Readiness
from schema.stellar import Ledger, Network
from tests.integration.producers.rpc_place import UNIT, everything, placed

NOTHING_LISTENS = "http://127.0.0.1:1/rpc"


@pytest.mark.parametrize(
    "fields",
    [
        {"status": 500, "body": b"upstream is gone"},
        {"status": 503},
        {"status": 429, "headers": {"Retry-After": "0"}},
        {"status": 401, "body": b'{"jsonrpc":"2.0","error":{"code":-32000,"message":"no such key"}}'},
        {"status": 200, "body": b""},
        {"status": 200, "body": b"<html>"},
        {"status": 200, "body": b"[]"},
        {"status": 200, "body": b'{"jsonrpc":"2.0","id":0,"result":{}}'},
        {"status": 200, "body": b'{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"busy"}}'},
        {"status": 200, "body": b"[" * 100_000},
        {"cut_after_bytes": 20},
        {"cut_after_bytes": 0},
        {"cut_after_bytes": 100, "chunked": True},
    ],
)
async def test_every_trouble_passes(fields: dict[str, Any]) -> None:
    """The next attempt is answered, and the page is whole. The readiness page is clean."""
    async with placed() as place:
        place.pay()
        place.close()
        await place.rpc.history()
        for method in ("getEvents", "getLedgerEntries"):
            place.fault(method, **fields)
        assert len((await place.rpc.payments(place.beginning)).records) == 1
        assert (await place.rpc.state(place.wallet(), place.asset)).balance_stroops == 101 * UNIT
        assert place.readiness.reasons() == {}


async def test_trouble_that_stays_is_said_without_the_address() -> None:
    """After a few attempts it is Unavailable, and on the readiness page; the address, which may carry a key, is not."""
    async with placed(url=NOTHING_LISTENS) as place:
        with pytest.raises(Unavailable) as told:
            await place.rpc.history()
        said = place.readiness.reasons()["rpc"]
        assert NOTHING_LISTENS not in said + str(told.value)
        assert said.startswith("get")


async def test_a_redirect_that_loses_the_question_is_said() -> None:
    """Behind 301 and 302, as from http to https, a question is no longer asked: it is said which variable to set, and
    where it leads, without the rest of the address. Behind 308 it is asked there.
    """
    async with placed() as place:
        where = f"{place.server.url}/rpc?key=secret"
        place.fault("getNetwork", status=301, headers={"Location": where}, times=1_000)
        with pytest.raises(Unavailable, match="RPC_URL") as told:
            await place.rpc.history()
        assert f"301 to {place.server.url}" in str(told.value)
        assert "secret" not in str(told.value) + place.readiness.reasons()["rpc"]
        place.server.faults.clear()
        place.fault("getNetwork", status=308, headers={"Location": where})
        assert (await place.rpc.history()).latest == place.chain.latest.sequence


async def test_a_provider_with_a_lower_limit_is_asked_for_less() -> None:
    """It says what it allows; the next page asks for that."""
    async with placed(options=Options(rpc_limit=3)) as place:
        for _ in range(7):
            place.pay()
        place.close()
        with pytest.raises(Unavailable, match="limit must not exceed 3"):
            await place.rpc.payments(place.beginning)
        assert len((await everything(place.rpc, place.beginning))[0]) == 7


async def test_another_service_is_not_taken_for_rpc() -> None:
    """A Horizon's address in RPC_URL says so at the first question."""
    async with placed() as place:
        wrong = Rpc(
            place.rpc._http._session,
            f"{place.server.url}/",
            network=Network.TESTNET,
            asset=place.asset,
            budget=Budget(0),
            readiness=Readiness(),
        )
        with pytest.raises(Unavailable):
            await wrong.history()


async def test_an_rpc_that_does_not_tell_of_classic_operations_is_refused() -> None:
    """Its core must be told to: without that it would show contract calls and no payment, and nobody would notice. As
    long as nothing happens that cannot be told.
    """
    async with placed(options=Options(rpc_classic_events=False)) as place:
        await place.rpc.history()
        place.pay()
        place.close()
        with pytest.raises(Fatal, match="EMIT_CLASSIC_EVENTS"):
            await place.rpc.history()
    async with placed() as place:
        place.pay()
        place.close()
        await place.rpc.history()


async def test_a_ledger_of_another_network_is_not_believed() -> None:
    """A replica a million ledgers ahead is another network's: nothing of it is used."""
    async with placed() as place:
        await place.rpc.history()
        place.rpc._http.newest = Ledger(1_000)
        with pytest.raises(Unavailable, match="another network"):
            await place.rpc.state(place.wallet(), place.asset)
