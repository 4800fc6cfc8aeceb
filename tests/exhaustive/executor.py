"""An executor that keeps its contract (docs/executor.md): a seen id is answered from memory, nothing after the bound,
nothing below the reserve. Where and when it acts is the search's choice.
"""

from collections.abc import Iterator

from schema import deposit_command
from schema.balance_event import BalanceEvent
from schema.deposit_command import DepositCommand
from schema.deposit_result import DepositResult, ResultError, ResultStatus
from schema.stellar import Ledger, Stroops
from tests.exhaustive.chain import FIRST_LEDGER, START, Chain
from tests.exhaustive.database import content
from tests.exhaustive.world import Numbered, Step, World


class Executor:
    """Its steps over the commands' topic."""

    def __init__(self) -> None:
        self.chains: Numbered[Chain] = Numbered()
        self.messages: Numbered[BalanceEvent | DepositResult] = Numbered()
        self.payloads: Numbered[bytes] = Numbered()
        self._contents: dict[int, DepositCommand] = {}

    def content(self, payload: int) -> DepositCommand:
        """A sent command, as the executor reads it."""
        if payload not in self._contents:
            self._contents[payload] = content(self.payloads.values[payload])
        return self._contents[payload]

    def payload_of(self, command: DepositCommand) -> int:
        """The number of a command's bytes."""
        return self.payloads(deposit_command.encode(command))

    def executions(self, world: World) -> Iterator[Step]:
        """The command at hand, as the contract says: seen, expired, carried out, or too little above the reserve."""
        payload = world.sent[world.sent_at]
        known = self.ending(world, payload)
        if known is not None:
            again = world._replace(sent_at=world.sent_at + 1, results=(*world.results, known))
            yield "the executor has seen the command and repeats its result", again
            return
        command, chain = self.content(payload), self.chains.values[world.chain]
        if chain.now > command.expires_at:
            yield "the executor lets the command expire", self.failed(world, "expired")
            return
        whole = self.deposited(world, less=False)
        if whole is not None:
            yield f"the executor deposits {command.amount_stroops}", whole
            return
        yield "the executor refuses: too little above the reserve", self.failed(world, "insufficient_balance")
        less = self.deposited(world, less=True)
        if less is not None:
            yield "the executor deposits what is there above the reserve", less

    def ending(self, world: World, payload: int) -> int | None:
        """The result that the executor remembers of a command."""
        return next((result for command, result in world.endings if command == payload), None)

    def deposited(self, world: World, *, less: bool) -> World | None:
        """The command at hand is carried out; None when it must not be."""
        payload = world.sent[world.sent_at]
        command, chain = self.content(payload), self.chains.values[world.chain]
        free = chain.balance - command.reserve_stroops
        amount = min(free, command.amount_stroops) if less else command.amount_stroops
        if chain.now > command.expires_at or amount <= 0 or amount > free:
            return None
        chain = chain.moved(-amount, "deposited", payload)
        result = DepositResult(
            command_id=command.command_id,
            status=ResultStatus.SUCCEEDED,
            amount_stroops=Stroops(amount),
            transaction_hash=f"{chain.ledger:064x}",
            ledger=Ledger(FIRST_LEDGER + chain.ledger),
            error=None,
            completed_at=chain.now,
        )
        return self._ended(world._replace(chain=self.chains(chain)), payload, result)

    def failed(self, world: World, code: str) -> World:
        """The command at hand fails, for certain."""
        payload = world.sent[world.sent_at]
        result = DepositResult(
            command_id=self.content(payload).command_id,
            status=ResultStatus.FAILED,
            amount_stroops=Stroops(0),
            transaction_hash=None,
            ledger=None,
            error=ResultError(code=code, message=code),
            completed_at=START,
        )
        return self._ended(world, payload, result)

    def _ended(self, world: World, payload: int, result: DepositResult) -> World:
        number = self.messages(result)
        endings = tuple(sorted((*world.endings, (payload, number))))
        return world._replace(sent_at=world.sent_at + 1, endings=endings, results=(*world.results, number))
