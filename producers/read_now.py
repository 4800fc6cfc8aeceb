"""`read`: the state of chosen wallets, now, told as a person's request. A stream need not run."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from producers.facts import Told, Verdict
from producers.parts import Parts
from producers.start import check_network
from producers.telling import Teller
from producers.wallet import Touch
from schema.balance_event import SnapshotType
from schema.stellar import AccountId, Network, format_stroops

READ_WITHIN_S: Final = 600.0


async def read(account_ids: Iterable[AccountId], parts: Parts) -> list[Mapping[str, Any]]:
    """Read, publish, and return what was found of each wallet; where nothing was published, `not_published` says why.
    Movements come from the account's own history, after the stored version. Unavailable or Away when it could not be
    done: nothing is lost, run it again.
    """
    wanted = list(dict.fromkeys(account_ids))
    history = await parts.source.history()
    check_network(history, parts.network)
    tracked = await parts.store.stored(wanted, parts.network)
    teller = Teller(parts)
    asked = Touch(at_least=history.latest, snapshot_type=SnapshotType.MANUAL, drain=0, first_sight=True)
    sightings = await teller.read([(account_id, asked) for account_id in wanted], seconds=READ_WITHIN_S)
    told = await teller.tell(sightings)
    found: list[Mapping[str, Any]] = [
        {
            "account_id": each.state.account_id,
            "balance": format_stroops(each.state.balance_stroops),
            "authorized": each.state.authorized,
            "absent": each.state.is_absence,
            "ledger": each.state.version,
            "observed_ledger": each.state.observed,
            "published": each.verdict is Verdict.FACT,
            "movements": None if each.event is None or each.event.movements is None else len(each.event.movements),
            **_why_not(each, is_tracked=each.state.account_id in tracked, network=parts.network),
        }
        for each in told
    ]
    return found + [
        {"account_id": each.account_id, "published": False, "not_published": f"its state makes no sense: {each.fault}"}
        for each in sightings
        if each.fault
    ]


def _why_not(told: Told, *, is_tracked: bool, network: Network) -> Mapping[str, str]:
    if told.verdict is Verdict.FACT:
        return {}
    reason = told.answer.refused or ""
    if not is_tracked:
        reason = f"no wallet has this address on {network}: give it a row in stellar_wallets first"
    elif told.verdict is Verdict.LATER:
        reason = "the source is behind what is stored of it: run this again"
    return {"not_published": reason}
