"""Looking through all wallets of a comparison, so many at a time: between them everything else has its turn, a signal
or a connection. There may be a million.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Final

from producers.reconcile.book import Book
from producers.reconcile.differences import Kind
from producers.reconcile.knowledge import NOBODY, Overlap, newest_of_most
from schema.stellar import Ledger

TURN: Final = 2_500  # at most some 15 ms


async def turns(wallets: int) -> AsyncIterator[tuple[int, int]]:
    """The first number of each turn, and the one behind its last."""
    for first in range(0, wallets, TURN):
        yield first, min(first + TURN, wallets)
        await asyncio.sleep(0)


async def overlap(book: Book) -> Overlap:
    """Where everybody is known."""
    found = NOBODY
    async for first, behind in turns(len(book)):
        found = book.knowledge.overlap(first, behind, found)
    return found


async def not_known_at(book: Book, ledger: Ledger) -> list[int]:
    """Who was read, and is not known at this ledger."""
    found: list[int] = []
    async for first, behind in turns(len(book)):
        found += book.knowledge.not_known_at(ledger, first, behind)
    return found


async def best_ledger(book: Book) -> Ledger | None:
    """The newest of the ledgers at which most are known; None when nobody was read."""
    oldest_end = (await overlap(book)).until
    steps: Counter[int] = Counter()
    async for first, behind in turns(len(book)):
        book.knowledge.count(first, behind, steps, oldest_end=oldest_end)
    return newest_of_most(steps)


async def differing(book: Book) -> list[int]:
    """Whose row is not what the chain holds."""
    found: list[int] = []
    async for first, behind in turns(len(book)):
        found += book.differing_among(first, behind)
    return found


async def verdicts(book: Book, numbers: Sequence[int]) -> dict[int, Kind | None]:
    """What is the matter with each of these."""
    found: dict[int, Kind | None] = {}
    async for first, behind in turns(len(numbers)):
        found |= {number: book.verdict(number) for number in numbers[first:behind]}
    return found
