"""`read`: the state of chosen wallets, now, told as a person's request. A stream need not run."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from producers.facts import Facts, Verdict
from producers.parts import Parts
from producers.reader import Reader
from producers.source import Unavailable
from producers.start import check_network
from producers.wallets import Touch, Wallet
from schema.balance_event import SnapshotType
from schema.stellar import LEDGER_MAX, AccountId, Ledger, format_stroops

READ_WITHIN_S: Final = 600.0


async def read(account_ids: Sequence[AccountId], parts: Parts) -> list[Mapping[str, Any]]:
    """Read, publish, and return what was found of each wallet. Movements come from the account's own history, after
    the stored version. Unavailable or Away when it could not be done: nothing is lost, run it again.
    """
    check_network(await parts.source.history(), parts.network)
    reader = Reader(
        parts.source,
        asset=parts.asset,
        metrics=parts.metrics,
        clock=parts.clock,
        wake=asyncio.Event(),
        faults_max=0,
    )
    facts = Facts(parts.source, parts.store, network=parts.network, asset=parts.asset, metrics=parts.metrics)
    asked = Touch(at_least=Ledger(1), snapshot_type=SnapshotType.MANUAL, drain=0, first_sight=True)
    sightings = await reader.read([(account_id, asked) for account_id in account_ids], seconds=READ_WITHIN_S)
    if len(sightings) < len(account_ids):
        raise Unavailable(f"{len(account_ids) - len(sightings)} of {len(account_ids)} wallets could not be read")
    seen = [(each, each.state, Wallet(complete_since=Ledger(LEDGER_MAX))) for each in sightings if each.state]
    for version in sorted({state.version for _, state, _ in seen}):
        await parts.source.closed_at(version)  # seen in the history: what an account's payments say after that is whole
    told = await facts.tell(seen, drained=Ledger(LEDGER_MAX))
    await parts.publisher.publish([each.event for each in told if each.event is not None])
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
