"""Places in the history: a stream's cursors, and how Stellar RPC is asked for what comes behind one.

RPC numbers events `<operation>-<event>`: the operation's place as Horizon has it (ledger << 32 | transaction << 12 |
operation), but with operations counted from 0, where Horizon counts from 1. So with 1 added an operation's id is the
same for both, and the cursors of a stream are Horizon's, whichever source it reads: `<id>` is behind that operation,
`<ledger + 1> << 32` is behind that ledger. To ask for what comes behind an operation RPC is given the last event that
it could have; not the very last number, which RPC would count over into 0.
"""

from collections.abc import Mapping
from typing import Any, Final

from schema.stellar import OPERATION_ID_MAX, Cursor, Ledger, Malformed

EVENT_LAST: Final = 2**32 - 2
LEDGER_BITS: Final = 32
DIGITS_MAX: Final = 20


def start_behind(cursor: Cursor, *, newest: Ledger) -> dict[str, Any]:
    """How RPC is asked for what comes behind a cursor. Behind a whole ledger it can begin with the next one, where that
    is there already, or else with nothing left of this one.
    """
    place = int(cursor) if len(cursor) <= DIGITS_MAX and cursor.isascii() and cursor.isdigit() else -1
    if not 0 < place <= OPERATION_ID_MAX:
        raise Malformed(cursor, expected="a cursor: an operation's id or the end of a ledger", field="cursor")
    first = Ledger(place >> LEDGER_BITS)
    if place == first << LEDGER_BITS and first <= newest:
        return {"startLedger": first}
    return {"cursor": f"{place - 1:019d}-{EVENT_LAST:010d}"}


def first_ledger(asked: Mapping[str, Any]) -> Ledger:
    """The ledger that RPC must have to answer that."""
    found = asked["startLedger"] if "startLedger" in asked else int(asked["cursor"].partition("-")[0]) >> LEDGER_BITS
    return Ledger(found)
