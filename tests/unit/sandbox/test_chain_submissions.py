"""Signed transactions on the simulated chain: in once, in time, in turn, or not at all."""

from datetime import timedelta

import pytest

from sandbox import world
from sandbox.chain_operations import Payment
from sandbox.chain_transactions import Rejected, Submitted
from schema.stellar import AccountId, Stroops
from tests.unit.sandbox.small_world import UNIT, balance, build, close

TEN = Stroops(10 * UNIT)


def _submitted(people: world.Cast, *, sequence: int, max_time: int = 0, hash_: str = "ab" * 32) -> Submitted:
    wallet = people.wallets[0].account_id
    payment = Payment(source=wallet, to=people.vault.account_id, asset=people.asset, stroops=TEN)
    return Submitted(
        hash=hash_,
        envelope="",
        source=wallet,
        sequence=sequence,
        fee_stroops=100,
        max_time=max_time,
        signer=wallet,
        operations=(payment,),
    )


def test_a_submitted_transaction_gets_in_once() -> None:
    """However often an envelope is handed in before its ledger closes, it is in the ledger once."""
    chain, people = build(holding=100)
    wallet = people.wallets[0].account_id
    account = chain.state.account(wallet)
    assert account is not None
    submitted = _submitted(people, sequence=account.sequence + 1)
    first = chain.submit(submitted)
    assert chain.submit(submitted) is first
    close(chain)
    assert first.transaction is chain.history.transactions[submitted.hash]
    assert balance(chain, people, wallet) == 90 * UNIT
    with pytest.raises(Rejected, match="tx_bad_seq"):
        chain.submit(_submitted(people, sequence=account.sequence + 1, hash_="cd" * 32))


def test_the_time_bound_holds_to_the_second() -> None:
    """A transaction is in a ledger that closes at its bound, and in none that closes after it."""
    for late_s, gets_in in ((0, True), (1, False)):
        chain, people = build(holding=100)
        account = chain.state.account(people.wallets[0].account_id)
        assert account is not None
        bound = chain.latest.closed_at + timedelta(seconds=5)
        submitted = _submitted(people, sequence=account.sequence + 1, max_time=int(bound.timestamp()))
        pending = chain.submit(submitted)
        close(chain, seconds=5 + late_s)
        assert (pending.transaction is not None) is gets_in
        assert pending.dropped == ("" if gets_in else "tx_too_late")


def test_a_sequence_number_used_by_another_transaction_drops_the_one_that_waits() -> None:
    """When the owner's own transaction comes first in the ledger, the submitted one is dropped with tx_bad_seq."""
    chain, people = build(holding=100)
    wallet = people.wallets[0].account_id
    account = chain.state.account(wallet)
    assert account is not None
    chain.enqueue(Payment(source=wallet, to=people.payers[0].account_id, asset=people.asset, stroops=TEN))
    pending = chain.submit(_submitted(people, sequence=account.sequence + 1))
    close(chain)
    assert pending.dropped == "tx_bad_seq"
    assert chain.dropped[pending.submitted.hash if pending.submitted else ""] == "tx_bad_seq"


def test_a_clock_that_goes_back_is_held_still() -> None:
    """Ledgers never close before the one before them, and always at a whole second."""
    chain, _ = build()
    at = chain.latest.closed_at + timedelta(seconds=5, microseconds=123)
    assert chain.close_ledger(at).closed_at == at.replace(microsecond=0)
    assert chain.close_ledger(at - timedelta(seconds=60)).closed_at == at.replace(microsecond=0)


def test_a_foreign_signer_signs_for_a_recorded_account() -> None:
    """An account whose key nobody has can be given a signer, and only that one is accepted."""
    chain, people = build()
    stranger = AccountId("GAFK7XFZHMLSNV7OJTBO7BAIZA66X6QIBV5RMZZYXK4Q7ZSO52J5C3WQ")
    world.open_wallet(chain, people, stranger, stroops=TEN, signer=people.wallets[0].account_id)
    account = chain.state.account(stranger)
    assert account is not None
    payment = Payment(source=stranger, to=people.vault.account_id, asset=people.asset, stroops=TEN)
    signed = Submitted(
        hash="ab" * 32,
        envelope="",
        source=stranger,
        sequence=account.sequence + 1,
        fee_stroops=100,
        max_time=0,
        signer=people.wallets[0].account_id,
        operations=(payment,),
    )
    chain.submit(signed)
    close(chain)
    assert balance(chain, people, stranger) == 0
