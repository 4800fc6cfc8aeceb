"""The asset contract's events as records of a history: one for each operation, in the shape of Horizon's.

| event           | topics behind its name    | in the record                                                          |
|-----------------|---------------------------|------------------------------------------------------------------------|
| transfer        | from, to, asset           | a balance change, of both                                              |
| mint            | to, asset                 | a balance change of `to`                                               |
| burn, clawback  | from, asset               | a balance change of `from`                                             |
| set_authorized  | account, asset            | `accounts_authorized`: touched, nothing moved                   |

Since protocol 23 (CAP-67) the network tells every movement of an asset so, whatever caused it: payments, path payments,
offers, claimable balances, pools, contract calls. Before it the issuer stood between the name and the address of a mint
and a clawback. `producers/payments.py` reads the records as it reads Horizon's. The raw events of one that cannot be
read stay in it: it goes to the dead letters whole.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from producers.rpc import xdr as rpc_xdr
from producers.rpc.wire import Event
from schema.stellar import AccountId, Asset, Malformed, format_stroops

RECORD_TYPE: Final = "asset_events"
MOVING: Final = ("transfer", "mint", "burn", "clawback")
SET_AUTHORIZED: Final = "set_authorized"
_NAMES: Final = {rpc_xdr.symbol(name): name for name in (*MOVING, SET_AUTHORIZED)}


def topics() -> list[list[str]]:
    """The filter for every event that can change a trustline."""
    return [[encoded, "**"] for encoded in _NAMES]


def topics_of(account_id: AccountId) -> list[list[str]]:
    """The filter for those that moved one account's money."""
    account = rpc_xdr.address(account_id)
    named = {name: encoded for encoded, name in _NAMES.items()}
    return [
        [named["transfer"], account, "**"],
        [named["transfer"], "*", account, "**"],
        *([named[name], account, "**"] for name in ("mint", "burn", "clawback")),
    ]


def records(events: Sequence[Event], asset: Asset) -> list[dict[str, Any]]:
    """The records of these events, in order."""
    return [_record(list(each), asset) for _, each in groupby(events, key=lambda event: event.operation_id)]


def _record(events: Sequence[Event], asset: Asset) -> dict[str, Any]:
    first = events[0]
    record: dict[str, Any] = {
        "id": str(first.operation_id),
        "paging_token": str(first.operation_id),
        "type": RECORD_TYPE,
        "transaction_successful": all(event.raw.get("inSuccessfulContractCall", True) is not False for event in events),
        "created_at": first.raw.get("ledgerClosedAt"),
        "transaction_hash": first.raw.get("txHash"),
    }
    try:
        record["asset_balance_changes"] = [change for event in events for change in _changes(event, asset)]
        record["accounts_authorized"] = [account for event in events for account in _authorized(event)]
    except Malformed as malformed:
        record["asset_balance_changes"] = str(malformed)  # no list: payments refuses it, and says this
        record["accounts_named"] = sorted(_accounts(events))
        record["events"] = [event.raw for event in events]
    return record


def _changes(event: Event, asset: Asset) -> Iterator[dict[str, Any]]:
    name, topics = _topics(event)
    if name == SET_AUTHORIZED:
        return
    if topics[-1] != rpc_xdr.text(str(asset)):
        raise Malformed(topics[-1], expected=f"the topic {asset} as XDR", field="topic")
    sides = {
        "transfer": ("from", "to"),
        "mint": ("to",),
        "burn": ("from",),
        "clawback": ("from",),
    }[name]
    addresses = topics[-1 - len(sides) : -1]
    if len(addresses) < len(sides) or (len(topics) > len(sides) + 1 and name not in ("mint", "clawback")):
        raise Malformed(len(topics), expected=f"the topics of a {name}", field="topic")
    yield {
        "asset_type": asset.horizon_type,
        "asset_code": asset.code,
        "asset_issuer": asset.issuer,
        "type": name,
        **{side: rpc_xdr.read_address(encoded) for side, encoded in zip(sides, addresses, strict=True)},
        "amount": format_stroops(rpc_xdr.read_amount(_text(event, "value"))),
    }


def _authorized(event: Event) -> Iterator[str]:
    name, topics = _topics(event)
    if name == SET_AUTHORIZED:
        if len(topics) < 2:  # noqa: PLR2004 - the account and the asset
            raise Malformed(len(topics), expected="the topics of a set_authorized", field="topic")
        address = rpc_xdr.read_address(topics[-2])
        if address.startswith("G"):  # contracts have no trustlines
            yield address


def _topics(event: Event) -> tuple[str, list[str]]:
    """The event's name, and the topics behind it, still encoded."""
    found = event.raw.get("topic")
    if not isinstance(found, list) or not found or not all(isinstance(each, str) for each in found):
        raise Malformed(found, expected="a list of topics as XDR", field="topic")
    name = _NAMES.get(found[0])
    if name is None:
        raise Malformed(found[0], expected=" or ".join(_NAMES.values()), field="topic")
    return name, found[1:]


def _text(event: Event, name: str) -> str:
    value = event.raw.get(name)
    if not isinstance(value, str):
        raise Malformed(value, expected="XDR in base64", field=name)
    return value


def _accounts(events: Sequence[Event]) -> set[str]:
    """Whom events name that make no sense otherwise."""
    found = set()
    for event in events:
        topics = event.raw.get("topic")
        for encoded in topics if isinstance(topics, list) else ():
            try:
                found.add(str(rpc_xdr.read_address(str(encoded))))
            except Malformed:
                continue
    return found
