"""The executor's time bound to the second: nothing is signed at it, nothing is called failed before a later ledger."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from sandbox.executor_core import Carrier, Refusal, Rules
from sandbox.executor_horizon import LedgerView, NotIncluded
from sandbox.executor_store import Signed
from schema.deposit_command import DepositCommand
from schema.deposit_result import DepositResult
from schema.stellar import Network, Stroops
from tests.unit.consumer.worlds import USDC
from tests.unit.schema.messages import COMMAND

VAULT = COMMAND.account_id  # any account will do
COMMANDED: DepositCommand = replace(COMMAND, vault_address=None)
SIGNED = Signed(
    envelope="AAAA",
    hash="d5b3b11e39b9450a79645de31a2503c45b9cfe1567b81f52b4a212afd834492e",
    sequence=8,
    max_time=int(COMMANDED.expires_at.timestamp()),
    stroops=COMMANDED.amount_stroops,
)


class FakeChain:
    """An account that has everything; the newest ledger closed so many seconds after the bound."""

    def __init__(self, seconds: int) -> None:
        self._closed_at = COMMANDED.expires_at + timedelta(seconds=seconds)

    async def latest(self) -> LedgerView:
        return LedgerView(sequence=COMMANDED.ledger + 60, closed_at=self._closed_at)

    async def transaction(self, _hash: str) -> None:
        return None

    async def account(self, *_: object) -> Any:
        return SimpleNamespace(
            ledger=COMMANDED.ledger + 60,
            exists=True,
            authorized=True,
            sequence=7,
            balance_stroops=Stroops(COMMANDED.balance_stroops),
        )


def carrier(seconds: int, signed: list[Signed]) -> Carrier:
    memory = SimpleNamespace(settled_ledger=lambda _: 0, sign=lambda _, envelope: signed.append(envelope))
    rules = Rules(network=Network.TESTNET, asset=USDC, vault_address=VAULT)  # type: ignore[arg-type]
    chain: Any = FakeChain(seconds)
    published: Any = None
    return Carrier(memory=memory, chain=chain, sign=lambda **_: SIGNED, publish=published, rules=rules)


async def test_nothing_is_signed_once_the_chain_has_reached_the_bound() -> None:
    """A second before it, yes; at it, no more."""
    signed: list[Signed] = []
    assert await carrier(-1, signed)._prepare(COMMANDED) == SIGNED
    assert signed == [SIGNED]
    for seconds in (0, 1):
        with pytest.raises(Refusal, match="has reached expires_at"):
            await carrier(seconds, signed)._prepare(COMMANDED)
    assert signed == [SIGNED]


async def test_a_failure_is_only_told_when_a_later_ledger_has_closed() -> None:
    """A ledger that closes at the bound itself may be followed by one of the same time that holds the transaction."""

    async def end(seconds: int) -> DepositResult | None:
        return await carrier(seconds, [])._certain_end(COMMANDED, SIGNED, NotIncluded(code=""))

    assert await end(0) is None
    result = await end(1)
    assert result is not None
    assert result.error is not None
    assert result.error.code == "expired"
