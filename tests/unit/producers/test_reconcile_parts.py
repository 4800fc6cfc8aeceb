"""The parts of a comparison: what differs, many addresses, pages of the history, and waiting."""

import asyncio
import contextlib
from collections.abc import Sequence
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from producers.backfill.run import Marks
from producers.patience import Patience
from producers.progress import Steps
from producers.reconcile.accounts import WIDTH, Accounts
from producers.reconcile.differences import Kind, Row, compare
from producers.reconcile.histories import Histories, Step
from producers.reconcile.states import Read, read_states
from producers.source import History, Page, State, Unavailable
from schema.stellar import AccountId, Asset, Cursor, Ledger, Malformed, Network, Stroops
from tests.people import account_id
from tests.unit.producers import virtual_time
from tests.unit.producers.partial import PartialSource

WALLET = account_id("wallet")
USDC = Asset("USDC", account_id("issuer"))
READ_AT = 1_000


def held(stroops: int, version: int, *, authorized: bool = True) -> State:
    return State(
        account_id=WALLET,
        balance_stroops=Stroops(stroops),
        authorized=authorized,
        version=Ledger(version),
        observed=Ledger(READ_AT),
    )


def stored(stroops: int | None, version: int | None, *, authorized: bool = True) -> Row:
    return Row(
        version=None if version is None else Ledger(version),
        balance_stroops=None if stroops is None else Stroops(stroops),
        authorized=authorized,
    )


ABSENT = held(0, READ_AT, authorized=False)


@pytest.mark.parametrize(
    ("row", "state", "kind"),
    [
        (stored(5, 900), held(5, 900), None),
        (stored(None, None), held(5, 900), Kind.MISSING),
        (stored(5, None), held(5, 900), Kind.MISSING),  # a balance from before the pipeline
        (stored(5, 800), held(5, 900), Kind.BEHIND),
        (stored(5, 800), ABSENT, Kind.BEHIND),
        (stored(6, 900), held(5, 900), Kind.CONFLICT),
        (stored(None, 900), held(5, 900), Kind.CONFLICT),  # no amount that the chain could have
        (stored(5, 900, authorized=False), held(5, 900), Kind.AUTHORIZED),
        (stored(5, 950), held(5, 900), Kind.AHEAD),
        (stored(0, 950, authorized=False), held(5, 900), Kind.AHEAD),
        (stored(5, READ_AT + 1), held(5, 900), Kind.TOO_EARLY),
        (stored(5, READ_AT), ABSENT, Kind.TOO_EARLY),
        (stored(0, 700, authorized=False), ABSENT, None),
        (stored(0, READ_AT, authorized=False), ABSENT, None),
        (stored(0, READ_AT + 1, authorized=False), ABSENT, Kind.TOO_EARLY),
        (stored(0, 700, authorized=False), held(0, 900, authorized=False), None),
    ],
)
def test_each_row_of_the_table(row: Row, state: State, kind: Kind | None) -> None:
    """What a row and a state come to."""
    assert compare(row, state) is kind


def test_addresses_are_found_by_halves() -> None:
    """Each of many has its place, in order; others have none; out of order is a fault of ours."""
    everybody = sorted(account_id(str(number)) for number in range(300))
    accounts = Accounts()
    for each in everybody[::2]:
        accounts.append(each)
    assert [accounts[number] for number in range(len(accounts))] == everybody[::2]
    assert [accounts.number(each) for each in everybody[::2]] == list(range(150))
    assert {accounts.number(each) for each in everybody[1::2]} == {None}
    with pytest.raises(AssertionError):
        accounts.append(everybody[0])
    with pytest.raises(AssertionError):
        accounts.append(AccountId("7" * (WIDTH + 1)))


class PagedSource(PartialSource):
    """Says these pages one after the other, then empty ones."""

    payments_show_every_change = True

    def __init__(self, pages: Sequence[Page]) -> None:
        self._pages = list(pages)

    async def payments(self, cursor: Cursor) -> Page:  # noqa: ARG002
        return self._pages.pop(0) if self._pages else Page(records=[], cursor=None, full=False)


def payment(ledger: int, number: int, to: AccountId = WALLET, **bent: Any) -> dict[str, Any]:
    operation = str(ledger << 32 | number)
    return {
        "id": operation,
        "paging_token": operation,
        "transaction_successful": True,
        "type": "payment",
        "transaction_hash": "0" * 64,
        "asset_type": USDC.horizon_type,
        "asset_code": USDC.code,
        "asset_issuer": USDC.issuer,
        "from": account_id("payer"),
        "to": to,
        "amount": "1.0000000",
        **bent,
    }


def page(*records: dict[str, Any], full: bool = False) -> Page:
    return Page(records=records, cursor=Cursor(records[-1]["paging_token"]), full=full)


def read(*pages: Page) -> tuple[Histories, list[Step]]:
    """The history behind ledger 10, page by page."""

    async def steps() -> tuple[Histories, list[Step]]:
        histories = Histories(PagedSource(pages), network=Network.TESTNET, asset=USDC, after=Ledger(10))
        return histories, [await histories.step() for _ in pages]

    return asyncio.run(steps())


def test_a_full_page_proves_all_but_its_last_ledger() -> None:
    """What follows may be of the same ledger; a page that is not full proves its last record's ledger."""
    assert read(page(payment(11, 1), payment(13, 1), full=True))[0].complete == 12
    assert read(page(payment(11, 1), payment(13, 1)))[0].complete == 13
    assert read(Page(records=[], cursor=None, full=False))[0].complete == 10
    assert read(Page(records=[], cursor=None, full=False, complete=Ledger(17)))[0].complete == 17


