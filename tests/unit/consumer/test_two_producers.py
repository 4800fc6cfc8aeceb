"""A stream and a poller tell the same wallet, in any order: the decisions are those of one producer in plain order."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.outcome import Verdict
from schema.balance_event import BalanceEvent, Movement, SnapshotType
from schema.stellar import STROOPS_PER_UNIT, Address
from tests.people import account_id
from tests.unit.consumer.worlds import SENDER, VAULT, World, balance_event, movement, units

REFUNDS = Address(account_id("refunds"))
FEES = Address(account_id("fee funding"))
EXCLUDED = frozenset({VAULT, REFUNDS, FEES})
BASELINE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happens to the wallet in a ledger. A source of None: an offer was crossed, no payment shows it."""

    amount: int
    source: Address | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The changes of each ledger from the first on; ledger 0 is the baseline's."""

    ledgers: Sequence[Sequence[Change]]

    @property
    def latest(self) -> int:
        return len(self.ledgers)

    def balance(self, ledger: int) -> int:
        return BASELINE + sum(change.amount for changes in self.ledgers[:ledger] for change in changes)

    def fact(self, ledger: int, *, since: int, snapshot_type: SnapshotType) -> BalanceEvent:
        """What a producer tells of this version when it knows every payment after another one."""
        return balance_event(
            ledger,
            self.balance(ledger),
            since=since,
            movements=tuple(self._movements(since, ledger)),
            snapshot_type=snapshot_type,
        )

    def _movements(self, after: int, up_to: int) -> Sequence[Movement]:
        return [
            replace(
                movement(number, change.amount, change.source),
                operation_id=str(int(movement(number, 1).operation_id) + place),
            )
            for number in range(after + 1, up_to + 1)
            for place, change in enumerate(self.ledgers[number - 1])
            if change.source is not None
        ]

    def total(self, *sources: Address | None) -> int:
        """What came in from these."""
        return sum(each.amount for changes in self.ledgers for each in changes if each.source in sources)


INFLOW = st.builds(Change, amount=st.integers(1, 40), source=st.sampled_from([SENDER, VAULT, REFUNDS, FEES, None]))
SPENT = st.builds(Change, amount=st.integers(-5, -1), source=st.sampled_from([SENDER, None]))


def chains(change: st.SearchStrategy[Change]) -> st.SearchStrategy[Chain]:
    """Every ledger changes the wallet: it is a version."""
    ledgers = st.lists(st.lists(change, min_size=1, max_size=3), min_size=1, max_size=7)
    return st.builds(Chain, ledgers=ledgers)


def begun() -> World:
    """A wallet whose baseline is stored, with a minimum that nothing is below."""
    world = World(min_deposit_stroops=units(0), excluded_sources=EXCLUDED)
    world.event(balance_event(0, BASELINE, since=None))
    return world


def run(chain: Chain, draw: st.DataObject) -> World:
    """Records of both producers reach the consumer in some order, some of them again. A stream claims from what it
    told last, or after a restart from what was stored; a poller from what was stored when it read.
    """
    world = begun()
    stored = [0]  # the stored versions so far: what a producer that reads the database may have seen
    topic: list[BalanceEvent] = []
    stream_told = 0
    for _ in range(draw.draw(st.integers(0, 12), label="records")):
        kind = draw.draw(st.sampled_from(["stream", "poll", "again"]), label="who")
        if kind == "again" and topic:
            event = draw.draw(st.sampled_from(topic), label="which")
        else:
            seen = draw.draw(st.sampled_from(stored), label="stored version seen")
            is_stream = kind == "stream"
            since = stream_told if is_stream and draw.draw(st.booleans(), label="remembers") else seen
            if since >= chain.latest:
                continue
            version = draw.draw(st.integers(since + 1, chain.latest), label="version")
            snapshot_type = SnapshotType.WEBHOOK if is_stream else SnapshotType.POLL
            event = chain.fact(version, since=since, snapshot_type=snapshot_type)
            stream_told = max(stream_told, version) if is_stream else stream_told
            topic.append(event)
        world.event(event)
        stored.append(_version(world))
    if _version(world) < chain.latest:
        world.event(chain.fact(chain.latest, since=_version(world), snapshot_type=SnapshotType.POLL))
    return world


def _version(world: World) -> int:
    assert world.state.ledger is not None
    return world.state.ledger - balance_event(0, 0).ledger


def protected(world: World) -> float:
    return world.state.protected_stroops / STROOPS_PER_UNIT


@given(chains(INFLOW), st.data())
def test_what_came_in_is_commanded_and_what_is_excluded_is_protected(chain: Chain, data: st.DataObject) -> None:
    """Whoever tells what first, however often and with whatever floor: the commands are what came from nobody
    excluded, and the baseline and all that is excluded is protected.
    """
    world = run(chain, data)
    assert sum(world.amounts()) == chain.total(SENDER, None)
    assert protected(world) == BASELINE + chain.total(*EXCLUDED)


@given(chains(INFLOW | SPENT), st.data())
def test_one_producer_that_tells_the_same_versions_leads_to_the_same(chain: Chain, data: st.DataObject) -> None:
    """Of two producers only the versions that were recorded matter: one that tells those, in order, each with the
    payments since the one before, leads to the same commands and the same protected part.
    """
    world = run(chain, data)
    recorded = [
        each.snapshot.ledger - balance_event(0, 0).ledger
        for each in world.outcomes
        if each.verdict is Verdict.RECORDED and each.snapshot is not None and each.snapshot.ledger is not None
    ]
    plain, before = begun(), 0
    for version in recorded:
        plain.event(chain.fact(version, since=before, snapshot_type=SnapshotType.WEBHOOK))
        before = version
    assert world.amounts() == plain.amounts()
    assert protected(world) == protected(plain)
    assert {each.verdict for each in world.outcomes} <= {
        Verdict.BASELINE,
        Verdict.RECORDED,
        Verdict.DUPLICATE,
        Verdict.STALE,
    }


STORY = Chain(
    ledgers=[
        [Change(amount=50, source=SENDER)],
        [Change(amount=30, source=VAULT), Change(amount=5, source=REFUNDS)],
        [Change(amount=7, source=None), Change(amount=2, source=FEES)],
    ]
)
STREAM = [STORY.fact(ledger, since=ledger - 1, snapshot_type=SnapshotType.WEBHOOK) for ledger in (1, 2, 3)]
POLLED = STORY.fact(3, since=0, snapshot_type=SnapshotType.POLL)


@pytest.mark.parametrize(
    "told",
    [[POLLED, *STREAM], [*STREAM, POLLED], [STREAM[0], POLLED, *STREAM[1:]], [POLLED]],
    ids=["the poller finds it first", "the stream tells it first", "the poller is in between", "the poller alone"],
)
def test_who_is_first_makes_no_difference(told: Sequence[BalanceEvent]) -> None:
    """A payment of 50, withdrawals and refunds of 35, an offer's 7 and fee funding of 2: 57 is commanded in all."""
    world = begun()
    for event in told:
        world.event(event)
    assert sum(world.amounts()) == 57
    assert protected(world) == BASELINE + 37


def test_a_change_that_the_poller_told_with_no_sources_is_protected() -> None:
    """When in doubt, no deposit: a poller that cannot say where money came from has it protected, and the stream's
    fact of the same version, with its sources, comes too late.
    """
    world = begun()
    world.event(balance_event(1, 150, since=None, snapshot_type=SnapshotType.POLL))
    assert world.event(STREAM[0]).verdict is Verdict.DUPLICATE
    assert world.amounts() == []
    assert protected(world) == 150
