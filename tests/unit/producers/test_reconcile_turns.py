"""Looking through very many wallets: whole, and never for so long that nothing else has its turn."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from producers.reconcile import turns
from producers.reconcile.book import Book
from producers.reconcile.differences import Kind, Row
from producers.reconcile.knowledge import Interval
from producers.reconcile.store import Rows
from producers.source import State
from schema.stellar import AccountId, Ledger, Stroops
from tests.people import account_id

START = Ledger(5_000)
WALLETS = 20_000
AT_ONCE_MAX = 5_000  # some 30 ms


def state(account: AccountId, number: int) -> State:
    """What the chain holds of it: every 300th was read late, every 1,000th holds nothing."""
    observed = Ledger(START + 5 + (number % 300 == 0))
    if number % 1_000 == 0:
        return State(
            account_id=account, balance_stroops=Stroops(0), authorized=False, version=observed, observed=observed
        )
    version = Ledger(1 + number * 7 % START)
    return State(
        account_id=account, balance_stroops=Stroops(number), authorized=True, version=version, observed=observed
    )


async def read(wallets: int) -> tuple[Book, list[AccountId]]:
    """So many wallets, read and compared: rows are the chain's, but every 777th is behind."""
    accounts = sorted(account_id(f"turn {number}") for number in range(wallets))

    async def portions() -> AsyncIterator[Rows]:
        for start in range(0, wallets, 1_000):
            rows = []
            for number in range(start, min(start + 1_000, wallets)):
                held = state(accounts[number], number)
                version = Ledger(max(1, held.version - (number % 777 == 0)))
                rows.append(
                    (
                        accounts[number],
                        Row(version=version, balance_stroops=held.balance_stroops, authorized=held.authorized),
                    )
                )
            yield rows
            await asyncio.sleep(0)

    book = Book(start=START)
    await book.load(portions())
    for number, account in enumerate(accounts):
        book.see(number, state(account, number))
        if number % 5_000 == 1:
            book.knowledge.touch(number, Ledger(START + 8))
    book.knowledge.drain(Ledger(START + 7))
    return book, accounts


def known(book: Book) -> list[Interval]:
    return [each for number in range(len(book)) if (each := book.knowledge.interval(number)) is not None]


async def test_by_whole_columns_it_is_what_it_is_one_by_one() -> None:
    """Where everybody is known, who is not, and who differs, is the same as asked wallet by wallet."""
    book, _ = await read(7_000)
    for drained in (START + 7, START + 20):
        book.knowledge.drain(Ledger(drained))
        intervals = known(book)
        found = await turns.overlap(book)
        assert found.since == max(each.since for each in intervals)
        assert found.until == min(each.until for each in intervals)
        for ledger in (START, START + 6, START + 12):
            missing = [number for number, each in enumerate(intervals) if Ledger(ledger) not in each]
            assert await turns.not_known_at(book, Ledger(ledger)) == missing
        best = await turns.best_ledger(book)
        assert best is not None
        most = sum(best in each for each in intervals)
        assert most == max(sum(Ledger(each) in held for held in intervals) for each in range(START - 9, START + 25))
    one_by_one = [number for number in range(len(book)) if book.verdict(number) is not None]
    assert one_by_one
    assert await turns.differing(book) == one_by_one
    assert set((await turns.verdicts(book, one_by_one)).values()) <= set(Kind)


LOOKS: dict[str, Callable[[Book], Awaitable[object]]] = {
    "overlap": turns.overlap,
    "not_known_at": lambda book: turns.not_known_at(book, Ledger(START + 6)),
    "best_ledger": turns.best_ledger,
    "verdicts": lambda book: turns.verdicts(book, range(len(book))),
    "differing": turns.differing,
}


@pytest.mark.parametrize("look", LOOKS)
async def test_very_many_wallets_block_nothing(look: str) -> None:
    """However many there are, a signal or a connection has its turn after every few thousand of them."""
    book, _ = await read(WALLETS)
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            await asyncio.sleep(0)
            others += 1

    waiting = asyncio.create_task(other())
    await LOOKS[look](book)
    waiting.cancel()
    assert others >= WALLETS // AT_ONCE_MAX - 1
