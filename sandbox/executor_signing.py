"""The wallets' keys, and the one transaction they sign for a command."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import orjson
from stellar_sdk import Account, TransactionBuilder
from stellar_sdk import Asset as SdkAsset

from sandbox.executor_store import Signed
from schema.stellar import AccountId, Address, Asset, Network, Stroops, format_stroops

FEE_STROOPS = 100

SecretOf = Callable[[AccountId], str | None]


class Sign(Protocol):
    """Builds and signs the payment of a deposit; None where the account's key is not known."""

    def __call__(  # noqa: PLR0913 - what a payment says
        self,
        *,
        account_id: AccountId,
        sequence: int,
        vault_address: Address,
        asset: Asset,
        stroops: Stroops,
        max_time: int,
    ) -> Signed | None: ...


class SecretsFile:
    """`[{"account_id", "secret"}, ...]`, read again when an unknown account is asked for: wallets are added."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._secrets: dict[str, str] = {}

    def __call__(self, account_id: AccountId) -> str | None:
        if account_id not in self._secrets:
            wallets = orjson.loads(self._path.read_bytes())
            self._secrets = {wallet["account_id"]: wallet["secret"] for wallet in wallets}
        return self._secrets.get(account_id)


def signing(network: Network, secret_of: SecretOf) -> Sign:
    """Sign for one network with these keys. The time bound is inclusive: a ledger that closes at it may hold it."""

    def sign(  # noqa: PLR0913
        *,
        account_id: AccountId,
        sequence: int,
        vault_address: Address,
        asset: Asset,
        stroops: Stroops,
        max_time: int,
    ) -> Signed | None:
        secret = secret_of(account_id)
        if secret is None:
            return None
        envelope = (
            TransactionBuilder(Account(account_id, sequence - 1), network.passphrase, base_fee=FEE_STROOPS)
            .add_time_bounds(0, max_time)
            .append_payment_op(vault_address, SdkAsset(asset.code, asset.issuer), format_stroops(stroops))
            .build()
        )
        envelope.sign(secret)
        return Signed(
            envelope=envelope.to_xdr(),
            hash=envelope.hash_hex(),
            sequence=sequence,
            max_time=max_time,
            stroops=stroops,
        )

    return sign
