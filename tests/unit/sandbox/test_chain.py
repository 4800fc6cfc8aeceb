"""The simulated chain: what each operation does to balances, and what a transaction and a ledger promise."""

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
from schema.stellar import STROOPS_MAX, Address, Stroops, parse_account_id, parse_address
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
