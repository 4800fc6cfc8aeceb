"""What will go wrong, when and for how long: drawn from a seed before anything begins. Pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

GAP_S: Final = (0.5, 2.5)  # between two faults: the pipeline works, and is killed
VOLLEY_MAX: Final = 4  # so many kills of one moment
DOWN_S_MAX: Final = 1.0
KILL: Final = "kill"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of fault: how long it may last, what its own beginning and end take besides, and what it may hit."""

    name: str
    about: str
    seconds: tuple[float, float]
    targets: tuple[str, ...] = ("",)
    costs_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One fault. `chance` (0 to 1) is for whatever else it has to choose."""

    number: int
    name: str
    target: str
    seconds: float
    gap_s: float  # before it
    chance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Volley:
    """Kills of one moment: which programs, each down for so long. `at_s` counts from the beginning of the torture."""

    at_s: float
    kills: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The same arguments always give the same plan. Kills and faults run side by side."""

    steps: tuple[Step, ...]
    volleys: tuple[Volley, ...]

    @property
    def kills(self) -> int:
        """How many there are."""
        return sum(len(volley.kills) for volley in self.volleys)


def make(kinds: Sequence[Kind], *, seed: int, seconds: float, kills: int, programs: Sequence[str]) -> Plan:
    """Deal the kinds like cards, all of them before any comes again, until the time is over; each comes at least once.

    Where there is little time the faults are short.
    """
    rng = random.Random(f"torture {seed}")
    patience = min(1.0, seconds / (2 * sum(kind.seconds[1] + kind.costs_s + GAP_S[1] for kind in kinds) or 1))
    steps: list[Step] = []
    spent_s = 0.0
    while kinds and (spent_s < seconds or not steps):
        deck = list(kinds)
        rng.shuffle(deck)
        for kind in deck:
            if spent_s >= seconds and len(steps) >= len(kinds):
                break
            low, high = kind.seconds
            steps.append(
                Step(
                    number=len(steps) + 1,
                    name=kind.name,
                    target=rng.choice(kind.targets),
                    seconds=round(rng.uniform(low, low + patience * (high - low)), 2),
                    gap_s=round(rng.uniform(GAP_S[0], GAP_S[0] + patience * (GAP_S[1] - GAP_S[0])), 2),
                    chance=rng.random(),
                )
            )
            spent_s += steps[-1].seconds + steps[-1].gap_s + kind.costs_s
    return Plan(steps=tuple(steps), volleys=_volleys(rng, seconds=seconds, kills=kills, programs=programs))


def _volleys(rng: random.Random, *, seconds: float, kills: int, programs: Sequence[str]) -> tuple[Volley, ...]:
    sizes: list[int] = []
    while (left := kills - sum(sizes)) > 0:
        sizes.append(min(left, rng.randint(1, min(VOLLEY_MAX, len(programs)))))
    moments = sorted(round(rng.uniform(0, seconds), 2) for _ in sizes)
    return tuple(
        Volley(
            at_s=at_s,
            kills=tuple((name, round(rng.uniform(0, DOWN_S_MAX), 2)) for name in rng.sample(list(programs), size)),
        )
        for at_s, size in zip(moments, sizes, strict=True)
    )