def test_a_record_said_twice_is_taken_once() -> None:
    """The same page again adds nothing; the wallet's ledger is the record's."""
    steps = read(page(payment(11, 1)), page(payment(11, 1), payment(12, 1)))[1]
    assert [(WALLET, ledger) for ledger in (11, 12)] == [
        each for step in steps for each in step.touched if each[0] == WALLET
    ]


@pytest.mark.parametrize(
    "pages",
    [
        [page(payment(12, 1), payment(11, 1))],
        [page(payment(11, 1), full=True), page(payment(11, 1), full=True)],
    ],
)
def test_pages_that_make_no_sense_are_not_taken(pages: list[Page]) -> None:
    """Out of order, or full of what was read before: asked for again, not passed over."""
    with pytest.raises(Unavailable):
        read(*pages)


def test_a_record_that_cannot_be_read_may_be_about_anybody() -> None:
    """Its ledger is said to be blind, the accounts it names are touched, and it is a dead letter."""
    step = read(page(payment(11, 1), payment(12, 1, amount="much"), payment(13, 1)))[1][0]
    assert (step.blind, len(step.refused)) == (12, 1)
    assert (WALLET, 12) in step.touched


def test_one_without_a_place_is_blind_up_to_the_end_of_its_page() -> None:
    """Where it stands is not known: anywhere on the page."""
    step = read(page(payment(11, 1), payment(12, 1, id="x"), payment(13, 1)))[1][0]
    assert (step.blind, len(step.refused)) == (13, 1)


class WeakSource(PartialSource):
    """One wallet that cannot be read, one whose state makes no sense, the others at once."""

    async def history(self) -> History:
        return History(passphrase=Network.TESTNET.passphrase, elder=Ledger(1), latest=Ledger(READ_AT))

    async def states(self, account_ids: Any, asset: Asset, *, known_absent: Any = ()) -> Any:  # noqa: ARG002
        failing = False
        for each in account_ids:
            failing |= each == account_id("failing")
            if each not in (account_id("failing"), account_id("bent")):
                yield State(
                    account_id=each,
                    balance_stroops=Stroops(1),
                    authorized=True,
                    version=Ledger(1),
                    observed=Ledger(READ_AT),
                )
        if failing:
            raise Unavailable("not this one")

    async def state(self, account_id: AccountId, asset: Asset, *, in_bulk: bool = False) -> State:  # noqa: ARG002
        raise Malformed("what", expected="a state")


def test_a_wallet_that_cannot_be_read_does_not_end_the_reading() -> None:
    """The others come, the one that makes no sense says so, and after the patience the one that fails comes last."""

    async def found() -> list[Read]:
        wanted = {account_id(name): Ledger(1) for name in ("one", "two", "failing")}
        first = [each async for each in read_states(WeakSource(), USDC, wanted, patience_s=30)]
        return first + [
            each async for each in read_states(WeakSource(), USDC, {account_id("bent"): Ledger(1)}, patience_s=30)
        ]

    *others, failing, bent = virtual_time.run(found())
    assert {each.account_id for each in others} == {account_id("one"), account_id("two")}
    assert (failing.account_id, str(failing.away)) == (account_id("failing"), "not this one")
    assert bent.fault is not None


def test_marks_keep_the_first_touch_and_the_last() -> None:
    """Two histories are not read in step: a touch may come behind a later one. Who is told is open no more."""
    marks = Marks()
    nobody, (one, two) = account_id("nobody"), sorted((account_id("one"), account_id("two")))
    for each in (one, two):
        marks.append(each)
    for each, ledger in ((one, 13), (two, 12), (one, 11), (one, 12), (nobody, 10)):
        marks.mark(each, Ledger(ledger))
    assert (list(marks.first), list(marks.last), marks.marked) == ([11, 12], [13, 12], 2)
    assert [marks.accounts[number] for number in marks.open()] == [one, two]
    marks.done(one)
    assert [marks.accounts[number] for number in marks.open()] == [two]


def test_patience_ends_with_what_was_waited_for() -> None:
    """Waits ever longer, begins anew after an answer, and raises the error itself in the end."""

    async def wait() -> float:
        loop, patience = asyncio.get_running_loop(), Patience(60)
        await patience.wait(Unavailable("first"))
        patience.restore()
        began_s = loop.time()
        with contextlib.suppress(Unavailable):
            while True:
                await patience.wait(Unavailable("last"))
        return loop.time() - began_s

    assert 60 <= virtual_time.run(wait()) <= 75


def test_progress_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody looks on: at most a line every ten seconds, with what is left by the pace so far."""
    now_s = 0.0
    steps = Steps(console=None, clock_s=lambda: now_s)
    steps.begin("reading ledgers", 100)
    for done in range(100):
        now_s += 1
        steps.at(done + 1, marked=done)
    lines = [line for line in capsys.readouterr().out.splitlines() if "seconds_left" in line]
    assert 9 <= len(lines) <= 10
    assert "marked=49" in lines[4]
    assert "seconds_left=50" in lines[4]


def test_progress_is_a_bar_where_somebody_looks_on() -> None:
    """One at a time, with how many of how many, and what was found so far."""
    shown = StringIO()
    steps = Steps(console=Console(file=shown, force_terminal=True, width=120))
    steps.begin("reading ledgers", 100)
    steps.at(30, marked=4)
    steps.end()
    assert "reading ledgers" in shown.getvalue()
    assert "30/100" in shown.getvalue()
    assert "4 marked" in shown.getvalue()
