"""What the chain itself says of the wallets: the judge of every fact that was told."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sandbox.chain_operations import is_payment
from schema.balance_event import BalanceEvent
from schema.stellar import AccountId
from tests.integration.producers.scene import Scene


@dataclass(kw_only=True)
class Truth:
    """Closes the ledgers, and remembers what every wallet held at each of its versions."""

    scene: Scene
    wallets: int
    _held: dict[tuple[AccountId, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._look()

    @property
    def accounts(self) -> list[AccountId]:
        return [self.scene.account(wallet) for wallet in range(self.wallets)]

    def close(self) -> int:
        """Close a ledger; its number."""
        ledger = self.scene.close()
        self._look()
        return ledger

    def now(self, account_id: AccountId) -> tuple[int, int]:
        """The version, and what is held."""
        account = self.scene.chain.state.account(account_id)
        assert account is not None
        line = account.trustlines[self.scene.people.asset]
        return line.last_modified_ledger, line.balance_stroops

    def all_told(self, facts: Sequence[BalanceEvent]) -> bool:
        """Whether each wallet's newest version was told."""
        told = {(fact.account_id, fact.ledger) for fact in facts}
        return all((account_id, self.now(account_id)[0]) in told for account_id in self.accounts)

    def judge(self, facts: Sequence[BalanceEvent], *, after: str) -> None:
        """Every fact equals the chain, movements included, and every payment since the first fact is in a fact."""
        assert self.all_told(facts), f"{after}: not everything is told"
        for fact in facts:
            where = f"{after}: {fact}"
            assert self._held.get((fact.account_id, fact.ledger)) == fact.balance_stroops, where
            header = self.scene.chain.history.headers[fact.observed_ledger]
            assert fact.observed_at.replace(microsecond=0) == header.closed_at.replace(microsecond=0), where
            assert fact.authorized, where
            if fact.movements is not None and fact.movements_since is not None:
                expected = self._moved(fact.account_id, after=fact.movements_since, up_to=fact.ledger)
                found = {each.operation_id: each.amount_stroops for each in fact.movements}
                assert (found, len(fact.movements)) == (expected, len(expected)), where
        for account_id in self.accounts:
            mine = [fact for fact in facts if fact.account_id == account_id]
            listed = {each.operation_id for fact in mine for each in fact.movements or ()}
            first = min(fact.ledger for fact in mine)
            missing = self._moved(account_id, after=first, up_to=2**32).keys() - listed
            assert not missing, f"{after}: {account_id} was moved by {missing}, and no fact says so"

    def _moved(self, account_id: AccountId, *, after: int, up_to: int) -> dict[str, int]:
        found: dict[str, int] = {}
        for change in self.scene.chain.changes_of(account_id):
            entry = change.entry
            if change.posting.asset != self.scene.people.asset or not is_payment(entry.operation):
                continue
            if after < entry.transaction.ledger <= up_to:
                operation = str(entry.operation_id)
                found[operation] = found.get(operation, 0) + change.posting.stroops
        return found

    def _look(self) -> None:
        for account_id in self.accounts:
            version, held = self.now(account_id)
            self._held[account_id, version] = held
