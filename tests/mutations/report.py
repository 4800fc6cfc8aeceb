"""docs/mutations.md, written from what a run found: no dates, so that the same finding is the same page."""

import fcntl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from tests.mutations.core import SCORE_MIN, Score, equivalents
from tests.mutations.guards import Caught, guards
from tests.mutations.trees import ROOT

PAGE = ROOT / "docs" / "mutations.md"
FOUND = Path(__file__).with_name("found.json")  # of the last runs, part by part
_HEAD = """# Tests with teeth

Does a test notice when a guard is taken away? Each guard below was removed in a copy of the tree, and the named tests
run until one failed. Written by `make mutants`; the list is `tests/mutations/guards.toml`, and `make test` checks that
each guard's text still stands where the list says and that each named test is there.
"""


def keep(*, caught: Sequence[Caught] = (), scores: Sequence[Score] = ()) -> None:
    """Merge what was found into found.json, and write the page from it. Runs side by side wait for each other."""
    with Path(__file__).open("rb") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        found = _found()
        known = {guard.name for guard in guards()}
        found["guards"] = {name: what for name, what in found["guards"].items() if name in known}
        found["guards"] |= {each.guard.name: [each.guard.file, each.guard.protects, each.test] for each in caught}
        found["core"] |= {
            score.module: {"mutants": score.mutants, "killed": score.killed, "equivalent": len(score.equivalent)}
            for score in scores
        }
        FOUND.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")
        PAGE.write_text(_page(found["guards"], found["core"]))


def caught_before() -> set[str]:
    """The guards whose removal the last run that tried it has seen noticed."""
    return {name for name, (_, _, test) in _found()["guards"].items() if test}


def _found() -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(FOUND.read_bytes()) if FOUND.is_file() else {"guards": {}, "core": {}}
    return found


def _page(removed: dict[str, list[str]], core: dict[str, dict[str, int]]) -> str:
    caught = sum(bool(test) for _, _, test in removed.values())
    lines = [_HEAD, f"## {caught} of {len(removed)} guards", "", "| guard | in | what it protects | caught by |"]
    lines.append("|---|---|---|---|")
    for name, (file, protects, test) in sorted(removed.items(), key=lambda item: (item[1][0], item[0])):
        shown = f"`{test.partition('::')[2].partition('[')[0]}`" if test else "**SURVIVED**"
        lines.append(f"| {name} | `{file}` | {protects} | {shown} |")
    lines += ["", "## The pure core, changed everywhere", "", _CORE.format(minimum=SCORE_MIN), ""]
    lines += ["| module | mutants | killed | equivalent | score |", "|---|---|---|---|---|"]
    for module, figures in sorted(core.items()):
        lines.append(_row(f"`{module}`", **figures))
    total = {name: sum(figures[name] for figures in core.values()) for name in ("mutants", "killed", "equivalent")}
    lines.append(_row("all", **total))
    lines += ["", "Equivalent, that is, nobody can tell it from the original:", ""]
    for name, reason in sorted(equivalents().items()):
        module, _, mutant = name.rpartition(".")
        lines.append(f"- `{module.replace('.', '/')}.py`, `{mutant}`: {reason}")
    return "\n".join(lines) + "\n"


_CORE = """`python -m tests.mutations core` lets mutmut change every operator, constant, argument and text in the
functions of the pure modules, one at a time, with the pure tests alone as judges. At least {minimum} % must be killed,
all modules together. mutmut leaves alone what runs at import and decorated functions: the message tables, patterns,
properties and cached parsers; the guards above and the tests in `tests/unit/schema` are for those."""


def _row(module: str, *, mutants: int, killed: int, equivalent: int) -> str:
    judged = mutants - equivalent
    score = 100 * killed / judged if judged else 100.0
    return f"| {module} | {mutants} | {killed} | {equivalent} | {score:.1f} % |"
