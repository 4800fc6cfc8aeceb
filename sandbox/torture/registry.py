"""The one list of faults: `--only`, the plan, the table at the end and docs/torture.md all come from it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from sandbox.torture.arena import Arena
from sandbox.torture.plan import Kind, Step

Work = Callable[[Arena, Step], Awaitable[int | None]]

_FAULTS: Final[dict[str, "Fault"]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A kind of fault and what does it. `work` returns when it is healed, with how often it hit if it may miss."""

    kind: Kind
    work: Work
    disk: str = ""  # the disk that it needs


def fault(
    name: str,
    *,
    seconds: tuple[float, float],
    targets: tuple[str, ...] = ("",),
    costs_s: float = 0.0,
    disk: str = "",
) -> Callable[[Work], Work]:
    """Enter a function into the list; its docstring says what it does."""

    def enter(work: Work) -> Work:
        assert work.__doc__, name
        about = " ".join(work.__doc__.split())
        kind = Kind(name=name, about=about, seconds=seconds, targets=targets, costs_s=costs_s)
        _FAULTS[name] = Fault(kind=kind, work=work, disk=disk)
        return work

    return enter


def all_faults() -> dict[str, Fault]:
    """Every fault, by name."""
    from sandbox.torture import faults_clocks, faults_links, faults_programs, faults_stores, faults_topics

    assert all((faults_clocks, faults_links, faults_programs, faults_stores, faults_topics))
    return dict(sorted(_FAULTS.items()))
