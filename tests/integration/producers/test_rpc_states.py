"""What Stellar RPC says of one wallet, against the sandbox's: states one by one and many at once, who paid."""

import asyncio
from typing import Any

import pytest

from producers import payments
from producers.source import Unavailable
from sandbox import world
from sandbox.chain_operations import CrossOffer, Operation, PathPayment
from schema.stellar import AccountId, Malformed, Stroops
from tests.integration.producers.rpc_place import UNIT, everything, placed, tell_a_story
from tests.integration.producers.scene import until_true


async def test_states_are_horizons_states() -> None:
    """Balances, versions, authorizations and absences of everyone, one by one, all at once, and in portions."""
    async with placed() as place:
        await tell_a_story(place, seed=9)
        accounts = [AccountId(each) for each in place.chain.state.accounts if each[0] == "G"]
        theirs = {each: await place.horizon.state(each, place.asset) for each in accounts}
        assert await asyncio.gather(*(place.rpc.state(each, place.asset) for each in accounts)) == list(theirs.values())
        many = accounts * 10
        found = [state async for state in place.rpc.states(many, place.asset)]
        assert {state.account_id: state for state in found} == theirs
        assert len(found) == len(accounts)
        assert await place.rpc.states_requests(401, place.asset) == 3


async def test_reads_at_the_same_time_are_few_calls() -> None:
    """Two hundred wallets are one call, one more is another; a wallet alone does not wait for others."""
    async with placed() as place:
        calls: list[int] = []
        ask = place.rpc._http.call

        async def counted(method: str, parameters: Any = None) -> dict[str, Any]:
            calls.append(len(parameters["keys"]))
            return await ask(method, parameters)

        place.rpc._http.call = counted  # type: ignore[method-assign]
        people = world.cast(seed=1, wallets=201)
        await asyncio.gather(*(place.rpc.state(each.account_id, place.asset) for each in people.wallets))
        assert sorted(calls) == [1, 200]
        calls.clear()
        await place.rpc.state(place.wallet(), place.asset)
        assert calls == [1]


async def test_a_call_that_hangs_does_not_hold_up_the_next() -> None:
    """While one portion hangs another is read; whoever stops waiting harms nobody."""
    async with placed() as place:
        place.fault("getLedgerEntries", delay_s=60)
        hanging = asyncio.create_task(place.rpc.state(place.wallet(0), place.asset))
        other = asyncio.create_task(place.rpc.state(place.wallet(1), place.asset))
        gathered = place.rpc._states
        await until_true(lambda: gathered._calling and not gathered._waiting, what="both are sent")
        assert (await place.rpc.state(place.wallet(2), place.asset)).balance_stroops == 100 * UNIT
        hanging.cancel()
        other.cancel()
        await asyncio.gather(hanging, other, return_exceptions=True)
        assert (await place.rpc.state(place.wallet(0), place.asset)).balance_stroops == 100 * UNIT


async def test_one_wallets_nonsense_is_not_the_others() -> None:
    """Read in the same call, the others are read; the one is Malformed, and left out of many."""
    async with placed() as place:
        ask = place.rpc._http.call

        async def bent(method: str, parameters: Any = None) -> dict[str, Any]:
            answer = await ask(method, parameters)
            answer["entries"][0]["xdr"] = "AAAA"
            return answer

        place.rpc._http.call = bent  # type: ignore[method-assign]
        first, second = await asyncio.gather(
            *(place.rpc.state(place.wallet(each), place.asset) for each in range(2)), return_exceptions=True
        )
        assert isinstance(first, Malformed)
        assert not isinstance(second, BaseException)
        found = [state.account_id async for state in place.rpc.states([place.wallet(0), place.wallet(1)], place.asset)]
        assert found == [place.wallet(1)]


async def test_what_was_traded_has_no_source() -> None:
    """A wallet's offer that somebody crossed: something came in, and nobody paid; what a path payment brings in the end
    is paid by its sender, even when the receiver's own offer was crossed on the way.
    """
    async with placed() as place:
        payer, market = place.people.payers[0].account_id, place.people.market.account_id

        def path(maker: AccountId) -> Operation:
            return PathPayment(
                source=payer,
                to=place.wallet(1),
                strict_send=True,
                sent=place.asset,
                sent_stroops=Stroops(5),
                received=place.asset,
                received_stroops=Stroops(7),
                maker=maker,
            )

        place.chain.enqueue(
            CrossOffer(
                source=market,
                maker=place.wallet(0),
                sold=place.asset,
                sold_stroops=Stroops(11),
                bought=None,
                bought_stroops=Stroops(3),
            )
        )
        place.chain.enqueue(path(market))
        place.chain.enqueue(path(place.wallet(1)))
        place.pay(0, 13)
        place.close()
        records, _ = await everything(place.rpc, place.beginning)
        sourced: dict[int, list[tuple[int, str | None]]] = {}
        for wallet in (0, 1):
            account_id = place.wallet(wallet)
            mine = [
                movement
                for record in records
                for owner, movement in payments.movements(record, place.asset)
                if owner == account_id
            ]
            kept = await place.rpc.sourced(account_id, mine)
            assert kept is not None
            sourced[wallet] = [
                (int(each.amount_stroops), each.counterparty) for each in kept if each.amount_stroops > 0
            ]
        assert sourced == {0: [(13, payer)], 1: [(7, payer), (7, payer)]}


async def test_a_transaction_that_is_not_shown_is_asked_for_again_or_given_up() -> None:
    """On a replica that is behind it is not there yet; once RPC has forgotten it the sources are unknown."""
    async with placed() as place:
        place.pay()
        latest = place.close()
        [record] = (await everything(place.rpc, place.beginning))[0]
        mine = [movement for owner, movement in payments.movements(record, place.asset) if owner == place.wallet()]
        place.fault("getTransaction", lag_ledgers=1, times=1)
        with pytest.raises(Unavailable, match="not there yet"):
            await place.rpc.sourced(place.wallet(), mine)
        place.close()
        place.chain.history.trim(before_ledger=latest + 1)
        assert await place.rpc.sourced(place.wallet(), mine) is None
