"""What Horizon's payments would show of a wallet's movements: their transactions are looked up.

| the other side                | by                    | in a fact                                                    |
|-------------------------------|-----------------------|--------------------------------------------------------------|
| a contract                    | a contract call       | as the event says                                            |
| a claimable balance, a pool   | a claim, a trade      | nothing: nobody pays                                         |
| an account                    | a contract call       | as the event says                                            |
|                               | a payment             | the payment                                                  |
|                               | a path payment        | what its sender sends, and its receiver receives in the end; |
|                               |                       | not the trades on the way                                    |
|                               | an offer, a clawback, | nothing: it was traded, or taken                             |
|                               | anything else         |                                                              |
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final

from producers.rpc import wire as rpc_wire
from producers.rpc import xdr as rpc_xdr
from producers.rpc.http import RpcHttp
from producers.rpc.xdr import Operation
from producers.source import Unavailable, making_sense
from schema.balance_event import Movement
from schema.stellar import AccountId, Address, Asset, Ledger, Stroops

LOOK_UPS_MAX: Final = 500  # of one fact: whoever sends dust by the thousand must not spend the budget
LOOK_UPS_AT_ONCE: Final = 8
KEPT_MAX: Final = 5_000
_OPERATION_BITS: Final = 0xFFF


class RpcTransactions:
    """Looks transactions up, and remembers the newest."""

    def __init__(self, http: RpcHttp) -> None:
        self._http = http
        self._looking = asyncio.Semaphore(LOOK_UPS_AT_ONCE)
        self._known: dict[str, Sequence[Operation]] = {}

    async def sourced(
        self, account_id: AccountId, movements: Sequence[Movement], asset: Asset
    ) -> Sequence[Movement] | None:
        """See Source.sourced. Unavailable when a transaction that must be there is not shown."""
        asked = {each.transaction_hash: each.ledger for each in movements if _has_account(each)}
        if len(asked) > LOOK_UPS_MAX:
            return None
        found = await asyncio.gather(*(self._look_up(*each) for each in asked.items()))
        operations: dict[str, Sequence[Operation]] = {}
        for transaction_hash, each in zip(asked, found, strict=True):
            if each is None:
                return None
            operations[transaction_hash] = each
        told: list[Movement] = []
        for operation_id, group in groupby(movements, key=lambda each: each.operation_id):
            mine = list(group)
            its = operations.get(mine[0].transaction_hash)
            number = int(operation_id) & _OPERATION_BITS
            if its is None:
                told += [each for each in mine if (each.counterparty or "").startswith("C")]
            elif not 1 <= number <= len(its):
                told += mine  # not what the events told of: better one source too many than one too few
            else:
                told += paid(its[number - 1], account_id, mine, asset)
        return told

    async def _look_up(self, transaction_hash: str, ledger: Ledger) -> Sequence[Operation] | None:
        """The transaction's operations; None: RPC has forgotten it."""
        known = self._known.get(transaction_hash)
        if known is not None:
            return known
        async with self._looking:
            answer = await self._http.call("getTransaction", {"hash": transaction_hash})
        with making_sense("getTransaction"):
            envelope = rpc_wire.transaction(answer)
            if envelope is None:
                if rpc_wire.ledger_range(answer)[0] > ledger:
                    return None
                raise Unavailable(f"getTransaction: {transaction_hash} of ledger {ledger} is not there yet")
            found = rpc_xdr.read_operations(envelope)
        self._known[transaction_hash] = found
        if len(self._known) > KEPT_MAX:
            del self._known[next(iter(self._known))]
        return found


def paid(
    operation: Operation, account_id: AccountId, movements: Sequence[Movement], asset: Asset
) -> Iterator[Movement]:
    """What an operation paid the wallet or took from it, as Horizon would list it, given all that moved by it."""
    if operation.kind == rpc_xdr.CONTRACT_CALL:
        yield from movements
    elif operation.receiver is None:
        yield from (replace(each, type=operation.kind) for each in movements if operation.kind)
    else:
        yield from _paid_by_path(operation, account_id, movements, asset)


def _paid_by_path(
    operation: Operation, account_id: AccountId, movements: Sequence[Movement], asset: Asset
) -> Iterator[Movement]:
    """The last that came in is what is received. What is sent is all that went, less what came back on the way."""
    receives = operation.receiver == account_id and operation.receives == str(asset)
    sends = operation.sender == account_id and operation.sends == str(asset)
    incoming = [each for each in movements if each.amount_stroops > 0]
    received = incoming[-1].amount_stroops if receives and incoming else 0
    whole = movements[0]
    if sends:
        stroops = Stroops(sum(each.amount_stroops for each in movements) - received)
        receiver = Address(operation.receiver or "")
        yield replace(whole, type=operation.kind, counterparty=receiver, amount_stroops=stroops)
    if received:
        sender = Address(operation.sender)
        yield replace(whole, type=operation.kind, counterparty=sender, amount_stroops=Stroops(received))


def _has_account(movement: Movement) -> bool:
    return movement.counterparty is not None and movement.counterparty[0] == "G"
