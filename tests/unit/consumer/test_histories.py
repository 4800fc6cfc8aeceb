"""Random histories of a wallet, judged by an oracle that sees only the chain."""

import os
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.wallet import Policy
from schema.stellar import Stroops
from tests.unit.consumer.model import History
from tests.unit.consumer.worlds import POLICY, VAULT

HISTORIES = int(os.environ.get("HISTORIES", "2000"))
SEED = int(os.environ.get("SEED", "20260131"))
STEPS = 25
PARTS = 8


def _policy(**changed: Any) -> Policy:
    return replace(POLICY, excluded_sources=frozenset({VAULT}), **changed)


def _any_policy(random: Random) -> Policy:
    return _policy(
        min_deposit_stroops=Stroops(random.choice((0, 10, 40))),
        max_deposit_stroops=Stroops(random.choice((0, 0, 60))),
        daily_cap_stroops=Stroops(random.choice((0, 0, 300))),
        reserve_stroops=Stroops(random.choice((0, 0, 75))),
        deposit_existing=random.random() < 0.2,
    )


@settings(max_examples=300)
@given(st.randoms(use_true_random=False), st.integers(min_value=0, max_value=40))
def test_no_history_breaks_an_invariant(random: Random, steps: int) -> None:
    """Whatever happens, in whatever order: never too much, never twice, nothing forgotten."""
    History(random, _any_policy(random)).run(steps)


@pytest.mark.parametrize("part", range(PARTS))
def test_many_histories_break_no_invariant(part: int) -> None:
    """The same over as many seeded histories as HISTORIES says; a failure names its seed."""
    for number in range(part, HISTORIES, PARTS):
        random = Random(SEED + number)  # noqa: S311 - a simulation
        try:
            History(random, _any_policy(random)).run(STEPS)
        except AssertionError as broken:
            raise AssertionError(f"history {SEED + number}: {broken}") from broken
