"""What is known of wallets, against a chain that is simply kept whole: a list of states, ledger by ledger."""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from producers.reconcile.knowledge import NOBODY, Interval, Knowledge, Overlap, newest_of_most
from producers.source import State
from schema.stellar import AccountId, Ledger, Stroops
from tests.people import account_id

FIRST = 1_000
WALLETS = 3
LEDGERS = 12

Held = tuple[int, bool, int] | None  # balance, authorized, version; None: no trustline


@dataclass(kw_only=True)
class KeptChain:
    """Every wallet's state in every ledger, and which ledgers touched it. No interval anywhere."""

    states: list[list[Held]] = field(default_factory=list)
    touches: list[set[int]] = field(default_factory=list)

    @property
    def newest(self) -> int:
        return FIRST + LEDGERS - 1

    def read(self, wallet: int, observed: int) -> State:
        held = self.states[wallet][observed - FIRST]
        balance, authorized, version = held or (0, False, observed)
        return State(
            account_id=name(wallet),
            balance_stroops=Stroops(balance),
            authorized=authorized,
            version=Ledger(version),
            observed=Ledger(observed),
        )

    def holds(self, wallet: int, ledger: int) -> tuple[int, bool] | None:
        held = self.states[wallet][ledger - FIRST]
        return held and held[:2]


def name(wallet: int) -> AccountId:
    return account_id(f"kept {wallet}")


def overlap(knowledge: Knowledge) -> Overlap:
    return knowledge.overlap(0, len(knowledge), NOBODY)


def best_ledger(knowledge: Knowledge) -> Ledger | None:
    steps: Counter[int] = Counter()
    knowledge.count(0, len(knowledge), steps, oldest_end=overlap(knowledge).until)
    return newest_of_most(steps)


@st.composite
def chains(draw: st.DrawFn) -> KeptChain:
    """Wallets that are paid, closed, opened, authorized or not, and touched without a change; or quietly modified,
    which raises the version and nothing else, and which no history shows.
    """
    chain = KeptChain()
    for _ in range(WALLETS):
        held: Held = draw(st.sampled_from([None, (5, True, FIRST - 400), (0, False, FIRST - 300)]))
        states, touches = [held], set()
        for ledger in range(FIRST + 1, FIRST + LEDGERS):
            event = draw(st.sampled_from(["", "", "", "", "change", "quiet", "close", "touch"]))
            if event == "change":
                held = (draw(st.integers(0, 2)), draw(st.booleans()), ledger)
            elif event == "close":
                held = None
            elif event == "quiet" and held is not None:
                held = (held[0], held[1], ledger)
            if event in ("change", "close", "touch"):
                touches.add(ledger)
            states.append(held)
        chain.states.append(states)
        chain.touches.append(touches)
    return chain


LEDGER = st.integers(FIRST, FIRST + LEDGERS - 1)
READS = st.lists(st.tuples(st.integers(0, WALLETS - 1), LEDGER), max_size=12)


@st.composite
def learned(draw: st.DrawFn) -> tuple[KeptChain, Knowledge]:
    """A chain, and what was learned of it: reads of any ledgers in any order between touches in any order, some of
    them beyond what is drained, some said twice.
    """
    chain = draw(chains())
    start, drained = draw(LEDGER), draw(LEDGER)
    knowledge = Knowledge(WALLETS, start=Ledger(start))
    said = [(wallet, ledger) for wallet in range(WALLETS) for ledger in chain.touches[wallet] if start < ledger]
    must = [each for each in said if each[1] <= drained]
    early = [each for each in said if each[1] > drained and draw(st.booleans())]
    twice = [each for each in said if each[1] <= drained and draw(st.booleans())]
    steps = [("touch", *each) for each in (*must, *early, *twice)] + [("read", *each) for each in draw(READS)]
    for kind, wallet, ledger in draw(st.permutations(steps)):
        if kind == "touch":
            knowledge.touch(wallet, Ledger(ledger))
        else:
            knowledge.see(wallet, chain.read(wallet, ledger))
    knowledge.drain(Ledger(drained))
    return chain, knowledge


@settings(max_examples=250)
@given(learned())
def test_what_is_known_is_true(found: tuple[KeptChain, Knowledge]) -> None:
    """In every ledger of a wallet's interval the chain held what was read of it, whatever was read when."""
    chain, knowledge = found
    for wallet in range(WALLETS):
        interval = knowledge.interval(wallet)
        if interval is None:
            continue
        state = knowledge.state(wallet, name(wallet))
        assert interval.since <= state.observed <= interval.until
        told = None if knowledge.is_absent(wallet) else (state.balance_stroops, state.authorized)
        absent_like = told in (None, (0, False))
        for ledger in range(max(FIRST, interval.since), min(interval.until, chain.newest) + 1):
            held = chain.holds(wallet, ledger)
            assert held == told or (absent_like and held in (None, (0, False))), (wallet, ledger)


