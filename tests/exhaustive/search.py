"""Breadth-first over every state that so many inputs can lead to, each state once; and from each the way to rest."""

import sys
import time
from array import array
from dataclasses import dataclass
from itertools import islice

from tests.exhaustive import oracle
from tests.exhaustive.model import Model
from tests.exhaustive.world import NOBODY, World

REST_STEPS_MAX = 400
REST_INPUTS = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a search visited."""

    states: int
    transitions: int
    rests: int  # different states in which everything was at rest
    decisions: int  # different transactions through the real decision
    depth: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.states:,} states, {self.transitions:,} transitions, {self.rests:,} states at rest,"
            f" {self.decisions:,} different transactions decided, depth {self.depth}, {self.seconds:.1f} s"
        )


class Broken(AssertionError):
    """An invariant does not hold: the shortest way there, as a story."""

    def __init__(self, what: object, story: list[str]) -> None:
        lines = [f"{number:3}. {line}" for number, line in enumerate(story, 1)]
        super().__init__("\n".join([f"broken: {what}", "the shortest way there:", *lines]))


class Search:
    """All states from one start."""

    def __init__(self, model: Model, *, inputs: int, changes: int, progress: bool = False) -> None:
        self._model = model
        self._start = model.start(inputs=inputs, changes=changes)
        self._progress = progress
        self._numbers: dict[World, int] = {self._start: 0}
        self._parents = array("q", [0])
        self._at_rest: set[World] = set()  # worlds from which the way to rest is known to be good
        self._rests = 0

    def run(self) -> Figures:
        """Visit everything; Broken where an invariant does not hold."""
        began, transitions, depth = time.monotonic(), 0, 0
        layer = [self._start]
        while layer:
            following: list[World] = []
            for world in layer:
                transitions += self._visit(world, following)
            layer = following
            depth += bool(layer)
            if self._progress:
                elapsed = time.monotonic() - began
                print(f"  depth {depth}: {len(self._numbers):,} states, {elapsed:.0f} s", file=sys.stderr, flush=True)  # noqa: T201
        return Figures(
            states=len(self._numbers),
            transitions=transitions,
            rests=self._rests,
            decisions=self._model.decisions,
            depth=depth,
            seconds=time.monotonic() - began,
        )

    def _visit(self, world: World, following: list[World]) -> int:
        number, numbers, taken = self._numbers[world], self._numbers, 0
        label = ""
        try:
            for label, after in self._model.steps(world):  # noqa: B007 - said when it breaks
                taken += 1
                if after in numbers:
                    continue
                numbers[after] = len(numbers)
                self._parents.append(number)
                following.append(after)
                oracle.check_chain(self._model, after)
        except AssertionError as broken:
            raise Broken(broken, [*self._story(world), f"(after or at: {label})"]) from broken
        if not world.left or not any(self._model.work(world)):  # from the others the same way leads through these
            self._come_to_rest(world)
        return taken

    # Rest

    def _come_to_rest(self, world: World) -> None:
        """From here everyone does their work and nobody disturbs: the world must come to rest, and rightly."""
        way: list[str] = []
        met: list[World] = []
        here: World | None = self._undisturbed(world)
        try:
            while here is not None and here not in self._at_rest:
                assert len(met) < REST_STEPS_MAX, "the world does not come to rest"
                met.append(here)
                label, here = self._next(here)
                here = None if here is None else self._undisturbed(here)
                way.append(label)
        except AssertionError as broken:
            raise Broken(broken, [*self._story(world), "and then, undisturbed:", *way]) from broken
        self._at_rest.update(met)

    def _undisturbed(self, world: World) -> World:
        """Nothing is counted any more, and nothing that was taken in comes again."""
        return self._model.forgotten(world._replace(left=0, changes_left=0))._replace(left=REST_INPUTS)

    def _next(self, world: World) -> tuple[str, World | None]:
        model = self._model
        for label, after in islice(model.work(world), 1):
            oracle.check_chain(model, after)
            return label, after
        if world.paused:
            return "the person unpauses", world._replace(paused=False)
        chain, database = model.chains.values[world.chain], model.databases.values[world.database]
        is_waiting = database.wallet.due_at is not None or any(row.record.is_open for row in database.commands)
        if is_waiting:
            return "300 s pass", world._replace(chain=model.chains(chain.later(1)))
        oracle.check_rest(model, world, closing=world.rest != NOBODY)
        self._rests += 1
        if world.rest != NOBODY:
            return "", None
        paid = world._replace(chain=model.chains(chain.moved(model.minimum, "received")), rest=chain.balance)
        return f"at rest; {model.minimum} come in", paid

    # The story

    def _story(self, world: World) -> list[str]:
        worlds = list(self._numbers)
        lines: list[str] = []
        number = self._numbers[world]
        while number:
            parent = self._parents[number]
            after = worlds[number]
            lines.append(next(label for label, each in self._model.steps(worlds[parent]) if each == after))
            number = parent
        return lines[::-1]
