"""One state of everything, as a tuple of small ints that can be compared and kept by the million."""

from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
NOBODY = -1


class Numbered(Generic[T]):
    """Values by number, each once, so that a state is a tuple of small ints."""

    def __init__(self) -> None:
        self.values: list[T] = []
        self._numbers: dict[T, int] = {}

    def __call__(self, value: T) -> int:
        number = self._numbers.get(value)
        if number is None:
            number = self._numbers[value] = len(self.values)
            self.values.append(value)
        return number


class World(NamedTuple):
    """One state of everything. Topics hold numbers of messages; `*_at` are committed offsets."""

    chain: int
    database: int
    told: tuple[int, int] | None = None  # the version and epoch that the stream told last; None: it remembers nothing
    hand: int = NOBODY  # a fact that a second producer has read and not yet told
    facts: tuple[int, ...] = ()
    facts_at: int = 0
    results: tuple[int, ...] = ()
    results_at: int = 0
    sent: tuple[int, ...] = ()
    sent_at: int = 0
    endings: tuple[tuple[int, int], ...] = ()  # the executor's memory: command, result
    first: int = 0  # the version of the wallet's first recorded fact
    paused: bool = False
    left: int = 0  # facts, results, wake-ups, crashes and replays that may still come
    changes_left: int = 0  # what may still happen on the chain
    rest: int = NOBODY  # once everything is quiet: the balance before the closing payment


Step = tuple[str, World]
