"""`read`: the state of chosen wallets, now, told as a person's request. A stream need not run."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from producers.facts import Verdict
from producers.parts import Parts
from producers.start import check_network
from producers.telling import Teller
from producers.wallet import Touch
from schema.balance_event import SnapshotType
from schema.stellar import AccountId, Ledger, format_stroops

READ_WITHIN_S: Final = 600.0


async def read(account_ids: Sequence[AccountId], parts: Parts) -> list[Mapping[str, Any]]:
    """Read, publish, and return what was found of each wallet. Movements come from the account's own history, after
    the stored version. Unavailable or Away when it could not be done: nothing is lost, run it again.
    """
    check_network(await parts.source.history(), parts.network)
    teller = Teller(parts)
    asked = Touch(at_least=Ledger(1), snapshot_type=SnapshotType.MANUAL, drain=0, first_sight=True)
    sightings = await teller.read([(account_id, asked) for account_id in account_ids], seconds=READ_WITHIN_S)
    told = await teller.tell(sightings)
    found: list[Mapping[str, Any]] = [
        {
            "account_id": each.state.account_id,
            "balance": format_stroops(each.state.balance_stroops),
            "authorized": each.state.authorized,
            "ledger": each.state.version,
            "observed_ledger": each.state.observed,
            "published": each.verdict is Verdict.FACT,
            "movements": None if each.event is None or each.event.movements is None else len(each.event.movements),
        }
        for each in told
    ]
    return found + [{"account_id": each.account_id, "refused": str(each.fault)} for each in sightings if each.fault]
