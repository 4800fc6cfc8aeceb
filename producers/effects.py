"""What a record of Horizon's `/effects` says about one asset: whose trustline of it may have changed, and when.

| effect                                                   | about our asset when               | whose trustline      |
|----------------------------------------------------------|------------------------------------|----------------------|
| account_credited, account_debited,                       | asset_type, _code, _issuer         | `account`            |
| trustline_created, _removed, _updated                    |                                    |                      |
| trustline_authorized, _deauthorized,                     | the same; where no issuer is named | `trustor`            |
| _authorized_to_maintain_liabilities, _flags_updated      | it is `account`, who gave the flag |                      |
| trade                                                    | sold_asset_..., bought_asset_...   | `account`, `seller`  |
| liquidity_pool_deposited, _withdrew, _revoked, _trade    | one of the pool's reserves         | `account`            |
| claimable_balance_created, _claimed                      | `asset`                            | `account`            |
| account_removed                                          | always: all its trustlines ended   | `account`            |
| one that is not known here                               | our asset is named anywhere        | every account named  |
| all the others (`NOBODYS`)                               | never                              | nobody's             |

Amounts are never looked at: effects count some changes twice, and the state is read anyway. A counterfeit of the code
is nothing. What is about our asset and cannot be read is Malformed, with its place.
"""

import re
from typing import Any, Final

from producers import payments
from schema.stellar import AccountId, Asset, Ledger, Malformed, ledger_of_operation, parse_account_id

Place = tuple[int, int]  # the operation's id, and the number of the effect in it: effects come in this order

NOBODYS: Final = frozenset(
    (
        *("account_created", "account_thresholds_updated", "account_home_domain_updated", "account_flags_updated"),
        *("account_inflation_destination_updated", "sequence_bumped"),
        *("signer_created", "signer_removed", "signer_updated"),
        *("offer_created", "offer_removed", "offer_updated"),
        *("data_created", "data_removed", "data_updated"),
        *("account_sponsorship_created", "account_sponsorship_updated", "account_sponsorship_removed"),
        *("trustline_sponsorship_created", "trustline_sponsorship_updated", "trustline_sponsorship_removed"),
        *("data_sponsorship_created", "data_sponsorship_updated", "data_sponsorship_removed"),
        "claimable_balance_sponsorship_created",
        "claimable_balance_sponsorship_updated",
        "claimable_balance_sponsorship_removed",
        *("signer_sponsorship_created", "signer_sponsorship_updated", "signer_sponsorship_removed"),
        *("claimable_balance_claimant_created", "claimable_balance_clawed_back"),  # nothing left a trustline
        *("liquidity_pool_created", "liquidity_pool_removed"),
        *("contract_credited", "contract_debited"),  # contracts have no trustlines
    )
)
_OWN: Final = frozenset(
    ("account_credited", "account_debited", "trustline_created", "trustline_removed", "trustline_updated")
)
_GIVEN: Final = frozenset(
    (
        "trustline_authorized",
        "trustline_deauthorized",
        "trustline_authorized_to_maintain_liabilities",
        "trustline_flags_updated",
    )
)
_POOLS: Final = frozenset(
    ("liquidity_pool_deposited", "liquidity_pool_withdrew", "liquidity_pool_revoked", "liquidity_pool_trade")
)
_CLAIMABLE: Final = frozenset(("claimable_balance_created", "claimable_balance_claimed"))
_TOKEN: Final = re.compile(r"([0-9]{1,19})-([0-9]{1,10})", re.ASCII)
_DEPTH_MAX: Final = 16  # of an effect that is not known, searched for our asset


def touched(record: object, asset: Asset) -> frozenset[AccountId]:  # noqa: PLR0911 - one row of the table each
    """The accounts whose trustline of the asset this effect may have changed; Malformed when that cannot be told."""
    fields = payments.as_object(record)
    kind = payments.text(fields, "type")
    if kind in NOBODYS:
        return frozenset()
    if kind in _OWN:
        return _named(fields, "account") if payments.is_asset(fields, "", asset) else frozenset()
    if kind == "trade":
        ours = payments.is_asset(fields, "sold_", asset), payments.is_asset(fields, "bought_", asset)
        return _named(fields, "account", "seller") if any(ours) else frozenset()
    if kind in _GIVEN:
        given = {"asset_issuer": fields.get("account"), **fields}
        return _named(fields, "trustor") if payments.is_asset(given, "", asset) else frozenset()
    if kind in _POOLS:
        return _named(fields, "account") if _is_reserve(fields, asset) else frozenset()
    if kind in _CLAIMABLE:
        return _named(fields, "account") if payments.text(fields, "asset") == str(asset) else frozenset()
    if kind == "account_removed":
        return _named(fields, "account")
    return frozenset(payments.accounts_named(record)) if _mentions(record, asset, _DEPTH_MAX) else frozenset()


def place_of(record: object) -> tuple[Place, Ledger]:
    """Where the effect stands, and the ledger it is in: both from its paging token; Malformed otherwise."""
    fields = payments.as_object(record)
    token = payments.text(fields, "paging_token")
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise Malformed(token, expected="an operation id, a dash and a number", field="paging_token")
    return (int(match[1]), int(match[2])), payments.read(
        {"paging_token": match[1]}, "paging_token", ledger_of_operation
    )


def _named(fields: dict[str, Any], *names: str) -> frozenset[AccountId]:
    return frozenset(payments.read(fields, name, parse_account_id) for name in names)


def _is_reserve(fields: dict[str, Any], asset: Asset) -> bool:
    try:
        pool = payments.as_object(fields.get("liquidity_pool"))
    except Malformed as malformed:
        raise malformed.within("liquidity_pool") from None
    reserves = pool.get("reserves")
    if not isinstance(reserves, list):
        raise Malformed(reserves, expected="a list", field="liquidity_pool.reserves")
    found = False
    for index, reserve in enumerate(reserves):
        try:
            found |= payments.text(payments.as_object(reserve), "asset") == str(asset)
        except Malformed as malformed:
            raise malformed.within(f"liquidity_pool.reserves[{index}]") from None
    return found


def _mentions(value: object, asset: Asset, depth: int) -> bool:
    """Whether the asset stands anywhere in here: as CODE:ISSUER, or as its code beside its issuer in one object."""
    if isinstance(value, str):
        return value == str(asset)
    if isinstance(value, dict):
        texts = [each for each in value.values() if isinstance(each, str)]
        if asset.code in texts and asset.issuer in texts:
            return True
        return depth > 0 and any(_mentions(each, asset, depth - 1) for each in value.values())
    return isinstance(value, list) and depth > 0 and any(_mentions(each, asset, depth - 1) for each in value)
