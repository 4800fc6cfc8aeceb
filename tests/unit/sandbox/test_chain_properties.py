"""Whatever happens on the simulated chain, its books balance: random stories against sums and an independent fold."""

import random
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.chain_history import Entry, Kind, Span
from sandbox.traffic import Mix, Traffic, actions
from tests.unit.sandbox.small_world import balance, build, close

UNSEEN = Mix(crossed=20, claimed=20, put_aside=20, clawback=20, pool_deposit=40, pool_withdraw=40)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), ledgers=st.integers(1, 12), holding=st.integers(0, 200))
def test_books_balance_after_any_story(seed: int, ledgers: int, holding: int) -> None:
    """After every ledger each asset's sum is what was issued, and each wallet holds what its changes add up to."""
    chain, people = build(seed=seed % 5, holding=holding)
    rng = random.Random(seed)  # noqa: S311 - a story, not a secret
    story = actions(people, seed=seed, mix=UNSEEN)
    for _ in range(ledgers):
        for _ in range(rng.randint(0, 20)):
            action = next(story)
            chain.enqueue(*action.operations, source=action.source)
        close(chain)
        assert all(issued == held for issued, held in chain.state.sums().values())
    for wallet in people.wallets:
        changes = [change for change in chain.changes_of(wallet.account_id) if change.posting.asset == people.asset]
        start = chain.state.account(wallet.account_id, as_of=min(chain.history.headers))
        assert start is not None
        held = start.trustlines[people.asset].balance_stroops + sum(change.posting.stroops for change in changes)
        assert held == balance(chain, people, wallet.account_id)
        line = chain.state.accounts[wallet.account_id].trustlines[people.asset]
        versions = [change.entry.transaction.ledger for change in changes] or [min(chain.history.headers)]
        assert line.last_modified_ledger == versions[0]


def test_the_traffic_has_its_mix_and_its_pace() -> None:
    """The traffic tells of every kind of thing, as often as its pace says, the same for the same seed."""
    _, people = build()
    traffic = Traffic(people, seed=3, payments_per_s=12.5)
    assert [len(traffic.owed(0.1)) for _ in range(16)] == [1, 1, 1, 2] * 4
    assert Traffic(people, seed=3, payments_per_s=100).owed(1) == Traffic(people, seed=3, payments_per_s=100).owed(1)
    assert Traffic(people, seed=3).owed(60) == []
    told = Traffic(people, seed=3, payments_per_s=1000, mix=UNSEEN).owed(1)
    kinds = Counter(type(operation).__name__ for action in told for operation in action.operations)
    unseen = {
        "CrossOffer",
        "CreateClaimableBalance",
        "ClaimClaimableBalance",
        "Clawback",
        "LiquidityPoolDeposit",
        "LiquidityPoolWithdraw",
    }
    assert set(kinds) == {"Payment", "PathPayment", "ContractCall", *unseen}


def test_a_page_costs_its_length_and_not_the_history() -> None:
    """Pages from the middle of a long history look at no more entries than they show."""
    chain, people = build()
    for action in Traffic(people, seed=3, payments_per_s=5000).owed(1):
        chain.enqueue(*action.operations, source=action.source)
    while close(chain).operations:
        pass
    entries = chain.history._entries
    middle = entries[len(entries) // 2].operation_id
    looked_at = 0

    class Counting(list[Entry]):
        def __getitem__(self, index: Any) -> Any:
            nonlocal looked_at
            looked_at += 1
            return super().__getitem__(index)

    chain.history._entries = Counting(entries)
    span = Span(cursor=middle, descending=False, limit=50, latest_ledger=chain.latest.sequence, include_failed=True)
    assert len(chain.history.page(Kind.PAYMENTS, span)) == 50
    assert looked_at == 50
