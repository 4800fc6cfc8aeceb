"""A small chain with one wallet, an executor that keeps its contract, and everything in between that loses or repeats.

The oracle knows only the chain: what came in, from whom, what left for the vault, what the owner spent. It shares no
code with the decision.
"""

from dataclasses import dataclass, field, replace
from random import Random
from uuid import UUID

from consumer.wallet import Policy
from schema.balance_event import BalanceEvent, Movement
from schema.deposit_command import DepositCommand
from schema.stellar import Address, Stroops
from tests.unit.consumer.worlds import (
    FIRST_LEDGER,
    LEDGER_TIME,
    SENDER,
    VAULT,
    World,
    balance_event,
    close_time,
    movement,
)


@dataclass(slots=True)
class Chain:
    """Ledgers of one trustline. Amounts in stroops; a ledger's number is the nth of the test."""

    ledger: int = 0
    balance: int = 0
    version: int = 0
    movements: list[tuple[int, Movement]] = field(default_factory=list)
    deposited: int = 0
    received: int = 0  # from ordinary senders, since the baseline
    returned: int = 0  # from excluded sources, since the baseline
    spent: int = 0

    def close(self, changes: list[tuple[int, Address]]) -> None:
        """One ledger with these signed changes."""
        self.ledger += 1
        for amount, counterparty in changes:
            self.balance += amount
            self.version = self.ledger
            said = replace(movement(self.ledger, 0, counterparty), amount_stroops=Stroops(amount))
            self.movements.append((self.ledger, said))

    def fact(self, *, since: int | None) -> BalanceEvent:
        """What a producer reads now."""
        movements = None
        if since is not None:
            movements = tuple(m for ledger, m in self.movements if since < ledger <= self.version)
        return balance_event(
            self.version,
            0,
            seen_in=self.ledger,
            since=since,
            movements=movements,
            balance_stroops=Stroops(self.balance),
        )


