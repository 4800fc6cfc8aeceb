"""mutmut over the pure core: every operator, constant and argument changed in turn, judged by the pure tests alone."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.mutations.trees import copied
from tests.recordings import FOLDER

MODULES = (
    "consumer/batch.py",
    "consumer/dead_letters.py",
    "consumer/decide.py",
    "consumer/deposit.py",
    "consumer/inputs.py",
    "consumer/outcome.py",
    "consumer/records.py",
    "consumer/settle.py",
    "consumer/wallet.py",
    "producers/effects.py",
    "producers/payments.py",
    "schema/balance_event.py",
    "schema/deposit_command.py",
    "schema/deposit_result.py",
    "schema/identity.py",
    "schema/stellar.py",
    "schema/wire.py",
)
TESTS = (
    "tests/unit/consumer",
    "tests/unit/schema",
    "tests/unit/producers/test_effects.py",
    "tests/unit/producers/test_payments.py",
    "tests/unit/producers/test_payments_recorded.py",
)
LEFT_OUT = "not dust and not test_no_history"  # many seconds each, for every mutant that survives the others
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
SCORE_MIN = 95
_KILLED = (1, 3, 36, -24, 24, 152, 255, 37)  # pytest failed, or it did not end in time


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How a module did. `equivalent` are survivors that change nothing, each with its reason in equivalent.toml."""

    module: str
    killed: int
    survived: tuple[str, ...]
    equivalent: tuple[str, ...]

    @property
    def mutants(self) -> int:
        return self.killed + len(self.survived) + len(self.equivalent)

    @property
    def percent(self) -> float:
        judged = self.killed + len(self.survived)
        return 100 * self.killed / judged if judged else 100.0


def equivalents() -> dict[str, str]:
    """Mutants that nobody can tell from the original, by name, and why."""
    return dict(tomllib.loads(EQUIVALENT.read_text()))


def run(*, children: int) -> list[Score]:
    """Run mutmut in a copy of the tree; takes some minutes."""
    with copied() as tree:
        (tree / "setup.cfg").write_text(_config())
        environment = os.environ | {"HISTORIES": "30", "HORIZON_RECORDINGS": str(FOLDER)}
        program = Path(sys.executable).with_name("mutmut")
        done = subprocess.run([program, "run", "--max-children", str(children)], cwd=tree, env=environment, check=False)
        if done.returncode not in (0, 1):
            raise SystemExit(f"mutmut ended with {done.returncode}")
        keep = os.environ.get("MUTANTS_KEEP")
        if keep:
            subprocess.run(["cp", "-r", str(tree), keep], check=True)
        return [_score(tree / "mutants" / f"{module}.meta", module) for module in MODULES]


def stale(scores: Sequence[Score]) -> list[str]:
    """What equivalent.toml excuses and nobody needs: the code moved on, and the name is another mutant's now."""
    return sorted(equivalents().keys() - {name for score in scores for name in score.equivalent})


def _config() -> str:
    lines = ["[mutmut]", "source_paths=", "  schema", "  consumer", "  producers", "only_mutate="]
    lines += [f"  {module}" for module in MODULES]
    lines += ["timeout_constant=20", "also_copy=", "  sandbox", "  docs"]
    lines += ["pytest_add_cli_args=", "  -k", f"  {LEFT_OUT}", "  -p", "  no:cacheprovider"]
    lines += ["pytest_add_cli_args_test_selection=", *[f"  {test}" for test in TESTS], ""]
    return "\n".join(lines)


def _score(meta: Path, module: str) -> Score:
    if not meta.is_file():
        return Score(module=module, killed=0, survived=(), equivalent=())
    codes: dict[str, int | None] = orjson.loads(meta.read_bytes())["exit_code_by_key"]
    if None in codes.values():
        raise SystemExit(f"{module}: mutmut did not come to judge it; its words are above")
    alive = sorted(name for name, code in codes.items() if code not in _KILLED)
    known = equivalents()
    return Score(
        module=module,
        killed=len(codes) - len(alive),
        survived=tuple(name for name in alive if name not in known),
        equivalent=tuple(name for name in alive if name in known),
    )
