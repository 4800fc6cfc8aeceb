"""Applying one operation to a draft of the state, as Stellar would: done whole, or Refused with its code."""

import hashlib
from dataclasses import replace

from sandbox import chain_pools
from sandbox.chain_operations import (
    AccountMerge,
    AssetChange,
    ChangeKind,
    ChangeTrust,
    ClaimClaimableBalance,
    Clawback,
    ContractCall,
    CreateAccount,
    CreateClaimableBalance,
    LiquidityPoolDeposit,
    LiquidityPoolWithdraw,
    Operation,
    Recorded,
    Refused,
    SetTrustlineFlags,
    postings_of,
)
from sandbox.chain_outcomes import NO_OUTCOME, Outcome, Posting
from sandbox.chain_state import Claimable, Draft, Trustline
from sandbox.keys import claimable_balance
from schema.stellar import Address, Asset, Stroops, parse_stroops


def apply(operation: Operation, draft: Draft, *, operation_id: int) -> Outcome:  # noqa: C901, PLR0911, PLR0912 - one per operation
    """Apply it; Refused leaves the draft half done, so drop it then."""
    match operation:
        case ChangeTrust():
            return _change_trust(operation, draft)
        case SetTrustlineFlags():
            return _set_flags(operation, draft)
        case CreateAccount():
            return _create_account(operation, draft)
        case AccountMerge():
            return _merge(operation, draft)
        case CreateClaimableBalance():
            return _create_claimable(operation, draft, operation_id=operation_id)
        case ClaimClaimableBalance():
            return _claim(operation, draft)
        case LiquidityPoolDeposit():
            return chain_pools.deposit(operation, draft)
        case LiquidityPoolWithdraw():
            return chain_pools.withdraw(operation, draft)
        case Clawback():
            _claw_back(operation.account, operation.asset, operation.stroops, draft)
            return NO_OUTCOME
        case ContractCall():
            for change in operation.changes:
                _apply_change(change, draft)
            return NO_OUTCOME
        case Recorded():
            return _apply_recorded(operation, draft)
        case _:
            return _post_all(operation, NO_OUTCOME, draft)


def _post_all(operation: Operation, outcome: Outcome, draft: Draft) -> Outcome:
    for posting in postings_of(operation, outcome):
        draft.post(posting)
    return outcome


def _change_trust(operation: ChangeTrust, draft: Draft) -> Outcome:
    account = draft.account(operation.source)
    if account is None or draft.account(operation.asset.issuer) is None:
        raise Refused("op_no_issuer")
    line = account.trustlines.get(operation.asset)
    if operation.limit_stroops == 0:
        if line is None or line.balance_stroops:
            raise Refused("op_invalid_limit")
        draft.set_trustline(account, operation.asset, None)
        return Outcome(trustline="removed")
    if line is None:
        line = Trustline(
            balance_stroops=0,
            limit_stroops=operation.limit_stroops,
            authorized=True,
            last_modified_ledger=draft.ledger,
        )
        draft.set_trustline(account, operation.asset, line)
        changed = draft.account(operation.source)
        if changed is not None and changed.native_stroops < changed.reserve_stroops:
            raise Refused("op_low_reserve")
        return Outcome(trustline="created")
    if operation.limit_stroops < line.balance_stroops:
        raise Refused("op_invalid_limit")
    changed_line = replace(line, limit_stroops=operation.limit_stroops, last_modified_ledger=draft.ledger)
    draft.set_trustline(account, operation.asset, changed_line)
    return Outcome(trustline="updated")


def _set_flags(operation: SetTrustlineFlags, draft: Draft) -> Outcome:
    account = draft.account(operation.trustor)
    line = account.trustlines.get(operation.asset) if account else None
    if account is None or line is None or operation.source != operation.asset.issuer:
        raise Refused("op_no_trustline")
    draft.set_trustline(
        account,
        operation.asset,
        replace(line, authorized=operation.authorized, last_modified_ledger=draft.ledger),
    )
    return NO_OUTCOME


def _create_account(operation: CreateAccount, draft: Draft) -> Outcome:
    if draft.account(operation.account) is not None:
        raise Refused("op_already_exists")
    if operation.starting_stroops < draft.open(operation.account).reserve_stroops:
        raise Refused("op_low_reserve")
    return _post_all(operation, NO_OUTCOME, draft)