@settings(max_examples=120)
@given(learned())
def test_the_common_ledger_is_in_every_interval(found: tuple[KeptChain, Knowledge]) -> None:
    """The ledger at which everybody is known is the newest such, by trying every ledger there is; where there is none,
    the best one is known of as many as any other.
    """
    _, knowledge = found
    intervals = [each for wallet in range(WALLETS) if (each := knowledge.interval(wallet)) is not None]
    known = {
        ledger: sum(Ledger(ledger) in each for each in intervals) for ledger in range(FIRST - 400, FIRST + LEDGERS + 1)
    }
    everybody = [ledger for ledger, count in known.items() if intervals and count == len(intervals)]
    assert overlap(knowledge).common == (max(everybody) if everybody else None)
    best = best_ledger(knowledge)
    assert (best is None) == (not intervals)
    if best is not None:
        most = max(known.values())
        assert known[best] == most
        assert best == max(ledger for ledger, count in known.items() if count == most)
        missing = knowledge.not_known_at(best, 0, len(knowledge))
        assert len(missing) == len(intervals) - most
        if everybody:
            assert overlap(knowledge).since <= best


@given(chains(), LEDGER)
def test_read_whole_and_drained_everybody_is_known(chain: KeptChain, start: int) -> None:
    """It is not caution alone: once the history is read to its end and every wallet is read at the newest ledger, that
    ledger is everybody's; and who was read earlier and not touched since did not need to be read again.
    """
    knowledge = Knowledge(WALLETS, start=Ledger(start))
    for wallet in range(WALLETS):
        knowledge.see(wallet, chain.read(wallet, start))
        for ledger in chain.touches[wallet]:
            if ledger > start:
                knowledge.touch(wallet, Ledger(ledger))
    knowledge.drain(Ledger(chain.newest))
    again = knowledge.not_known_at(Ledger(chain.newest), 0, len(knowledge))
    assert again == [wallet for wallet in range(WALLETS) if any(ledger > start for ledger in chain.touches[wallet])]
    for wallet in again:
        knowledge.see(wallet, chain.read(wallet, chain.newest))
    assert overlap(knowledge).common == chain.newest


def test_nothing_is_carried_across_a_record_that_could_not_be_read() -> None:
    """A record that names nobody may have touched anybody: who was read before its ledger is known no further."""
    knowledge = Knowledge(2, start=Ledger(FIRST))
    resting: list[Held] = [(5, True, FIRST - 1)] * LEDGERS
    chain = KeptChain(states=[resting, resting], touches=[set(), set()])
    knowledge.see(0, chain.read(0, FIRST + 1))
    knowledge.see(1, chain.read(1, FIRST + 4))
    knowledge.drain(Ledger(FIRST + 9))
    knowledge.blind(Ledger(FIRST + 3))
    assert [knowledge.interval(wallet).until for wallet in (0, 1)] == [FIRST + 1, FIRST + 9]  # type: ignore[union-attr]
    assert knowledge.not_known_at(Ledger(FIRST + 9), 0, len(knowledge)) == [0]


def test_a_replica_that_is_behind_changes_nothing() -> None:
    """A state older than the known one is not taken for the newer."""
    knowledge = Knowledge(1, start=Ledger(FIRST))
    paid: list[list[Held]] = [[*[(5, True, FIRST)] * 6, *[(7, True, FIRST + 6)] * 6]]
    chain = KeptChain(states=paid, touches=[{FIRST + 6}])
    knowledge.see(0, chain.read(0, FIRST + 8))
    knowledge.see(0, chain.read(0, FIRST + 2))
    assert knowledge.state(0, name(0)).balance_stroops == 7


def test_a_read_between_two_touches_is_known_up_to_itself() -> None:
    """The history spoke of both before the wallet was read: the second is still to come, and is not forgotten."""
    knowledge = Knowledge(1, start=Ledger(FIRST))
    paid: list[list[Held]] = [[*[(5, True, FIRST)] * 3, *[(6, True, FIRST + 3)] * 3, *[(7, True, FIRST + 6)] * 6]]
    chain = KeptChain(states=paid, touches=[{FIRST + 3, FIRST + 6}])
    for ledger in chain.touches[0]:
        knowledge.touch(0, Ledger(ledger))
    knowledge.see(0, chain.read(0, FIRST + 4))
    knowledge.drain(Ledger(FIRST + 9))
    assert knowledge.interval(0) == Interval(since=Ledger(FIRST + 3), until=Ledger(FIRST + 4))
