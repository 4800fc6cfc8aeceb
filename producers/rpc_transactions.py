"""Which movements have a source: the transaction of what came in from another account is looked up.

| what came in from           | by                       | has a source                                              |
|-----------------------------|--------------------------|-----------------------------------------------------------|
| a contract                  | a contract call          | yes                                                       |
| a claimable balance, a pool | a claim, a trade         | no: nobody pays, as in Horizon's payments                 |
| an account                  | a payment, a contract    | yes                                                       |
|                             | a path payment           | what the sender gives the receiver in the end; not trades |
|                             | an offer, anything else  | no: it was bought                                         |
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from producers import rpc_wire, rpc_xdr
from producers.rpc_http import RpcHttp
from producers.rpc_xdr import Operation
from producers.source import Unavailable
from schema.balance_event import Movement
from schema.stellar import AccountId, Address, Ledger, Malformed

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

    async def sourced(self, account_id: AccountId, movements: Sequence[Movement]) -> Sequence[Movement] | None:
        """See Source.sourced. Unavailable when a transaction that must be there is not shown."""
        asked = {each.transaction_hash: each.ledger for each in movements if _is_from_account(each)}
        if len(asked) > LOOK_UPS_MAX:
            return None
        found = await asyncio.gather(*(self._look_up(*each) for each in asked.items()))
        operations = dict(zip(asked, found, strict=True))
        if any(each is None for each in found):
            return None
        return [each for index, each in enumerate(movements) if _has_source(account_id, movements, index, operations)]

    async def _look_up(self, transaction_hash: str, ledger: Ledger) -> Sequence[Operation] | None:
        """The transaction's operations; None: RPC has forgotten it."""
        known = self._known.get(transaction_hash)
        if known is not None:
            return known
        async with self._looking:
            answer = await self._http.call("getTransaction", {"hash": transaction_hash})
        try:
            envelope = rpc_wire.transaction(answer)
            if envelope is None:
                if rpc_wire.ledger_range(answer)[0] > ledger:
                    return None
                raise Unavailable(f"getTransaction: {transaction_hash} of ledger {ledger} is not there yet")
            found = rpc_xdr.read_operations(envelope)
        except Malformed as malformed:
            raise Unavailable(f"getTransaction: {malformed}") from malformed
        self._known[transaction_hash] = found
        if len(self._known) > KEPT_MAX:
            del self._known[next(iter(self._known))]
        return found


def _is_from_account(movement: Movement) -> bool:
    return movement.amount_stroops > 0 and movement.counterparty is not None and movement.counterparty[0] == "G"


def _has_source(
    account_id: AccountId,
    movements: Sequence[Movement],
    index: int,
    operations: Mapping[str, Sequence[Operation] | None],
) -> bool:
    movement = movements[index]
    if not _is_from_account(movement):
        return movement.amount_stroops <= 0 or (movement.counterparty or "").startswith("C")
    number = int(movement.operation_id) & _OPERATION_BITS
    found = operations[movement.transaction_hash] or ()
    if not 1 <= number <= len(found):
        return True  # not what the events told of: better one source too many than one too few
    operation = found[number - 1]
    if operation.receiver is None:
        return operation.sends_itself
    sender = Address(operation.sender)
    if operation.receiver != account_id or sender != movement.counterparty:
        return False
    later = movements[index + 1 :]  # the receiver's own offers may have been crossed on the way: paid is the last one
    return not any(
        each.operation_id == movement.operation_id and each.amount_stroops > 0 and each.counterparty == sender
        for each in later
    )
