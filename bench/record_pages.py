"""Pages of /payments as Horizon sends them, full of what a public network is full of: other people's business.

Of 200 records some 2 touch a wallet that is followed; 20 are payments of the asset between strangers, 6 counterfeits.
The rest moves lumens and other assets: payments, path payments, contract calls, new accounts.
"""

from collections.abc import Sequence
from random import Random
from typing import Any, Final

import orjson

from bench.wallet_rows import account_id
from schema.stellar import Asset

RECORDS: Final = 200
FIRST_LEDGER: Final = 52_426_477
PER_LEDGER: Final = 350
SOURCE: Final = "https://horizon.stellar.org"
_MIX: Final = (
    *(("native", 60), ("other", 40), ("path", 44), ("contract", 18), ("account", 8), ("ours", 2), ("strangers", 20)),
    *(("counterfeit", 6), ("failed", 2)),
)


class Pages:
    """Makes page after page; the same for the same seed."""

    def __init__(self, asset: Asset, wallets: Sequence[str], *, seed: int = 7) -> None:
        self._random = Random(seed)
        self._asset = asset
        self._wallets = wallets
        self._strangers = [account_id(self._random.randbytes(32)) for _ in range(50_000)]
        self._issuers = [account_id(self._random.randbytes(32)) for _ in range(200)]
        self._count = 0

    def page(self) -> bytes:
        """One page's bytes."""
        kinds = [kind for kind, share in _MIX for _ in range(share)]
        self._random.shuffle(kinds)
        records = [self._record(kind) for kind in kinds[:RECORDS]]
        link = f"{SOURCE}/payments?cursor={records[-1]['paging_token']}&limit={RECORDS}&order=asc"
        links = {"self": {"href": f"{SOURCE}/payments"}, "next": {"href": link}, "prev": {"href": link}}
        return orjson.dumps({"_links": links, "_embedded": {"records": records}})

    def _record(self, kind: str) -> dict[str, Any]:
        self._count += 1
        token = str((FIRST_LEDGER + self._count // PER_LEDGER) << 32 | (self._count % PER_LEDGER + 1) << 12 | 1)
        transaction = self._random.randbytes(32).hex()
        sender, receiver = self._random.sample(self._strangers, 2)
        base: dict[str, Any] = {
            "_links": {
                "self": {"href": f"{SOURCE}/operations/{token}"},
                "transaction": {"href": f"{SOURCE}/transactions/{transaction}"},
                "effects": {"href": f"{SOURCE}/operations/{token}/effects"},
                "succeeds": {"href": f"{SOURCE}/effects?order=desc&cursor={token}"},
                "precedes": {"href": f"{SOURCE}/effects?order=asc&cursor={token}"},
            },
            "id": token,
            "paging_token": token,
            "transaction_successful": kind != "failed",
            "source_account": sender,
            "type": "payment",
            "type_i": 1,
            "created_at": "2024-07-06T10:13:42Z",
            "transaction_hash": transaction,
        }
        return base | self._fields(kind, sender, receiver)

    def _fields(self, kind: str, sender: str, receiver: str) -> dict[str, Any]:  # noqa: PLR0911 - a kind each
        amount = f"{self._random.randrange(10**6)}.{self._random.randrange(10**7):07d}"
        sides = {"from": sender, "to": receiver, "amount": amount}
        if kind == "native":
            return {"asset_type": "native", **sides}
        if kind == "account":
            return {
                "type": "create_account",
                "type_i": 0,
                "starting_balance": amount,
                "funder": sender,
                "account": receiver,
            }
        if kind == "path":
            path = [self._other(), {"asset_type": "native"}]
            source = {f"source_{name}": value for name, value in self._other().items()}
            limits = {"source_amount": amount, "destination_min": amount, "path": path}
            return {"type": "path_payment_strict_send", "type_i": 13, **self._other(), **sides, **limits, **source}
        if kind == "contract":
            change = {"type": "transfer", **self._other(), **sides}
            parameters = [{"value": "AAAADwAAAAh0cmFuc2Zlcg==", "type": "Sym"}] * 4
            call = {"function": "HostFunctionTypeHostFunctionTypeInvokeContract", "parameters": parameters}
            return {"type": "invoke_host_function", "type_i": 24, **call, "asset_balance_changes": [change, change]}
        if kind == "other":
            return {**self._other(), **sides}
        if kind == "counterfeit":
            return {**_fields(self._asset.code, self._random.choice(self._issuers)), **sides}
        if kind == "ours":
            sides["to"] = self._random.choice(self._wallets)
        return {**_fields(self._asset.code, self._asset.issuer), **sides}

    def _other(self) -> dict[str, str]:
        return _fields(self._random.choice(("AQUA", "yUSDC", "EURC", "SHX", "XRP")), self._random.choice(self._issuers))


def _fields(code: str, issuer: str) -> dict[str, str]:
    return {
        "asset_type": "credit_alphanum4" if len(code) <= 4 else "credit_alphanum12",
        "asset_code": code,
        "asset_issuer": issuer,
    }
