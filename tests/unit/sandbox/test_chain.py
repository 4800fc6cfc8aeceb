"""The simulated chain: what each operation does to balances, and what a transaction and a ledger promise."""

from datetime import timedelta

import pytest

from sandbox import keys, world
from sandbox.chain_operations import (
    AccountMerge,
    AssetChange,
    ChangeKind,
    ChangeTrust,
    ClaimClaimableBalance,
    Clawback,
    ContractCall,
    CreateAccount,
    CreateClaimableBalance,
    CrossOffer,
    Operation,
    PathPayment,
    Payment,
    SetTrustlineFlags,
)
from sandbox.chain_transactions import Rejected, Submitted
from schema.stellar import STROOPS_MAX, AccountId, Address, Stroops, parse_account_id, parse_address
from tests.unit.sandbox.small_world import UNIT, balance, build, close

TEN = Stroops(10 * UNIT)


def test_addresses_are_valid_and_follow_from_the_seed() -> None:
    """Every address has a valid checksum, and one seed always names the same people."""
    chain, people = build(seed=7)
    assert world.cast(seed=7, wallets=3) == people
    assert world.cast(seed=8, wallets=3).wallets != people.wallets
    for address in chain.state.accounts:
        parse_address(address)
    parse_account_id(people.wallets[0].account_id)
    parse_address(keys.claimable_balance("00000000" + "ab" * 32))


def test_a_payment_moves_the_balance_and_its_version() -> None:
    """A payment shows in both balances once its ledger closes, not before, and marks both trustlines with it."""
    chain, people = build()
    wallet, payer = people.wallets[0].account_id, people.payers[0].account_id
    before = balance(chain, people, payer)
    world.pay(chain, people, wallet, TEN)
    assert balance(chain, people, wallet) == 0
    header = close(chain)
    assert balance(chain, people, wallet) == TEN
    assert balance(chain, people, payer) == before - TEN
    account = chain.state.account(wallet)
    assert account is not None
    assert account.trustlines[people.asset].last_modified_ledger == header.sequence
    assert account.last_modified_ledger < header.sequence  # the account's own entry did not change


def _operations() -> list[tuple[str, int]]:
    return [
        ("path strict send", 10),
        ("path strict receive", 10),
        ("contract transfer", 10),
        ("contract mint", 10),
        ("contract burn", -10),
        ("contract clawback", -10),
        ("classic clawback", -10),
        ("offer crossed", 10),
        ("claimable balance put aside", -10),
        ("counterfeit", 0),
    ]


@pytest.mark.parametrize(("what", "units"), _operations())
def test_each_operation_moves_the_wallet_by_its_amount(what: str, units: int) -> None:
    """Whatever moves the asset changes the wallet's balance by exactly its amount, and no asset's sum is off."""
    chain, people = build(holding=100)
    wallet, payer = people.wallets[0].account_id, people.payers[0].account_id

    def called(kind: ChangeKind, source: str | None, to: str | None) -> ContractCall:
        change = AssetChange(
            kind=kind,
            asset=people.asset,
            source=Address(source) if source else None,
            to=Address(to) if to else None,
            stroops=TEN,
        )
        return ContractCall(source=payer, contract=people.contract, changes=(change,))

    def path(*, strict_send: bool) -> PathPayment:
        return PathPayment(
            source=payer,
            to=wallet,
            strict_send=strict_send,
            sent=None,
            sent_stroops=Stroops(4 * TEN),
            received=people.asset,
            received_stroops=TEN,
            maker=people.market.account_id,
        )

    operations: dict[str, Operation] = {
        "path strict send": path(strict_send=True),
        "path strict receive": path(strict_send=False),
        "contract transfer": called(ChangeKind.TRANSFER, people.contract, wallet),
        "contract mint": called(ChangeKind.MINT, None, wallet),
        "contract burn": called(ChangeKind.BURN, wallet, None),
        "contract clawback": called(ChangeKind.CLAWBACK, wallet, None),
        "classic clawback": Clawback(source=people.asset.issuer, account=wallet, asset=people.asset, stroops=TEN),
        "offer crossed": CrossOffer(
            source=people.market.account_id,
            maker=wallet,
            sold=people.asset,
            sold_stroops=TEN,
            bought=None,
            bought_stroops=Stroops(UNIT),
        ),
        "claimable balance put aside": CreateClaimableBalance(
            source=wallet, claimant=payer, asset=people.asset, stroops=TEN
        ),
        "counterfeit": Payment(
            source=people.counterfeiter.account_id, to=wallet, asset=people.counterfeit, stroops=TEN
        ),
    }
    pending = chain.enqueue(operations[what])
    close(chain)
    assert pending.transaction is not None
    assert pending.transaction.successful, pending.transaction.operation_codes
    assert balance(chain, people, wallet) == (100 + units) * UNIT
    assert all(issued == held for issued, held in chain.state.sums().values())


