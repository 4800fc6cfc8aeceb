"""The list of guards stays true: their text where it says, their tests there."""

import pytest

from tests.mutations import guards, report
from tests.mutations.guards import Guard
from tests.mutations.trees import ROOT


@pytest.mark.parametrize("guard", guards.guards(), ids=lambda guard: guard.name)
def test_a_guards_text_stands_once_and_its_tests_exist(guard: Guard) -> None:
    """Where the code moved on, the list must: a guard that is not found is one that nobody removes any more."""
    whole, bent = guard.removed_from(ROOT)
    assert whole != bent
    assert guard.tests
    for test in guard.tests:
        assert guards.exists(test), test


def test_every_guard_has_a_name_of_its_own() -> None:
    """And there are at least forty."""
    names = [guard.name for guard in guards.guards()]
    assert len(set(names)) == len(names) >= 40


def test_every_guard_was_removed_once_and_that_was_noticed() -> None:
    """A guard that is new or renamed is on the page once `python -m tests.mutations guards --missing` has tried it."""
    assert report.caught_before() == {guard.name for guard in guards.guards()}