class History:
    """One random history, step by step, through the real `decide`; `check` holds after every step."""

    def __init__(self, random: Random, policy: Policy) -> None:
        self.random = random
        self.world = World(policy)
        self.chain = Chain(ledger=1, version=1, balance=random.choice((0, 50, 1000)))
        self.baseline = self.chain.balance
        self.said: list[BalanceEvent] = []
        self.results: list[tuple[DepositCommand, int, bool]] = []
        self.reported: list[tuple[DepositCommand, int, bool]] = []
        self.taken: set[str] = set()  # ids the executor has carried out or refused
        self.ids: set[UUID] = set()
        self.checked = 0
        self.version = 0
        self.previous: Stroops | None = None
        self._say(since=None)

    def run(self, steps: int) -> None:
        """So many random steps, then rest."""
        likely = [self.pay, self.read, self.read, self.execute, self.report]
        possible = [*likely, *likely, self.pay_much, self.withdraw_from_vault, self.spend, self.fail, self.replay_fact]
        possible += [self.replay_result, self.lose_result, self.wait, self.wake]
        for _ in range(steps):
            self.random.choice(possible)()
            self.check()
        self.come_to_rest()

    # The chain

    def pay(self) -> None:
        amount = self.random.randint(1, 30)
        self.chain.received += amount
        self.chain.close([(amount, SENDER)])

    def pay_much(self) -> None:
        amounts = [self.random.randint(1, 500) for _ in range(self.random.randint(1, 4))]
        self.chain.received += sum(amounts)
        self.chain.close([(amount, SENDER) for amount in amounts])

    def withdraw_from_vault(self) -> None:
        amount = self.random.randint(1, 300)
        self.chain.returned += amount
        self.chain.close([(amount, VAULT)])

    def spend(self) -> None:
        amount = min(self.chain.balance, self.random.randint(1, 200))
        if amount:
            self.chain.spent += amount
            self.chain.close([(-amount, SENDER)])

    def wait(self) -> None:
        """Time passes: sometimes beyond every command's bound."""
        self.chain.ledger += self.random.choice((1, 10, 70))

    # The producers

    def read(self) -> None:
        """A producer covers what the consumer stores, as it must."""
        stored = self.world.state.ledger
        self._say(since=None if stored is None else stored - FIRST_LEDGER)

    def replay_fact(self) -> None:
        self.world.event(self.random.choice(self.said))

    def _say(self, *, since: int | None) -> None:
        event = self.chain.fact(since=since)
        self.said.append(event)
        self.world.event(event)

    # The executor

    def waiting(self) -> list[DepositCommand]:
        return [command for command in self.world.commands if str(command.command_id) not in self.taken]

    def execute(self) -> None:
        """Carry a command out, perhaps long after it was sent; never after its bound, twice, or below its reserve."""
        waiting = self.waiting()
        if not waiting:
            return
        command = self.random.choice(waiting)
        leaves = self.chain.balance - command.amount_stroops
        if close_time(self.chain.ledger + 1) > command.expires_at or leaves < command.reserve_stroops:
            return
        self.taken.add(str(command.command_id))
        self.chain.deposited += command.amount_stroops
        self.chain.close([(-command.amount_stroops, VAULT)])
        self.results.append((command, self.chain.ledger, True))

    def fail(self) -> None:
        waiting = self.waiting()
        if waiting:
            command = self.random.choice(waiting)
            self.taken.add(str(command.command_id))
            self.results.append((command, self.chain.ledger, False))

    def report(self) -> None:
        """Results arrive in any order."""
        if self.results:
            self.reported.append(self.results.pop(self.random.randrange(len(self.results))))
            self._report(*self.reported[-1])

    def replay_result(self) -> None:
        if self.reported:
            self._report(*self.random.choice(self.reported))

    def lose_result(self) -> None:
        if self.results and self.random.random() < 0.3:
            self.results.pop()

    def wake(self) -> None:
        """The wait is over: time has passed on the chain, too."""
        due_at = self.world.state.due_at
        if due_at is not None:
            while close_time(self.chain.ledger) < due_at:
                self.chain.ledger += max(1, (due_at - close_time(self.chain.ledger)) // LEDGER_TIME)
            self.world.due(close_time(self.chain.ledger))

    def _report(self, command: DepositCommand, ledger: int, succeeded: bool) -> None:  # noqa: FBT001
        if succeeded:
            self.world.succeeds(command, ledger)
        else:
            self.world.fails(command, ledger)

    # The oracle

    def check(self) -> None:
        """What must hold after every step, from the chain's point of view."""
        policy = self.world.policy
        qualified = self.chain.received + (self.baseline if policy.deposit_existing else 0)
        assert self.chain.deposited <= qualified, "never more is deposited than came in to be deposited"
        for outcome in self.world.outcomes[self.checked :]:
            command, snapshot = outcome.command, outcome.snapshot
            if command:
                assert command.command_id not in self.ids, "one id, one command"
                self.ids.add(command.command_id)
                assert command.amount_stroops >= max(policy.min_deposit_stroops, 1)
                assert command.amount_stroops <= (policy.max_deposit_stroops or command.amount_stroops)
            if snapshot and snapshot.event_id:
                assert (snapshot.ledger or 0) > self.version, "one snapshot per version, in order"
                assert snapshot.previous_stroops == self.previous, "snapshots link up"
                self.version, self.previous = snapshot.ledger or 0, snapshot.balance_stroops
        self.checked = len(self.world.outcomes)

    def come_to_rest(self) -> None:
        """New money comes once more, the world goes quiet, every part does its work: what qualified was deposited."""
        policy = self.world.policy
        minimum = max(policy.min_deposit_stroops, 1)
        self.read()  # what the owner spent before is seen before: the payment shows as an increase
        self.chain.received += minimum
        self.chain.close([(minimum, SENDER)])
        for _ in range(500):
            before = (self.chain.balance, len(self.world.commands))
            self.chain.ledger += 70
            self.read()
            for _ in self.waiting():
                self.execute()
            while self.results:
                self.report()
            self.read()
            if self.world.state.in_flight() == 0:
                self.wake()
            self.check()
            if before == (self.chain.balance, len(self.world.commands)) and self.world.state.due_at is None:
                break
        else:
            raise AssertionError("the world does not come to rest")
        self.read()
        assert self.world.state.balance_stroops == self.chain.balance, "the stored balance is the chain's"
        assert self.world.state.in_flight() == 0, "nothing is left in flight"
        baseline = 0 if policy.deposit_existing else self.baseline
        kept = max(baseline + self.chain.returned, policy.reserve_stroops)
        assert self.chain.balance - kept < minimum, "nothing that qualified is left"
        if not self.chain.spent and self.chain.received + baseline + self.chain.returned >= policy.reserve_stroops:
            assert self.chain.balance >= kept, "nothing that did not qualify is gone"
