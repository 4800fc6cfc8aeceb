"""The states of many accounts: by single reads or by pages of holders, always what the chain says."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from producers.asking import open_session
from producers.budget import Budget
from producers.horizon import Horizon
from producers.horizon_holders import FEW
from producers.source import State, Unavailable
from sandbox.chain_operations import ChangeTrust, Payment
from sandbox.horizon_faults import Fault
from schema.service.readiness import Readiness
from schema.stellar import STROOPS_MAX, AccountId, Stroops
from tests.integration.horizon_client import Client, serving
from tests.people import account_id

WALLETS = 900
HOLDERS = WALLETS + 20 + 2  # payers, the vault, the market


class CountingBudget(Budget):
    """No limit, but what was asked is known."""

    def __init__(self) -> None:
        super().__init__(0)
        self.requests = 0

    async def admit(self, requests: int = 1, *, in_bulk: bool = False) -> None:
        self.requests += requests
        await super().admit(requests, in_bulk=in_bulk)


@dataclass(kw_only=True)
class World:
    """A Horizon with many holders, and a source that asks it."""

    client: Client
    source: Horizon
    budget: CountingBudget

    @property
    def wallets(self) -> list[AccountId]:
        return [key.account_id for key in self.client.people.wallets]

    async def states(
        self,
        account_ids: Collection[AccountId],
        known_absent: Collection[AccountId] = (),
        *,
        into: dict[AccountId, State] | None = None,
    ) -> dict[AccountId, State]:
        """By account; each is there at most once. `into` has them even where the reading breaks off."""
        found = {} if into is None else into
        async for state in self.source.states(account_ids, self.client.people.asset, known_absent=known_absent):
            assert state.account_id not in found
            found[state.account_id] = state
        return found

    def true(self, account_id: AccountId, *, as_of: int | None = None) -> tuple[int, int] | None:
        """Stroops and version on the chain; None without a trustline."""
        account = self.client.chain.state.account(account_id, as_of=as_of)
        line = account.trustlines.get(self.client.people.asset) if account else None
        return None if line is None else (line.balance_stroops, line.last_modified_ledger)

    def judge(self, state: State) -> None:
        """What is said is what the chain had in the ledger in which it was read."""
        found = self.true(state.account_id, as_of=state.observed)
        assert state.version <= state.observed
        if found is None:
            assert state.is_absence, state
        else:
            assert (state.balance_stroops, state.version) == found, state


@asynccontextmanager
async def world(wallets: int = WALLETS) -> AsyncIterator[World]:
    async with serving(wallets=wallets, holding=5) as client, open_session() as session:
        for ledger in range(6):
            for wallet in range(ledger, wallets, 7):
                client.pay(wallet=wallet, stroops=10_000 + wallet)
            client.horizon.close_ledger()
        budget = CountingBudget()
        yield World(
            client=client,
            source=Horizon(session, client.horizon.url, budget=budget, readiness=Readiness()),
            budget=budget,
        )


@pytest.mark.parametrize("every", [1, 2, 40, WALLETS // FEW + 1], ids=["all", "half", "sparse", "few"])
async def test_each_state_is_the_chains_for_the_fewest_requests(every: int) -> None:
    """Whatever the share of the holders that is asked for: every state is right, and the number of requests is near
    what was foretold and never above one for each account but for the count of holders.
    """
    async with world() as there:
        wanted = there.wallets[::every]
        found = await there.states(wanted)
        assert found.keys() == set(wanted)
        for state in found.values():
            there.judge(state)
            assert state.observed == there.client.chain.latest.sequence
        spent = there.budget.requests
        assert spent <= len(wanted) + 1
        foretold = await there.source.states_requests(len(wanted), there.client.people.asset)
        assert spent <= 2 * foretold + 4
        if every == 1:
            assert spent <= 1 + HOLDERS / 200 + 4  # as many pages as there are, and where the walks begin


async def test_who_has_no_trustline_is_read_alone() -> None:
    """A wallet that no page shows is read by itself: absent in the ledger of that read. One that is known to be absent
    costs nothing more.
    """
    async with world() as there:
        strangers = [account_id(f"stranger {number}") for number in range(5)]
        close_trustline(there.client, there.wallets[4])
        assert there.true(there.wallets[4]) is None
        wanted = [*there.wallets, *strangers]
        found = await there.states(wanted)
        assert found.keys() == set(wanted)
        absent = [*strangers, there.wallets[4]]
        assert all(found[each].is_absence for each in absent)
        for state in found.values():
            there.judge(state)
        before = there.budget.requests
        again = await there.states(wanted, known_absent=absent)
        assert again.keys() == set(wanted) - set(absent)
        assert there.budget.requests - before <= 1 + HOLDERS / 200 + 4


async def test_a_trustline_opened_behind_the_walk_is_found() -> None:
    """The walk is over several ledgers: who opens a trustline where it has already been is not taken for absent."""
    async with world() as there:
        client = there.client
        late = min(there.wallets)
        close_trustline(client, late)
        assert there.true(late) is None
        opened = False
        async for state in there.source.states(there.wallets, client.people.asset):
            if not opened:
                opened = True
                assert state.account_id != late
                client.chain.enqueue(
                    ChangeTrust(source=late, asset=client.people.asset, limit_stroops=Stroops(STROOPS_MAX))
                )
                client.horizon.close_ledger()
                continue
            there.judge(state)


def close_trustline(client: Client, account_id: AccountId) -> None:
    """Empty a wallet and close its trustline."""
    account = client.chain.state.account(account_id)
    assert account is not None
    asset, vault = client.people.asset, client.people.vault.account_id
    held = Stroops(account.trustlines[asset].balance_stroops)
    client.chain.enqueue(
        Payment(source=account_id, to=vault, asset=asset, stroops=held),
        ChangeTrust(source=account_id, asset=asset, limit_stroops=Stroops(0)),
    )
    client.horizon.close_ledger()


@pytest.mark.parametrize(
    "fault",
    [
        Fault(records="backwards", times=2),
        Fault(records="last first", times=2),
        Fault(records="twice", times=2),
        Fault(records="doubled", times=9),
        Fault(lag_ledgers=3, times=3, every=2),
        Fault(cut_after_bytes=3000, times=2),
        Fault(status=503, times=2),
        Fault(status=404, body=b"<html>not here</html>", times=2),
    ],
    ids=["backwards", "last first", "twice", "doubled", "a replica behind", "cut off", "away", "a proxy's 404"],
)
async def test_a_page_in_trouble_makes_no_wrong_state(fault: Fault) -> None:
    """Out of order, repeated, from a replica behind, broken off: everyone is told, and nobody wrongly."""
    async with world(wallets=450) as there:
        there.client.horizon.faults.add(fault)
        found = await there.states(there.wallets)
        assert found.keys() == set(there.wallets)
        for state in found.values():
            there.judge(state)


async def test_pages_that_never_make_sense_are_no_answer() -> None:
    """A Horizon that ignores the cursor or the order is unavailable, whatever it shows, and is not asked for ever."""
    async with world(wallets=450) as there:
        there.client.horizon.faults.add(Fault(path_prefix="/accounts", records="backwards", times=10_000))
        with pytest.raises(Unavailable, match="expected an address behind"):
            await there.states(there.wallets)
        assert there.budget.requests < 40


async def test_a_reading_that_broke_off_goes_on_where_it_was() -> None:
    """Horizon goes away in the middle: what came stays, and only the rest is asked for again."""
    async with world() as there:
        found: dict[AccountId, State] = {}
        there.client.horizon.faults.add(Fault(path_prefix="/accounts", status=503, times=10_000, skip=3))
        with pytest.raises(Unavailable):
            await there.states(there.wallets, into=found)
        assert 0 < len(found) < WALLETS
        there.client.horizon.faults.clear()
        before = there.budget.requests
        found |= await there.states([each for each in there.wallets if each not in found])
        assert found.keys() == set(there.wallets)
        assert there.budget.requests - before <= HOLDERS / 200 + 4


async def test_one_account_that_cannot_be_read_does_not_hold_up_the_others() -> None:
    """All the others are told before the reading says that it is not whole."""
    async with world(wallets=30) as there:
        hung = there.wallets[0]
        there.client.horizon.faults.add(Fault(path_prefix=f"/accounts/{hung}", status=504, times=10_000))
        found: dict[AccountId, State] = {}
        with pytest.raises(Unavailable, match="504"):
            await there.states(there.wallets[:FEW], into=found)
        assert found.keys() == set(there.wallets[1:FEW])


async def test_without_the_count_of_holders_pages_are_read() -> None:
    """A Horizon that does not say how many hold the asset is read by pages: they never cost more than single reads."""
    async with world(wallets=450) as there:
        there.client.horizon.faults.add(Fault(path_prefix="/assets", status=400, times=10_000))
        found = await there.states(there.wallets)
        assert found.keys() == set(there.wallets)
        assert there.budget.requests < 30


async def test_a_page_that_is_too_large_is_asked_for_in_parts() -> None:
    """Where whole pages cannot be had, smaller ones are read, and nobody is left out."""
    async with world(wallets=250) as there:
        there.client.horizon.faults.add(Fault(path_prefix="/accounts", only="page", status=504, times=4))
        found = await there.states(there.wallets)
        assert found.keys() == set(there.wallets)


async def test_it_does_not_go_on_once_nobody_listens() -> None:
    """Who breaks off the reading leaves no request behind."""
    async with world() as there:
        states = there.source.states(there.wallets, there.client.people.asset)
        assert (await anext(states)).account_id in there.wallets
        await states.aclose()  # type: ignore[attr-defined]  # it is a generator
        before = there.budget.requests
        await there.source.history()
        assert there.budget.requests == before + 1
