"""The committed list: every point of the code, the process that dies there, and the scenario that leads there.

[stream payments]              a process and a scenario (scenarios.py); what stands below is reached that way
producers.….run: something()   both sides of the point
producers.….run: other() (after)   that side alone
[exempt] why                   names, or a prefix and a star: no crash test, for this reason
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.crash_points.points import SIDES, all_points

LIST: Final = Path(__file__).with_name("points.txt")
ROLES: Final = ("stream", "consumer")
REMEDY: Final = (
    "tests/crash_points/points.txt and the code differ. `python -m tests.crash_points --write` takes new points in,\n"
    "below [… payments], and drops those that are gone; `make crash-points` then shows whether each is reached. One\n"
    "that is not belongs below the scenario that leads there, or, if it does not lie between reading and progress,\n"
    "below [exempt]."
)


class BadList(Exception):
    """The list does not say what it must; says where."""


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One way to die: this process, at this side of this point, in this scenario."""

    role: str
    name: str
    side: str
    scenario: str

    def __str__(self) -> str:
        return f"{self.role}: {self.side} {self.name}"


@dataclass(frozen=True, slots=True)
class Listed:
    """What the list says."""

    targets: tuple[Target, ...]
    exempt: tuple[str, ...]
    sections: tuple[tuple[str, tuple[str, ...]], ...]

    def is_exempt(self, name: str) -> bool:
        return any(name.startswith(each[:-1]) if each.endswith("*") else name == each for each in self.exempt)


def read(path: Path = LIST) -> Listed:
    """The list as it is committed. BadList when it cannot be read."""
    sections: list[tuple[str, list[str]]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("["):
            sections.append((text, []))
        elif not sections:
            raise BadList(f"{path.name}:{number}: a point without a section above it")
        else:
            sections[-1][1].append(text)
    targets: list[Target] = []
    exempt: list[str] = []
    for header, names in sections:
        said, _, reason = header[1:].partition("]")
        if said == "exempt":
            if not reason.strip():
                raise BadList(f"{header}: an exemption needs its reason")
            exempt += names
            continue
        role, _, scenario = said.partition(" ")
        if role not in ROLES or not scenario:
            raise BadList(f"{header}: neither [exempt] nor [process scenario]")
        targets += [target for name in names for target in _targets(role, scenario, name)]
    kept = tuple((header, tuple(names)) for header, names in sections)
    return Listed(targets=tuple(targets), exempt=tuple(exempt), sections=kept)


def _targets(role: str, scenario: str, text: str) -> Iterable[Target]:
    for side in SIDES:
        if text.endswith(f" ({side})"):
            return [Target(role, text.removesuffix(f" ({side})"), side, scenario)]
    return [Target(role, text, side, scenario) for side in SIDES]


def differences(listed: Listed, points: Iterable[str]) -> list[str]:
    """What the code has and the list lacks, and the other way round."""
    there = list(points)
    led_to = {(target.name, target.side) for target in listed.targets}
    missing = [
        f"no crash test: {side} {name}"
        for name in there
        if not listed.is_exempt(name)
        for side in SIDES
        if (name, side) not in led_to
    ]
    named = {target.name for target in listed.targets} | {name for name in listed.exempt if not name.endswith("*")}
    gone = [f"no longer in the code: {name}" for name in sorted(named - set(there))]
    repeated = [f"twice in the list: {target}" for target in _repeated(listed.targets)]
    return missing + gone + repeated


def _repeated(targets: Iterable[Target]) -> list[Target]:
    seen: set[tuple[str, str, str]] = set()
    found = []
    for target in targets:
        key = (target.role, target.name, target.side)
        if key in seen:
            found.append(target)
        seen.add(key)
    return found


def check() -> list[str]:
    """Differences between the committed list and the code; empty when there are none."""
    return differences(read(), all_points())


def write(path: Path = LIST) -> None:
    """Take in what is new, drop what is gone; the rest stays where it is."""
    listed = read(path)
    there = all_points()
    covered = {(target.role, target.name) for target in listed.targets}
    known = {name for _, name in covered}
    sections = {
        header: [name for name in names if _bare(name) in there or name.endswith("*")]
        for header, names in listed.sections
    }
    for name in there:
        if name in known or listed.is_exempt(name):
            continue
        for role in _roles(name):
            sections.setdefault(f"[{role} payments]", []).append(name)
    order = {name: place for place, name in enumerate(there)}
    parts = []
    for header, names in sections.items():
        lines = sorted(names, key=lambda name: order.get(_bare(name), len(order)))
        parts.append("\n".join([header, *lines]))
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _bare(text: str) -> str:
    return text.removesuffix(" (before)").removesuffix(" (after)")


def _roles(name: str) -> tuple[str, ...]:
    if name.startswith("producers."):
        return ("stream",)
    return ("consumer",) if name.startswith("consumer.") else ROLES
