"""Horizon's account records and its root: the pages that show the state instead of the history."""

from typing import Any

from sandbox.chain import Chain
from sandbox.chain_effects import asset_fields
from sandbox.chain_history import LedgerHeader
from sandbox.chain_state import Account
from sandbox.horizon_records import CURSOR_TEMPLATE
from schema.stellar import STROOPS_MAX, Asset, format_stroops

JsonObject = dict[str, Any]
NO_LIABILITIES = {"buying_liabilities": "0.0000000", "selling_liabilities": "0.0000000"}
NO_FLAGS = dict.fromkeys(("auth_required", "auth_revocable", "auth_immutable", "auth_clawback_enabled"), False)
_ACCOUNT_PAGES = ("transactions", "operations", "payments", "effects", "offers", "trades")
_ROOT_PAGES = {
    "account": "/accounts/{account_id}",
    "accounts": "/accounts{?signer,sponsor,asset,liquidity_pool,cursor,limit,order}",
    "account_transactions": "/accounts/{account_id}/transactions{?cursor,limit,order}",
    "assets": "/assets{?asset_code,asset_issuer,cursor,limit,order}",
    "effects": "/effects{?cursor,limit,order}",
    "ledger": "/ledgers/{sequence}",
    "ledgers": "/ledgers{?cursor,limit,order}",
    "operations": "/operations{?cursor,limit,order,include_failed}",
    "payments": "/payments{?cursor,limit,order,include_failed}",
    "transaction": "/transactions/{hash}",
}


def account_record(account: Account, chain: Chain, base_url: str) -> JsonObject:
    """`/accounts/{id}`: every trustline with its own last_modified_ledger, XLM last and without one."""
    here = f"{base_url}/accounts/{account.address}"
    modified = chain.history.headers.get(account.last_modified_ledger, chain.latest)
    sequenced = chain.history.headers.get(account.sequence_ledger, chain.latest)
    links = {name: {"href": f"{here}/{name}{CURSOR_TEMPLATE}", "templated": True} for name in _ACCOUNT_PAGES}
    balances: list[JsonObject] = [
        {
            "balance": format_stroops(line.balance_stroops),
            "limit": format_stroops(line.limit_stroops),
            **NO_LIABILITIES,
            "last_modified_ledger": line.last_modified_ledger,
            "is_authorized": line.authorized,
            "is_authorized_to_maintain_liabilities": line.authorized,
            **asset_fields(asset),
        }
        for asset, line in sorted(account.trustlines.items(), key=lambda item: (item[0].code, item[0].issuer))
    ]
    balances = [*_pool_lines(account), *balances]
    balances.append({"balance": format_stroops(account.native_stroops), **NO_LIABILITIES, "asset_type": "native"})
    return {
        "_links": {
            "self": {"href": here},
            **links,
            "data": {"href": f"{here}/data/{{key}}", "templated": True},
        },
        "id": account.address,
        "account_id": account.address,
        "sequence": str(account.sequence),
        "sequence_ledger": account.sequence_ledger,
        "sequence_time": str(int(sequenced.closed_at.timestamp())),
        "subentry_count": len(account.trustlines) + 2 * len(account.pool_shares),
        "last_modified_ledger": account.last_modified_ledger,
        "last_modified_time": modified.closed_at_text,
        "thresholds": {"low_threshold": 0, "med_threshold": 0, "high_threshold": 0},
        "flags": NO_FLAGS,
        "balances": balances,
        "signers": [{"weight": 1, "key": account.signer, "type": "ed25519_public_key"}],
        "data": {},
        "num_sponsoring": 0,
        "num_sponsored": 0,
        "paging_token": account.address,
    }


def _pool_lines(account: Account) -> list[JsonObject]:
    """Pool shares have no code and no issuer, and no liabilities."""
    return [
        {
            "balance": format_stroops(shares.stroops),
            "liquidity_pool_id": pool_id,
            "limit": format_stroops(STROOPS_MAX),
            "last_modified_ledger": shares.last_modified_ledger,
            "is_authorized": False,
            "is_authorized_to_maintain_liabilities": False,
            "asset_type": "liquidity_pool_shares",
        }
        for pool_id, shares in sorted(account.pool_shares.items())
    ]


def holder_ids(chain: Chain, asset: Asset, *, as_of: int) -> list[str]:
    """Who has a trustline of the asset, recorded accounts included, in the order of the pages."""
    simulated = chain.state.holders(asset, as_of=as_of)
    recorded = [
        account_id
        for account_id, raw in chain.recorded_accounts.items()
        if any(
            line.get("asset_code") == asset.code and line.get("asset_issuer") == asset.issuer
            for line in raw["balances"]
        )
    ]
    return sorted({*simulated, *recorded}) if recorded else simulated


def asset_token(asset: Asset) -> str:
    """An asset's paging token."""
    return f"{asset.code}_{asset.issuer}_{asset.horizon_type}"


def asset_record(chain: Chain, asset: Asset, *, as_of: int) -> JsonObject:
    """One record of `/assets`: how many hold it, by whether they may, and how much it is together."""
    counts, stroops = {True: 0, False: 0}, {True: 0, False: 0}
    for address in chain.state.holders(asset, as_of=as_of):
        account = chain.state.account(address, as_of=as_of)
        assert account is not None
        line = account.trustlines[asset]
        counts[line.authorized] += 1
        stroops[line.authorized] += line.balance_stroops
    contracts = [
        account.trustlines[asset].balance_stroops
        for address, account in chain.state.accounts.items()
        if address[0] == "C" and asset in account.trustlines
    ]
    claimables = [each.stroops for each in chain.state.claimables.values() if each.asset == asset]
    return {
        "_links": {"toml": {"href": ""}},
        **asset_fields(asset),
        "paging_token": asset_token(asset),
        "num_claimable_balances": len(claimables),
        "num_liquidity_pools": 0,
        "num_contracts": len(contracts),
        "accounts": {
            "authorized": counts[True],
            "authorized_to_maintain_liabilities": 0,
            "unauthorized": counts[False],
        },
        "claimable_balances_amount": format_stroops(sum(claimables)),
        "liquidity_pools_amount": format_stroops(0),
        "contracts_amount": format_stroops(sum(contracts)),
        "balances": {
            "authorized": format_stroops(stroops[True]),
            "authorized_to_maintain_liabilities": format_stroops(0),
            "unauthorized": format_stroops(stroops[False]),
        },
        "flags": NO_FLAGS,
    }


def root_record(chain: Chain, header: LedgerHeader, base_url: str) -> JsonObject:
    """`/`: which network this is, and how much of its history is here, up to one ledger."""
    links: JsonObject = {
        name: {"href": f"{base_url}{path}", "templated": "{" in path} for name, path in _ROOT_PAGES.items()
    }
    return {
        "_links": links | {"self": {"href": f"{base_url}/"}},
        "horizon_version": "28.0.0-sandbox",
        "core_version": "stellar-core 22.1.0 (sandbox)",
        "ingest_latest_ledger": header.sequence,
        "history_latest_ledger": header.sequence,
        "history_latest_ledger_closed_at": header.closed_at_text,
        "history_elder_ledger": chain.history.elder_ledger,
        "core_latest_ledger": chain.latest.sequence,
        "network_passphrase": chain.network.passphrase,
        "current_protocol_version": 22,
        "supported_protocol_version": 22,
        "core_supported_protocol_version": 22,
    }
