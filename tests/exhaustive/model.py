"""The whole pipeline around the real decision as one state and its steps: chain, producers, topics, consumer's
transaction, outbox, executor. A step is free (the pipeline does its work, in any order) or costs one of the inputs that
the search may spend: a payment, a failure, a crash, a replay.

Left out, as it makes no difference: a relay that is merely late is an executor that waits; a crash before the commit is
a step that was not taken; two consumers of one wallet take turns under its row lock, so a zombie is a redelivery.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from consumer.records import Arrived
from consumer.wallet import Policy
from tests.exhaustive import oracle
from tests.exhaustive.chain import FIRST_LEDGER, Chain
from tests.exhaustive.database import Committed, Database, arrived, record, wake
from tests.exhaustive.executor import Executor
from tests.exhaustive.world import NOBODY, Numbered, Step, World

CHAIN = ("50 in", "4 in", "spend", "return", "wait", "wait long")
DISTURBANCES = ("executor", "consumer", "replay", "stream", "relay", "batch")


class Model(Executor):
    """The steps of a world under one policy. Raises AssertionError, with words, where an invariant breaks."""

    def __init__(self, policy: Policy, *, paused: bool = False, kinds: Sequence[str] = (*CHAIN, *DISTURBANCES)) -> None:
        super().__init__()
        self.policy = policy
        self._kinds = frozenset(kinds)
        self._paused = paused
        self._policies = {flag: _paused(policy, flag) for flag in (False, True)}
        self.databases: Numbered[Database] = Numbered()
        self._arrived: dict[int, Arrived] = {}
        self._committed: dict[tuple[object, ...], Committed] = {}
        self.minimum = max(policy.min_deposit_stroops, 1)

    @property
    def decisions(self) -> int:
        """How many different transactions went through the real decision."""
        return len(self._committed)

    def start(self, *, inputs: int, changes: int) -> World:
        """Nothing is known of the wallet yet."""
        chain, database = self.chains(Chain()), self.databases(Database())
        return World(chain, database, paused=self._paused, left=inputs, changes_left=changes)

    # What may happen

    def steps(self, world: World) -> Iterator[Step]:
        """Every step that is possible now, with the world after it."""
        if not world.left:
            return
        yield from self.work(world)
        if world.changes_left:
            yield from self._chain_steps(world._replace(changes_left=world.changes_left - 1))
        yield from self._disturbances(world._replace(left=world.left - 1))

    def work(self, world: World) -> Iterator[Step]:
        """The pipeline's own work, each part at its own pace; what the consumer takes in is counted."""
        if world.hand != NOBODY:
            yield (
                "the second producer tells what it read",
                world._replace(hand=NOBODY, facts=(*world.facts, world.hand)),
            )
        yield from self._consumed(world)
        chain, database = self.chains.values[world.chain], self.databases.values[world.database]
        if any(row.waits for row in database.commands):
            yield "the relay sends what waits", self._relayed(world)
        if world.sent_at < len(world.sent):
            yield from self.executions(world)
        may_be_taken = len(world.facts) - world.facts_at < world.left
        if may_be_taken and self._is_to_be_told(world, chain, database):
            yield f"the stream tells {chain.balance} as of {chain.version}", self._told(world, chain)

    def _consumed(self, world: World) -> Iterator[Step]:
        facts, results = world.facts[world.facts_at :], world.results[world.results_at :]
        if facts:
            yield from self._taken(world, "the consumer takes a fact", facts[:1], facts_by=1)
        if results:
            yield from self._taken(world, "the consumer takes a result", results[:1], results_by=1)
        if len(facts) + len(results) > 1 and "batch" in self._kinds:
            what, both = "the consumer takes all there is in one batch", (*facts, *results)
            yield from self._taken(world, what, both, facts_by=len(facts), results_by=len(results))
        due_at = self.databases.values[world.database].wallet.due_at
        if due_at is not None and due_at <= self.chains.values[world.chain].now and world.left:
            committed = self._transaction(world, (), wakes=True)
            spent = world._replace(left=world.left - 1)
            yield from self._after_commit(world, spent, committed, "the wallet that is due is woken")

    def _is_to_be_told(self, world: World, chain: Chain, database: Database) -> bool:
        """A new version; a command past its bound, which has the wallet read again; or the stream remembers nothing."""
        if world.told is None or world.told[0] != chain.version:
            return True
        is_late = any(row.record.is_open and row.record.expires_at < chain.now for row in database.commands)
        return is_late and world.told[1] != chain.epoch

    def _chain_steps(self, world: World) -> Iterator[Step]:
        chain = self.chains.values[world.chain]
        for amount in (50, 4):
            if f"{amount} in" in self._kinds:
                yield f"{amount} come in", self._on(world, chain.moved(amount, "received"))
        if chain.balance and "spend" in self._kinds:
            spent = min(chain.balance, 30)
            yield f"the owner spends {spent}", self._on(world, chain.moved(-spent, "spent"))
        if self.policy.excluded_sources and "return" in self._kinds:
            yield "20 come back from the vault", self._on(world, chain.moved(20, "returned"))
        for kind, epochs in (("wait", 1), ("wait long", 2)):
            if kind in self._kinds:
                yield f"{epochs * 300} s pass", self._on(world, chain.later(epochs))
        if world.paused:
            yield "the person unpauses", world._replace(paused=False)

    def _disturbances(self, world: World) -> Iterator[Step]:
        if "executor" in self._kinds:
            yield from self._executors_trouble(world)
        if "consumer" in self._kinds:
            for what, at, topic in (("fact", world.facts_at, world.facts), ("result", world.results_at, world.results)):
                if at < len(topic):
                    committed = self._transaction(world, topic[at : at + 1])
                    crashed = f"the consumer commits a {what} and dies before the offset"
                    yield from self._after_commit(world, world, committed, crashed, only_changes=True)
        if "replay" in self._kinds:
            for offset in range(world.facts_at):
                yield f"facts are replayed from offset {offset}", world._replace(facts_at=offset)
            for offset in range(world.results_at):
                yield f"results are replayed from offset {offset}", world._replace(results_at=offset)
        if "stream" in self._kinds:
            yield from self._producers_trouble(world)

    def _executors_trouble(self, world: World) -> Iterator[Step]:
        if world.sent_at < len(world.sent) and self.ending(world, world.sent[world.sent_at]) is None:
            yield "the executor's transaction fails", self.failed(world, "tx_failed")
            lost = self.deposited(world, less=False)
            if lost is not None:
                yield "the executor deposits, its result is lost", lost._replace(results=world.results)
        if world.sent and world.sent_at == len(world.sent):
            yield "the last command is delivered again", world._replace(sent_at=world.sent_at - 1)

    def _producers_trouble(self, world: World) -> Iterator[Step]:
        stored = self._stored_version(world)
        if stored is None and self.policy.excluded_sources:
            return  # a second baseline claims no movements: when in doubt, no deposit
        if world.told is not None:
            yield "the stream is killed, and starts again", world._replace(told=None)
        if world.hand == NOBODY:
            fact = self.messages(self.chains.values[world.chain].fact(since=stored))
            yield "a second producer reads", world._replace(hand=fact)

    # The producers

    def _told(self, world: World, chain: Chain) -> World:
        since = world.told[0] if world.told is not None else self._stored_version(world)
        fact = self.messages(chain.fact(since=since))
        return world._replace(told=(chain.version, chain.epoch), facts=(*world.facts, fact))

    def _stored_version(self, world: World) -> int | None:
        ledger = self.databases.values[world.database].wallet.ledger
        return None if ledger is None else ledger - FIRST_LEDGER

    def _on(self, world: World, chain: Chain) -> World:
        return world._replace(chain=self.chains(chain))

    # The consumer

    def _taken(
        self, world: World, what: str, batch: Sequence[int], *, facts_by: int = 0, results_by: int = 0
    ) -> Iterator[Step]:
        left = world.left - facts_by - results_by
        if left < 0:
            return
        moved = world._replace(facts_at=world.facts_at + facts_by, results_at=world.results_at + results_by, left=left)
        moved = self.forgotten(moved)
        yield from self._after_commit(world, moved, self._transaction(world, batch), what)

    def forgotten(self, world: World) -> World:
        """What was taken matters only where it may still be replayed: without it more states are the same."""
        if "replay" in self._kinds and world.left > 1:
            return world
        facts, results = world.facts[world.facts_at :], world.results[world.results_at :]
        if not world.left:
            world = world._replace(sent=world.sent[world.sent_at :], sent_at=0, changes_left=0)
        return world._replace(facts=facts, facts_at=0, results=results, results_at=0)

    def _after_commit(
        self, before: World, world: World, committed: Committed, what: str, *, only_changes: bool = False
    ) -> Iterator[Step]:
        """The relay sends at once; or, as an input, it dies between ack and mark, or before it sends."""
        number = self.databases(committed.database)
        if only_changes and number == before.database:
            return
        chain = self.chains.values[before.chain]
        stored = self.databases.values[before.database]
        oracle.check_commit(self, before, chain, stored, committed)
        first = before.first or (self._first(committed) if committed.snapshots else 0)
        world = world._replace(database=number, first=first)
        if not committed.commands:
            yield what, world
            return
        yield f"{what}: {_amounts(committed)}", self._relayed(world)
        if world.left and "relay" in self._kinds:
            spent = world._replace(left=world.left - 1)
            yield f"{what}: {_amounts(committed)}; the relay dies before the mark", self._relayed(spent, marked=False)
            yield f"{what}: {_amounts(committed)}; the relay is down", spent

    def _first(self, committed: Committed) -> int:
        return (committed.snapshots[0].ledger or 0) - FIRST_LEDGER

    def _transaction(self, world: World, batch: Sequence[int], *, wakes: bool = False) -> Committed:
        epoch = self.chains.values[world.chain].epoch
        key = (world.database, epoch, world.paused, wakes, *batch)
        committed = self._committed.get(key)
        if committed is None:
            database, now = self.databases.values[world.database], self.chains.values[world.chain].now
            policy = self._policies[world.paused]
            if wakes:
                committed = wake(database, policy, now)
            else:
                committed = record(database, [self._arriving(number) for number in batch], policy, now)
            self._committed[key] = committed
        return committed

    def _arriving(self, number: int) -> Arrived:
        if number not in self._arrived:
            self._arrived[number] = arrived(self.messages.values[number])
        return self._arrived[number]

    def _relayed(self, world: World, *, marked: bool = True) -> World:
        database = self.databases.values[world.database]
        sent = tuple(self.payloads(row.payload) for row in database.commands if row.waits)
        oracle.check_one_content([self.content(number) for number in (*world.sent, *sent)])
        if marked:
            world = world._replace(database=self.databases(database.published()))
        return world._replace(sent=(*world.sent, *sent))


def _amounts(committed: Committed) -> str:
    return "commands " + " and ".join(str(command.amount_stroops) for command in committed.commands)


def _paused(policy: Policy, flag: bool) -> Policy:  # noqa: FBT001
    return replace(policy, paused=flag)
