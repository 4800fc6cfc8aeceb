"""Every order of what may happen, from the first sight on, through the real decision. EXHAUSTIVE=6 (`make exhaustive`)
for the whole bound: some minutes and some GB a policy.
"""

import gc
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from consumer.wallet import Policy
from schema.stellar import Stroops
from tests.exhaustive.model import CHAIN, DISTURBANCES, Model
from tests.exhaustive.search import Broken, Search
from tests.unit.consumer.worlds import POLICY, VAULT

INPUTS = int(os.environ.get("EXHAUSTIVE", "3"))  # facts, results, wake-ups, crashes and replays, all counted as one
CHANGES = 2  # payments, spendings and waits among them
PLAIN = replace(
    POLICY,
    min_deposit_stroops=Stroops(10),
    command_ttl=timedelta(seconds=300),
    retry_delay=timedelta(seconds=100),
)
POLICIES = {
    "plain": PLAIN,
    "minimum of 40": replace(PLAIN, min_deposit_stroops=Stroops(40)),
    "at most 30 a command": replace(PLAIN, max_deposit_stroops=Stroops(30)),
    "60 a day": replace(PLAIN, daily_cap_stroops=Stroops(60)),
    "the vault excluded": replace(PLAIN, excluded_sources=frozenset({VAULT})),
    "what is there too, above 25": replace(PLAIN, deposit_existing=True, reserve_stroops=Stroops(25)),
    "paused at first": PLAIN,
}


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    """Nothing here is a cycle, and looking for one among millions of states is most of the time."""
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


def search(policy: Policy, name: str, *, inputs: int, changes: int, kinds: tuple[str, ...]) -> None:
    """Visit every state, and say how many there were."""
    model = Model(policy, paused=name.startswith("paused"), kinds=kinds)
    figures = Search(model, inputs=inputs, changes=changes, progress=INPUTS > 4).run()
    print(f"{name}, {inputs} inputs, {changes} changes: {figures}")  # noqa: T201 - the figure of this run
    assert figures.states > 1000


@pytest.mark.timeout(0 if INPUTS > 3 else 300)
@pytest.mark.parametrize("name", POLICIES)
def test_no_order_of_inputs_crashes_and_replays_breaks_an_invariant(name: str) -> None:
    """With everything that may go wrong, everywhere: true records, never too much, and right once at rest."""
    policy = POLICIES[name]
    inputs = INPUTS - policy.deposit_existing  # its first sight is a command already: it is one input ahead
    search(policy, name, inputs=inputs, changes=CHANGES, kinds=(*CHAIN, *DISTURBANCES))


@pytest.mark.timeout(0 if INPUTS > 3 else 300)
@pytest.mark.parametrize("name", ["plain", "the vault excluded"])
def test_no_order_of_payments_and_deposits_breaks_an_invariant(name: str) -> None:
    """More happens on the chain, and the pipeline only works, each part at its own pace."""
    kinds = ("50 in", "spend", "return", "wait", "executor", "batch")
    search(POLICIES[name], name, inputs=INPUTS, changes=min(INPUTS, 4), kinds=kinds)


def test_a_broken_rule_is_told_as_the_shortest_story(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were settled deposits not in flight until the balance shows them, the search would find it, and say how."""
    monkeypatch.setattr("consumer.wallet._settled_after", lambda *_: False)
    with pytest.raises(Broken, match="the shortest way there") as broken:
        search(PLAIN, "plain", inputs=3, changes=1, kinds=(*CHAIN, *DISTURBANCES))
    story = str(broken.value)
    assert "commanded" in story
    assert "the executor deposits" in story
    assert story.count("\n") < 15
