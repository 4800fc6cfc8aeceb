"""The chain's history: ids, pages, indexes, effects, trimming, recorded records, and states of a moment ago."""

from typing import Any

import pytest

from sandbox import world
from sandbox.chain import Chain
from sandbox.chain_history import Entry, Kind, Span
from sandbox.chain_operations import CrossOffer, PathPayment, Payment
from sandbox.world import Cast
from schema.stellar import AccountId, Asset, Stroops, ledger_of_operation
from tests.unit.sandbox.small_world import UNIT, balance, build, close


def _span(chain: Chain, *, cursor: int | None = None, descending: bool = False, limit: int = 7) -> Span:
    return Span(cursor=cursor, descending=descending, limit=limit, latest_ledger=chain.latest.sequence)


def _drain(chain: Chain, *, descending: bool = False, account: str | None = None) -> list[Entry]:
    found: list[Entry] = []
    cursor = None
    while page := chain.history.page(
        Kind.PAYMENTS, _span(chain, cursor=cursor, descending=descending), account=account
    ):
        found += page
        cursor = page[-1].operation_id
    return found


def _paid(count: int) -> tuple[Chain, Cast]:
    """Many payments: five a ledger, two operations in each second transaction."""
    chain, people = build()
    source = people.payers[0].account_id
    for number in range(count):
        to = people.wallets[number % 3].account_id
        payment = Payment(source=source, to=to, asset=people.asset, stroops=Stroops(1 + number))
        chain.enqueue(*[payment] * (1 + number % 2))
        if number % 5 == 4:
            close(chain)
    close(chain)
    return chain, people


def test_ids_say_ledger_transaction_and_operation() -> None:
    """An operation's id is its ledger, its transaction's place and its own, and ids only rise."""
    chain, _ = _paid(50)
    entries = _drain(chain)
    ids = [entry.operation_id for entry in entries]
    assert ids == sorted(set(ids))
    assert len(entries) == 75
    for entry in entries:
        assert ledger_of_operation(str(entry.operation_id)) == entry.transaction.ledger
        assert entry.operation_id >> 12 & 0xFFFFF == entry.transaction.index
        assert 1 <= entry.operation_id & 0xFFF <= entry.transaction.operation_count
        assert 18 <= len(str(entry.operation_id)) <= 19


def test_pages_cover_everything_once_in_both_orders() -> None:
    """Following the pages shows every record once, ascending and descending, for everyone and for one account."""
    chain, people = _paid(50)
    everything = _drain(chain)
    assert _drain(chain, descending=True) == everything[::-1]
    for wallet in people.wallets:
        own = [entry for entry in everything if getattr(entry.operation, "to", None) == wallet.account_id]
        assert _drain(chain, account=wallet.account_id) == own
        assert _drain(chain, account=wallet.account_id, descending=True) == own[::-1]


def test_a_page_knows_its_ledger_and_no_later_one() -> None:
    """One ledger's page holds that ledger's records, and a page as of a ledger holds nothing after it."""
    chain, _ = _paid(50)
    ledger = chain.latest.sequence - 4
    everything = _drain(chain)
    only = Span(cursor=None, descending=False, limit=200, latest_ledger=chain.latest.sequence, only_ledger=ledger)
    assert chain.history.page(Kind.PAYMENTS, only) == [e for e in everything if e.transaction.ledger == ledger]
    behind = Span(cursor=None, descending=False, limit=200, latest_ledger=ledger)
    assert chain.history.page(Kind.PAYMENTS, behind) == [e for e in everything if e.transaction.ledger <= ledger]


def test_failed_transactions_show_only_when_asked_for() -> None:
    """A failed payment is in the history with its transaction, and on a page only with include_failed."""
    chain, people = build()
    wallet, payer = people.wallets[0].account_id, people.payers[0].account_id
    chain.enqueue(Payment(source=wallet, to=payer, asset=people.asset, stroops=Stroops(UNIT)))
    world.pay(chain, people, wallet, UNIT)
    close(chain)
    plain = _span(chain)
    assert len(chain.history.page(Kind.PAYMENTS, plain)) == 1
    with_failed = Span(cursor=None, descending=False, limit=7, latest_ledger=chain.latest.sequence, include_failed=True)
    shown = chain.history.page(Kind.PAYMENTS, with_failed)
    assert [entry.transaction.successful for entry in shown] == [False, True]


def test_a_crossed_offer_shows_as_a_trade_and_never_as_a_payment() -> None:
    """The wallet whose offer is crossed has a trade among its effects and nothing among its payments."""
    chain, people = build(holding=100)
    wallet, taker = people.wallets[0].account_id, people.payers[0].account_id
    ten, one = Stroops(10 * UNIT), Stroops(UNIT)
    chain.enqueue(
        CrossOffer(
            source=people.market.account_id,
            maker=wallet,
            sold=people.asset,
            sold_stroops=ten,
            bought=None,
            bought_stroops=one,
        )
    )
    chain.enqueue(
        PathPayment(
            source=taker,
            to=taker,
            strict_send=True,
            sent=None,
            sent_stroops=one,
            received=people.asset,
            received_stroops=ten,
            maker=wallet,
        )
    )
    close(chain)
    assert chain.history.page(Kind.PAYMENTS, _span(chain), account=wallet) == []
    effects = chain.history.effects_page(_span(chain), account=wallet)
    assert [effect.type for _, _, effect in effects] == ["trade", "trade"]
    assert balance(chain, people, wallet) == 100 * UNIT