def test_a_claim_pays_its_claimant_only_and_once() -> None:
    """A claimable balance goes to its claimant; nobody else gets it, and nobody gets it twice."""
    chain, people = build()
    wallet, payer = people.wallets[0].account_id, people.payers[0].account_id
    chain.enqueue(CreateClaimableBalance(source=payer, claimant=wallet, asset=people.asset, stroops=TEN))
    close(chain)
    (balance_id,) = chain.state.claimables
    thief = chain.enqueue(ClaimClaimableBalance(source=people.wallets[1].account_id, balance_id=balance_id))
    first = chain.enqueue(ClaimClaimableBalance(source=wallet, balance_id=balance_id))
    again = chain.enqueue(ClaimClaimableBalance(source=wallet, balance_id=balance_id))
    close(chain)
    codes = [each.transaction.operation_codes for each in (thief, first, again) if each.transaction]
    assert codes == [("op_cannot_claim",), (), ("op_does_not_exist",)]
    assert balance(chain, people, wallet) == TEN
    assert not chain.state.claimables


def test_a_failed_transaction_changes_nothing_but_fee_and_sequence() -> None:
    """When one operation is refused, none of its transaction is done; the fee is gone and the number is used."""
    chain, people = build()
    wallet, payer = people.wallets[0].account_id, people.payers[0].account_id
    before = chain.state.account(payer)
    pay = Payment(source=payer, to=wallet, asset=people.asset, stroops=TEN)
    too_much = Payment(source=payer, to=wallet, asset=people.asset, stroops=Stroops(STROOPS_MAX))
    pending = chain.enqueue(pay, too_much)
    header = close(chain)
    after = chain.state.account(payer)
    assert pending.transaction is not None
    assert pending.transaction.operation_codes == ("op_success", "op_underfunded")
    assert (header.successful_transactions, header.failed_transactions) == (0, 1)
    assert balance(chain, people, wallet) == 0
    assert before is not None
    assert after is not None
    assert after.trustlines == before.trustlines
    assert after.sequence == before.sequence + 1
    assert after.native_stroops == before.native_stroops - 200
    assert all(issued == held for issued, held in chain.state.sums().values())


@pytest.mark.parametrize("code", ["op_no_destination", "op_no_trust", "op_not_authorized", "op_underfunded"])
def test_a_payment_is_refused_as_stellar_refuses_it(code: str) -> None:
    """A payment that cannot be made fails with Stellar's own code."""
    chain, people = build()
    wallet, payer = people.wallets[0].account_id, people.payers[0].account_id
    stranger = keys.derive(7, "stranger").account_id
    bare = keys.derive(7, "bare").account_id
    chain.open_account(bare)
    if code == "op_not_authorized":
        chain.enqueue(
            SetTrustlineFlags(source=people.asset.issuer, trustor=wallet, asset=people.asset, authorized=False)
        )
        close(chain)
    to = {"op_no_destination": stranger, "op_no_trust": bare}.get(code, wallet)
    stroops = Stroops(STROOPS_MAX // 2) if code == "op_underfunded" else TEN
    pending = chain.enqueue(Payment(source=payer, to=to, asset=people.asset, stroops=stroops))
    close(chain)
    assert pending.transaction is not None
    assert pending.transaction.operation_codes == (code,)


def test_an_account_is_born_trusts_and_ends() -> None:
    """create_account, change_trust, its removal and account_merge do what they say, and XLM is conserved."""
    chain, people = build()
    payer, new = people.payers[0].account_id, keys.derive(7, "new").account_id
    chain.enqueue(CreateAccount(source=payer, account=new, starting_stroops=Stroops(100 * UNIT)))
    close(chain)
    opened = chain.enqueue(ChangeTrust(source=new, asset=people.asset, limit_stroops=Stroops(STROOPS_MAX)))
    header = close(chain)
    account = chain.state.account(new)
    assert opened.transaction is not None
    assert account is not None
    assert account.trustlines[people.asset].last_modified_ledger == header.sequence
    assert new in chain.state.holders(people.asset)
    too_early = chain.enqueue(AccountMerge(source=new, into=payer))
    chain.enqueue(ChangeTrust(source=new, asset=people.asset, limit_stroops=Stroops(0)))
    close(chain)
    assert too_early.transaction is not None
    assert too_early.transaction.operation_codes == ("op_has_sub_entries",)
    assert new not in chain.state.holders(people.asset)
    chain.enqueue(AccountMerge(source=new, into=payer))
    close(chain)
    assert chain.state.account(new) is None
    assert all(issued == held for issued, held in chain.state.sums().values())


def test_a_ledger_holds_a_thousand_operations_and_the_rest_waits() -> None:
    """More than a ledger takes is not lost: it is in the next ledger, in the order it came."""
    chain, people = build()
    for _ in range(1005):
        world.pay(chain, people, people.wallets[0].account_id, 1)
    assert [close(chain).operations, close(chain).operations, close(chain).operations] == [1000, 5, 0]
    assert balance(chain, people, people.wallets[0].account_id) == 1005


def test_the_same_story_gives_the_same_chain() -> None:
    """Two chains with one seed and one story agree on every hash and every id."""

    def told() -> list[tuple[str, int]]:
        chain, people = build()
        for number in range(20):
            world.pay(chain, people, people.wallets[number % 3].account_id, 5 + number, payer=number)
            close(chain)
        return [(header.hash, header.operations) for header in chain.history.headers.values()]

    assert told() == told()


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
