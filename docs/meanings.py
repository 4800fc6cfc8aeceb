"""What each field of each message means: the words of docs/topics.md. A field without words ends the generator."""

from collections.abc import Mapping
from typing import Final

from schema import balance_event, deposit_command, deposit_result

INTRODUCTIONS: Final[Mapping[str, str]] = {
    balance_event.TYPE: (
        "A fact: the account held so much of the asset, as last changed in ledger `ledger`. Without a trustline, or "
        "without the account, the balance is 0, not authorized, and the version is `observed_ledger`."
    ),
    deposit_command.TYPE: (
        "Deposit `amount`, leave at least `reserve`, do nothing after `expires_at`. See [executor.md](executor.md)."
    ),
    deposit_result.TYPE: "The executor's last word on a command. See [executor.md](executor.md).",
}
MEANINGS: Final[Mapping[str, Mapping[str, str]]] = {
    balance_event.TYPE: {
        "event_id": "Identity of the fact: a UUIDv5 of network, account, asset and version. Any other is refused.",
        "snapshot_type": "Why the state was read: a payment was seen, a schedule, a person's request.",
        "network": "The chain.",
        "account_id": "The wallet. Also the key.",
        "asset": "What it holds.",
        "balance": "How much of it.",
        "authorized": "Whether the issuer lets the trustline move money. False without a trustline.",
        "ledger": "The version: the ledger in which the trustline last changed; without one, `observed_ledger`.",
        "observed_ledger": "The ledger in which the state was read.",
        "observed_at": "When that ledger closed: chain time.",
        "movements_since": "`movements` holds every payment in later ledgers, up to `ledger`. Null: not known.",
        "movements": "The payments that touched the wallet, oldest first. Null exactly when `movements_since` is.",
        "movements[].operation_id": "Horizon's id of the operation.",
        "movements[].ledger": "The ledger it is in.",
        "movements[].transaction_hash": "The transaction it is in.",
        "movements[].type": "Horizon's type of the operation, or of the balance change in a contract call.",
        "movements[].counterparty": "The other side.",
        "movements[].amount": "What it did to the wallet: in is `+`, out is `-`.",
    },
    deposit_command.TYPE: {
        "command_id": "A UUIDv5 of `wallet_id` and `caused_by`. One id, one content, one deposit.",
        "previous_command_id": "The failed or expired command that this one tries again.",
        "user_id": "The person.",
        "wallet_id": "The row of `stellar_wallets`.",
        "account_id": "Where the money is. Also the key.",
        "network": "The chain.",
        "asset": "What to deposit.",
        "vault_address": "Where to. Null: the executor's own choice.",
        "amount": "How much: never more.",
        "balance": "What the wallet held when this was decided.",
        "reserve": "What must remain in the wallet.",
        "ledger": "The version of that balance. Read again in this ledger or a later one.",
        "caused_by": "An `event_id`, `result:<command_id>` or `due:<wallet_id>:<time>`.",
        "snapshot_id": "The wallet's latest row of `balance_snapshots`.",
        "issued_at": "When it was decided.",
        "expires_at": "Do nothing after this, in chain time.",
    },
    deposit_result.TYPE: {
        "command_id": "The command that has ended.",
        "status": "How. `failed` says that nothing moved and nothing ever will.",
        "amount": "What was deposited: more than 0 and at most the command's, where it succeeded.",
        "transaction_hash": "The deposit's transaction. Not null where it succeeded.",
        "ledger": "The ledger that holds it. Not null where it succeeded.",
        "error": "Why it failed. Not null where it did.",
        "error.code": "For machines; the codes are in [executor.md](executor.md).",
        "error.message": "For people.",
        "completed_at": "When it ended: chain time.",
    },
}
