"""The plan of a torture: a seed decides everything, and everything comes to pass."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.children import ROOT
from sandbox.torture import plan
from sandbox.torture.arena import KILLED
from sandbox.torture.registry import all_faults

KINDS = [each.kind for each in all_faults().values()]


def make(*, seed: int, seconds: float, kills: int) -> plan.Plan:
    return plan.make(KINDS, seed=seed, seconds=seconds, kills=kills, programs=KILLED)


@given(seed=st.integers(0, 2**32), seconds=st.floats(1, 4000), kills=st.integers(0, 500))
def test_the_same_seed_plans_the_same_faults(seed: int, seconds: float, kills: int) -> None:
    """Twice the same arguments are twice the same plan, with every kind in it, every kill, and no target unknown."""
    drawn = make(seed=seed, seconds=seconds, kills=kills)
    assert drawn == make(seed=seed, seconds=seconds, kills=kills)
    assert {step.name for step in drawn.steps} == {kind.name for kind in KINDS}
    assert drawn.kills == kills
    by_name = {kind.name: kind for kind in KINDS}
    for step in drawn.steps:
        assert step.target in by_name[step.name].targets
        assert by_name[step.name].seconds[0] <= step.seconds + 0.01
        assert step.seconds - 0.01 <= by_name[step.name].seconds[1]
    for volley in drawn.volleys:
        assert 0 <= volley.at_s <= seconds + 0.01
        assert len({name for name, _ in volley.kills}) == len(volley.kills)


def test_another_seed_plans_other_faults() -> None:
    """What goes wrong, in which order and for how long differs from seed to seed."""
    plans = [make(seed=seed, seconds=300, kills=50) for seed in range(20)]
    assert len({tuple((step.name, step.seconds) for step in drawn.steps) for drawn in plans}) == 20
    assert len({drawn.volleys for drawn in plans}) == 20


def test_no_kind_comes_again_before_all_have_come() -> None:
    """Over a long time each kind has its share, as often as any other within one."""
    steps = make(seed=5, seconds=3600, kills=0).steps
    counts = [sum(step.name == kind.name for step in steps) for kind in KINDS]
    assert min(counts) >= 5
    assert max(counts) - min(counts) <= 1


def test_the_printed_plan_is_the_same_in_another_process() -> None:
    """`--plan` prints the same for a seed every time: nothing in it hangs on the process."""
    command = [sys.executable, "-m", "sandbox.torture", "--plan", "--seed", "9", "--minutes", "2", "--kills", "30"]
    first, second = (subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout for _ in range(2))
    assert first == second
    assert first.count(b"kill ") > 0


def test_an_unknown_fault_is_refused_with_those_there_are() -> None:
    """Exit code 2, and the names to choose from."""
    command = [sys.executable, "-m", "sandbox.torture", "--only", "flood"]
    refused = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "flood" in refused.stderr
    assert "database-kill" in refused.stderr


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    """The executor would remember commands and envelopes of a chain that is gone."""
    (tmp_path / "executor").mkdir()
    command = [sys.executable, "-m", "sandbox.torture", "--folder", str(tmp_path)]
    refused = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "not empty" in refused.stderr


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_fault_says_what_it_does(kind: plan.Kind) -> None:
    """A sentence, and a duration that can be."""
    assert kind.about.endswith(".")
    assert 0 <= kind.seconds[0] <= kind.seconds[1] <= 60