def _merge(operation: AccountMerge, draft: Draft) -> Outcome:
    account, into = draft.account(operation.source), draft.account(operation.into)
    if into is None:
        raise Refused("op_no_account")
    if account is None or account.trustlines or account.pool_shares:
        raise Refused("op_has_sub_entries")
    outcome = Outcome(stroops=Stroops(account.native_stroops))
    draft.accounts[operation.source] = None
    draft.post(Posting(Address(operation.into), None, outcome.stroops))
    return outcome


def _create_claimable(operation: CreateClaimableBalance, draft: Draft, *, operation_id: int) -> Outcome:
    balance_id = "00000000" + hashlib.sha256(f"claimable|{operation_id}|{operation.source}".encode()).hexdigest()
    outcome = Outcome(balance_id=balance_id, escrow=claimable_balance(balance_id))
    draft.claimables[balance_id] = Claimable(
        claimant=operation.claimant, asset=operation.asset, stroops=operation.stroops
    )
    return _post_all(operation, outcome, draft)


def _claim(operation: ClaimClaimableBalance, draft: Draft) -> Outcome:
    balance_id = operation.balance_id or draft.oldest_claimable(operation.source)
    claimable = draft.claimable(balance_id)
    if claimable is None:
        raise Refused("op_does_not_exist")
    if claimable.claimant != operation.source:
        raise Refused("op_cannot_claim")
    draft.claimables[balance_id] = None
    outcome = Outcome(
        asset=claimable.asset,
        stroops=claimable.stroops,
        balance_id=balance_id,
        escrow=claimable_balance(balance_id),
    )
    _post_all(operation, outcome, draft)
    draft.accounts[outcome.escrow] = None
    return outcome


def _apply_change(change: AssetChange, draft: Draft) -> None:
    if change.kind is ChangeKind.CLAWBACK and change.source is not None:
        _claw_back(change.source, change.asset, change.stroops, draft)
        return
    call = ContractCall(source=change.asset.issuer, contract=Address(""), changes=(change,))
    _post_all(call, NO_OUTCOME, draft)


def _claw_back(address: str, asset: Asset, stroops: int, draft: Draft) -> None:
    """The issuer may take from a trustline that is not authorized, too."""
    account = draft.account(address)
    line = account.trustlines.get(asset) if account else None
    if account is None or line is None:
        raise Refused("op_no_trust")
    if line.balance_stroops < stroops:
        raise Refused("op_underfunded")
    after = replace(line, balance_stroops=line.balance_stroops - stroops, last_modified_ledger=draft.ledger)
    draft.set_trustline(account, asset, after)
    draft.issued[asset] = draft.issued.get(asset, 0) - stroops


def _apply_recorded(operation: Recorded, draft: Draft) -> Outcome:
    """Move what the record says between accounts that exist here; the other side is outside, as the issuer is."""
    postings = []
    for wanted in _recorded_postings(operation.raw):
        account = draft.account(wanted.address)
        line = account.trustlines.get(wanted.asset) if account and wanted.asset else None
        if line is None or wanted.asset is None or line.balance_stroops + wanted.stroops < 0:
            continue
        draft.post(wanted)
        outside = Posting(Address(wanted.asset.issuer), wanted.asset, Stroops(-wanted.stroops))
        draft.post(outside)
        postings += [wanted, outside]
    return Outcome(postings=tuple(postings))


def _recorded_postings(raw: dict[str, object]) -> list[Posting]:
    if raw.get("transaction_successful") is False:
        return []
    changes = raw.get("asset_balance_changes")
    if isinstance(changes, list):
        return [posting for change in changes for posting in _sides(change, "", "amount")]
    received = [posting for posting in _sides(raw, "", "amount") if posting.stroops > 0]
    if "source_amount" in raw:
        sent = [posting for posting in _sides(raw, "source_", "source_amount") if posting.stroops < 0]
        return sent + received
    return _sides(raw, "", "amount")


def _sides(raw: dict[str, object], prefix: str, amount: str) -> list[Posting]:
    code, issuer, stroops_text = raw.get(f"{prefix}asset_code"), raw.get(f"{prefix}asset_issuer"), raw.get(amount)
    if not isinstance(code, str) or not isinstance(issuer, str) or not isinstance(stroops_text, str):
        return []
    asset, stroops = Asset.parse(f"{code}:{issuer}"), parse_stroops(stroops_text)
    sides = []
    for name, signed in (("from", -stroops), ("to", stroops)):
        address = raw.get(name)
        if isinstance(address, str) and address != asset.issuer:
            sides.append(Posting(Address(address), asset, Stroops(signed)))
    return sides
