"""One account's history from a source in trouble: what cannot be trusted is asked for again, never claimed."""

from collections.abc import Sequence
from typing import Any

import pytest

from producers import account_history
from producers.account_history import Filling
from producers.source import PAGE_RECORDS_MAX, History, Page, Unavailable
from schema.balance_event import Movement
from schema.stellar import AccountId, Cursor, Ledger, format_stroops, parse_signed_stroops
from tests.unit.producers.partial import PartialSource
from tests.unit.producers.records import ASSET, BOB, LEDGER, payment
from tests.unit.producers.test_history import STORY, Pages


class Account(Pages):
    """The same pages, as one account's."""

    asked = 0

    async def account_payments(self, account_id: AccountId, cursor: Cursor) -> Page | None:
        assert account_id == BOB
        self.asked += 1
        return await self.payments(cursor)


async def movements(source: Account) -> tuple[Movement, ...] | None:
    return await account_history.movements(
        source, BOB, ASSET, after=Ledger(LEDGER), up_to=Ledger(LEDGER + 3), movements_max=1_000
    )


@pytest.mark.parametrize(
    "page", [STORY[3:], [record for record in STORY[3:] for _ in range(2)]], ids=["plain", "doubled"]
)
async def test_every_movement_counts_once(page: Sequence[dict[str, Any]]) -> None:
    """Up to the ledger asked for, each once, also where the source says each twice."""
    found = await movements(Account(page))
    assert found is not None
    assert [each.operation_id for each in found] == [record["id"] for record in STORY[3:12]]


async def test_a_page_out_of_order_is_asked_for_again() -> None:
    """A payment behind a later one would be left out of what is claimed."""
    with pytest.raises(Unavailable, match="out of order"):
        await movements(Account(STORY[::-1]))


async def test_the_same_full_page_for_ever_is_not_asked_for_for_ever() -> None:
    """A proxy that answers every cursor alike costs two requests, not hundreds."""
    many = [payment(ledger=LEDGER + 1, number=number) for number in range(1, PAGE_RECORDS_MAX + 1)]
    source = Account(*[many] * 600)
    with pytest.raises(Unavailable, match="nothing new"):
        await movements(source)
    assert source.asked == 2


class Behind(PartialSource):
    """A source whose account pages lack what its ledgers have, for so many askings."""

    def __init__(
        self,
        whole: Sequence[dict[str, Any]],
        *,
        lacks: Sequence[dict[str, Any]] = (),
        for_: int = 0,
        unknown_for: int = 0,
    ) -> None:
        self.whole = whole
        self.lacks = lacks
        self.lagging = for_
        self.unknown_for = unknown_for  # so many askings the account is not there at all
        self.elder = Ledger(LEDGER)
        self.latest = Ledger(LEDGER + 4)
        self.ledgers: list[int] = []
        self.asked = 0

    async def history(self) -> History:
        return History(passphrase="", elder=self.elder, latest=self.latest)

    async def account_payments(self, account_id: AccountId, cursor: Cursor) -> Page | None:
        assert account_id == BOB
        self.asked += 1
        if self.asked <= self.unknown_for:
            return None
        hidden = self.lacks if self.asked <= self.lagging else ()
        return _page([each for each in self.whole if each not in hidden and int(each["id"]) > int(cursor)])

    async def ledger_payments(self, ledger: Ledger, cursor: Cursor | None) -> Page | None:
        assert cursor is None
        self.ledgers.append(ledger)
        if ledger > self.latest:
            return None
        return _page([each for each in self.whole if int(each["id"]) >> 32 == ledger])


def _page(records: Sequence[dict[str, Any]]) -> Page:
    after = Cursor(records[-1]["paging_token"]) if records else None
    return Page(records=records, cursor=after, full=False)


IN = payment(ledger=LEDGER + 1, number=1, amount="50.0000000")
LATER = payment(ledger=LEDGER + 3, number=1, amount="7.0000000")
OLDEST_PROVEN = payment(ledger=LEDGER + 2, number=1, amount="3.0000000")


async def fill(source: Behind, *, change: str, filling: Filling | None = None) -> list[str] | None:
    """The amounts of the movements up to LEDGER + 4, when the balance changed by so many units."""
    filling = filling or Filling(source, ASSET, movements_max=100)
    found = await filling.movements(
        BOB, after=Ledger(LEDGER), up_to=Ledger(LEDGER + 4), change_stroops=parse_signed_stroops(change)
    )
    return None if found is None else [format_stroops(each.amount_stroops) for each in found]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_history, "ASK_AGAIN_S", 0.0)


