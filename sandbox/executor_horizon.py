"""What the executor asks of Horizon: an account, the latest ledger, a transaction, and to take one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp
import orjson

from schema.stellar import AccountId, Asset, Stroops, parse_stroops
from schema.wire import parse_time

REQUEST_TIMEOUT_S = 10.0
SUBMIT_TIMEOUT_S = 40.0  # Horizon itself answers within 30 s, if only with 504
OK, BAD_REQUEST, NOT_FOUND = 200, 400, 404


class Unreachable(Exception):
    """No usable answer: whatever was asked may or may not have happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """An account as one ledger left it. `balance_stroops` is None without a trustline; the account may be absent."""

    ledger: int
    exists: bool
    sequence: int
    balance_stroops: Stroops | None
    authorized: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerView:
    """The newest ledger that is there."""

    sequence: int
    closed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionView:
    """A transaction that a ledger holds, whether it succeeded or not."""

    ledger: int
    closed_at: datetime
    successful: bool
    code: str  # why it failed


@dataclass(frozen=True, slots=True, kw_only=True)
class NotIncluded:
    """A submission that was turned away; `code` is Stellar's."""

    code: str


class HorizonClient:
    """One Horizon. Every method raises Unreachable for anything but a clear answer."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def account(self, account_id: AccountId, asset: Asset) -> AccountView:
        """The account's sequence number, and what it holds of the asset."""
        status, headers, body = await self._request("GET", f"/accounts/{account_id}")
        if status not in (OK, NOT_FOUND) or "Latest-Ledger" not in headers:
            raise Unreachable(f"/accounts answered {status}")
        ledger = int(headers["Latest-Ledger"])
        if status == NOT_FOUND:
            return AccountView(ledger=ledger, exists=False, sequence=0, balance_stroops=None, authorized=False)
        record = _json(body)
        line = next((line for line in record["balances"] if _is_of(line, asset)), None)
        return AccountView(
            ledger=ledger,
            exists=True,
            sequence=int(record["sequence"]),
            balance_stroops=parse_stroops(line["balance"]) if line else None,
            authorized=bool(line and line["is_authorized"]),
        )

    async def latest(self) -> LedgerView:
        """The newest ledger of the history."""
        status, _, body = await self._request("GET", "/")
        if status != OK:
            raise Unreachable(f"/ answered {status}")
        root = _json(body)
        return LedgerView(
            sequence=int(root["history_latest_ledger"]), closed_at=parse_time(root["history_latest_ledger_closed_at"])
        )

    async def transaction(self, transaction_hash: str) -> TransactionView | None:
        """The transaction, or None where no ledger of the history holds it."""
        status, _, body = await self._request("GET", f"/transactions/{transaction_hash}")
        if status == NOT_FOUND:
            return None
        if status != OK:
            raise Unreachable(f"/transactions/{{hash}} answered {status}")
        return _transaction(_json(body))

    async def submit(self, envelope: str) -> TransactionView | NotIncluded:
        """Hand the envelope in; handing it in again is answered with what became of it."""
        status, _, body = await self._request(
            "POST", "/transactions", data={"tx": envelope}, timeout_s=SUBMIT_TIMEOUT_S
        )
        if status == OK:
            return _transaction(_json(body))
        if status != BAD_REQUEST:
            raise Unreachable(f"/transactions answered {status}")
        problem = _json(body)
        codes = problem.get("extras", {}).get("result_codes", {})
        code = str(codes.get("transaction") or str(problem.get("type", "")).rpartition("/")[2])
        if code == "tx_failed":
            code = next((each for each in codes.get("operations", ()) if each != "op_success"), code)
        return NotIncluded(code=code)

    async def _request(
        self, method: str, path: str, *, data: dict[str, str] | None = None, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> tuple[int, Any, bytes]:
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._session.request(method, self._url + path, data=data, timeout=timeout) as response:
                return response.status, response.headers, await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable(f"{method} {path}: {error!r}") from error


def _json(body: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unreachable("an answer that is not JSON") from error
    if not isinstance(parsed, dict):
        raise Unreachable("an answer that is not an object")
    return parsed


def _is_of(line: dict[str, Any], asset: Asset) -> bool:
    return (
        line.get("asset_type") == asset.horizon_type
        and line.get("asset_code") == asset.code
        and line.get("asset_issuer") == asset.issuer
    )


def _transaction(record: dict[str, Any]) -> TransactionView:
    return TransactionView(
        ledger=int(record["ledger"]),
        closed_at=parse_time(record["created_at"]),
        successful=bool(record["successful"]),
        code="" if record["successful"] else "tx_failed",
    )