def test_effect_pages_continue_inside_an_operation() -> None:
    """Effects paged one by one are the effects paged at once, in both orders."""
    chain, _ = _paid(10)
    whole = chain.history.effects_page(_span(chain, limit=200))
    assert len(whole) == 30
    for descending, expected in ((False, whole), (True, whole[::-1])):
        found = []
        cursor, number = None, 2**63 - 1
        while page := chain.history.effects_page(
            _span(chain, cursor=cursor, descending=descending, limit=1), number=number
        ):
            found += page
            cursor, number = page[0][0].operation_id, page[0][1]
        assert found == expected


def test_trimming_forgets_the_elder_ledgers_and_nothing_else() -> None:
    """After a trim the history begins at the ledger named; what comes after it is paged and indexed as before."""
    chain, people = _paid(50)
    ledger = chain.latest.sequence - 4
    kept = [entry for entry in _drain(chain) if entry.transaction.ledger >= ledger]
    chain.history.trim(before_ledger=ledger)
    assert chain.history.elder_ledger == ledger
    assert _drain(chain) == kept
    assert _drain(chain, descending=True) == kept[::-1]
    wallet = people.wallets[0].account_id
    assert _drain(chain, account=wallet) == [e for e in kept if getattr(e.operation, "to", "") == wallet]
    assert kept[0].transaction.hash in chain.history.transactions
    world.pay(chain, people, wallet, UNIT)
    close(chain)
    assert len(_drain(chain)) == len(kept) + 1


def test_ledger_pages_walk_in_both_orders() -> None:
    """Pages of ledgers show each ledger once, newest first or oldest first."""
    chain, _ = _paid(50)
    for descending in (False, True):
        found: list[int] = []
        cursor = None
        while page := chain.history.ledgers_page(_span(chain, cursor=cursor, descending=descending, limit=3)):
            found += [header.sequence for header in page]
            cursor = page[-1].sequence << 32
        assert found == sorted(chain.history.headers, reverse=descending)


def test_a_state_of_a_moment_ago_can_be_read() -> None:
    """What a replica that lags shows is what the state was then."""
    chain, people = build()
    wallet = people.wallets[0].account_id
    seen = {chain.latest.sequence: 0}
    for _ in range(10):
        world.pay(chain, people, wallet, UNIT)
        ledger = close(chain).sequence
        seen[ledger] = balance(chain, people, wallet)
    for ledger, stroops in seen.items():
        account = chain.state.account(wallet, as_of=ledger)
        assert account is not None
        assert account.trustlines[people.asset].balance_stroops == stroops


def _recorded(ledger: int, to: str, asset: Asset, *, amount: str = "39.0000000") -> dict[str, Any]:
    token = str(ledger << 32 | 5 << 12 | 1)
    return {
        "id": token,
        "paging_token": token,
        "transaction_successful": True,
        "source_account": "GC5LF63GRVIT5ZXXCXLPI3RX2YXKJQFZVBSAO6AUELN3YIMSWPD6Z6FH",
        "type": "payment",
        "created_at": "2024-07-06T10:13:42Z",
        "transaction_hash": "d5b3b11e39b9450a79645de31a2503c45b9cfe1567b81f52b4a212afd834492e",
        "asset_type": asset.horizon_type,
        "asset_code": asset.code,
        "asset_issuer": asset.issuer,
        "from": "GC5LF63GRVIT5ZXXCXLPI3RX2YXKJQFZVBSAO6AUELN3YIMSWPD6Z6FH",
        "to": to,
        "amount": amount,
    }


def test_a_recorded_payment_is_passed_on_and_moves_the_balance() -> None:
    """The next close jumps to the recorded ledger, shows the record itself, and credits a wallet that is here."""
    chain, people = build()
    wallet = AccountId("GAFK7XFZHMLSNV7OJTBO7BAIZA66X6QIBV5RMZZYXK4Q7ZSO52J5C3WQ")
    world.open_wallet(chain, people, wallet)
    raw = _recorded(chain.latest.sequence + 1000, wallet, people.asset)
    assert chain.replay(raw) == chain.latest.sequence + 1000
    world.pay(chain, people, wallet, UNIT)
    header = close(chain)
    assert header.sequence == int(raw["paging_token"]) >> 32
    first, second = _drain(chain)
    assert getattr(first.operation, "raw", None) is raw
    assert second.operation_id > first.operation_id
    assert balance(chain, people, wallet) == 40 * UNIT
    assert [change.posting.stroops for change in chain.changes_of(wallet)] == [UNIT, 39 * UNIT]
    assert all(issued == held for issued, held in chain.state.sums().values())


def test_a_recorded_payment_of_the_past_is_refused() -> None:
    """History cannot be added behind what was already shown."""
    chain, people = build()
    with pytest.raises(ValueError, match="already"):
        chain.replay(_recorded(chain.latest.sequence, people.wallets[0].account_id, people.asset))