async def test_what_adds_up_is_asked_for_once() -> None:
    """Where payments explain the change, no ledger is read."""
    source = Behind([IN, LATER])
    assert await fill(source, change="+57.0") == ["50.0000000", "7.0000000"]
    assert (source.asked, source.ledgers) == (1, [])


@pytest.mark.parametrize("missing", [LATER, OLDEST_PROVEN], ids=["the last payment", "one two ledgers before"])
async def test_what_a_page_lacks_is_asked_for_again(missing: dict[str, Any]) -> None:
    """The newest ledgers say that it is missing: the next asking has it."""
    source = Behind([IN, OLDEST_PROVEN, LATER], lacks=[missing], for_=2)
    assert await fill(source, change="+60.0") == ["50.0000000", "3.0000000", "7.0000000"]
    assert source.asked == 3


async def test_a_missing_payment_hides_behind_no_other_change() -> None:
    """An offer crossed in the version's ledger explains nothing as long as a ledger shows more than the page does."""
    source = Behind([IN, LATER], lacks=[LATER], for_=100)
    with pytest.raises(Unavailable, match="a replica is behind"):
        await fill(source, change="+63.0")
    assert source.asked == account_history.ASKED_MAX


async def test_a_change_that_no_payment_explains_is_believed() -> None:
    """The newest ledgers have nothing more than the page: something else changed the balance, and it is asked once."""
    source = Behind([IN])
    assert await fill(source, change="+45.0") == ["50.0000000"]
    assert (source.asked, source.ledgers) == (1, [LEDGER + 2, LEDGER + 3, LEDGER + 4])


async def test_a_ledger_that_is_not_there_proves_nothing() -> None:
    """A replica without the version's ledger cannot say that nothing is missing."""
    source = Behind([IN])
    source.latest = Ledger(LEDGER + 3)
    with pytest.raises(Unavailable, match="not in the source's history"):
        await fill(source, change="+45.0")


async def test_a_ledger_is_read_once_for_all_accounts() -> None:
    """A thousand claims of one airdrop cost three ledgers, not three thousand."""
    source = Behind([IN])
    filling = Filling(source, ASSET, movements_max=100)
    for _ in range(3):
        assert await fill(source, change="+45.0", filling=filling) == ["50.0000000"]
    assert len(source.ledgers) == account_history.PROVEN_LEDGERS


async def test_a_ledger_that_cannot_be_read_proves_nothing_either() -> None:
    """Its payments are not known: the movements are told as unknown."""
    broken = payment(ledger=LEDGER + 4, number=9, amount="much")
    source = Behind([IN, broken], lacks=[broken], for_=100)
    assert await fill(source, change="+45.0") is None


async def test_ledgers_before_the_history_are_not_asked_for() -> None:
    """They are gone for good, and to ask for them would end the process: whoever asked sees to that."""
    source = Behind([IN])
    source.elder = Ledger(LEDGER + 4)
    assert await fill(source, change="+45.0") == ["50.0000000"]
    assert source.ledgers == [LEDGER + 4]


async def test_an_account_that_a_replica_does_not_know_yet_is_asked_for_again() -> None:
    """It was created a moment ago, and the replica is behind: its first payment's source is no secret for good."""
    source = Behind([LATER], unknown_for=2)
    assert await fill(source, change="+7.0") == ["7.0000000"]
    assert source.asked == 3


async def test_an_account_that_stays_unknown_although_it_was_paid_waits() -> None:
    """The newest ledgers show its payment: whoever does not know the account is behind them."""
    source = Behind([LATER], unknown_for=100)
    with pytest.raises(Unavailable, match="a replica is behind"):
        await fill(source, change="+7.0")
    assert source.asked == account_history.ASKED_MAX


async def test_an_account_that_stays_unknown_is_told_without_its_movements() -> None:
    """No ledger shows why: its balance does not wait for ever, and nothing is claimed."""
    source = Behind([], unknown_for=100)
    assert await fill(source, change="+7.0") is None
    assert source.asked == account_history.ASKED_MAX


async def test_an_account_whose_history_is_forgotten_is_asked_for_once() -> None:
    """The first ledger that is asked for is no longer there: nobody will ever know."""
    source = Behind([LATER], unknown_for=100)
    source.elder = Ledger(LEDGER + 2)
    assert await fill(source, change="+7.0") is None
    assert (source.asked, source.ledgers) == (1, [])


async def test_an_account_that_was_never_opened_is_asked_for_once() -> None:
    """Nothing changed, so there is nothing to explain: to read such a wallet on request costs what it did."""
    source = Behind([], unknown_for=100)
    assert await fill(source, change="+0.0") is None
    assert (source.asked, source.ledgers) == (1, [])
