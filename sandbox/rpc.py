"""`POST /rpc`: a Stellar RPC with the true format over the simulated chain, beside the Horizon of the same chain.

Faults strike a method by the path `/rpc/<method>`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson
from aiohttp import web

from sandbox import rpc_scan, rpc_xdr
from sandbox.chain_history import Entry, Kind, LedgerHeader, Span, Transaction
from sandbox.chain_state import Trustline
from sandbox.horizon_faults import Fault
from sandbox.horizon_instance import Instance
from sandbox.horizon_views import FAULT
from sandbox.rpc_events import EVENT_MAX, TRANSACTION_MAX, end_of
from sandbox.rpc_scan import Scan, matches
from schema.stellar import STROOPS_PER_UNIT, Asset, Malformed, parse_stroops

PATH: Final = "/rpc"
EVENTS_MAX: Final = 10_000
EVENTS_DEFAULT: Final = 100
KEYS_MAX: Final = 200
FILTERS_MAX: Final = 5
SCAN_LEDGERS_MAX: Final = 10_000
LEDGERS_MAX: Final = 200
LEDGERS_DEFAULT: Final = 50
PARSE_ERROR, INVALID_REQUEST, NO_SUCH_METHOD, INVALID_PARAMS = -32700, -32600, -32601, -32602
JsonObject = dict[str, Any]


class RpcError(Exception):
    """An answer that is an error of JSON-RPC."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


async def fault_path(request: web.Request) -> str:
    """Under which path a request is struck: the method belongs to it."""
    if request.path != PATH:
        return request.path
    try:
        return f"{PATH}/{orjson.loads(await request.read())['method']}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return PATH


class Rpc:
    """The RPC's methods."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._chain = instance.chain
        self._scan = Scan(instance)
        self._methods: Mapping[str, Callable[[JsonObject, LedgerHeader, Fault | None], JsonObject]] = {
            "getHealth": self.health,
            "getNetwork": self.network,
            "getLatestLedger": self.latest_ledger,
            "getLedgers": self.ledgers,
            "getEvents": self.events,
            "getLedgerEntries": self.ledger_entries,
            "getTransaction": self.transaction,
            "getTransactions": self.transactions,
        }

    def routes(self) -> list[web.RouteDef]:
        """Its one address."""
        return [web.post(PATH, self.answer)]

    async def answer(self, request: web.Request) -> web.Response:
        number, answer = self._answer(await request.read(), request[FAULT])
        body = orjson.dumps({"jsonrpc": "2.0", "id": number, **answer})
        return web.Response(body=body, content_type="application/json")

    def _answer(self, body: bytes, fault: Fault | None) -> tuple[Any, JsonObject]:
        """The question's number, and what it is answered."""
        try:
            question = orjson.loads(body)
        except orjson.JSONDecodeError:
            return None, _error(PARSE_ERROR, "Parse error")
        if not isinstance(question, dict) or question.get("jsonrpc") != "2.0":
            return None, _error(INVALID_REQUEST, "Invalid Request")
        number, method = question.get("id"), self._methods.get(str(question.get("method")))
        if method is None:
            return number, _error(NO_SUCH_METHOD, "method not found")
        here = self._instance.header_behind(fault.lag_ledgers if fault else 0)
        try:
            return number, {"result": method(question.get("params") or {}, here, fault)}
        except RpcError as error:
            return number, _error(error.code, error.message)

    def health(self, _asked: JsonObject, here: LedgerHeader, _fault: Fault | None) -> JsonObject:
        return {"status": "healthy", **self._range(here), "ledgerRetentionWindow": 120_960}

    def network(self, _asked: JsonObject, _here: LedgerHeader, _fault: Fault | None) -> JsonObject:
        return {"passphrase": self._chain.network.passphrase, "protocolVersion": 23}

    def latest_ledger(self, _asked: JsonObject, here: LedgerHeader, _fault: Fault | None) -> JsonObject:
        closed = str(int(here.closed_at.timestamp()))
        told = {"id": here.hash, "protocolVersion": 23, "sequence": here.sequence, "closeTime": closed}
        return {**told, "headerXdr": "", "metadataXdr": ""}

    def ledgers(self, asked: JsonObject, here: LedgerHeader, _fault: Fault | None) -> JsonObject:
        pagination = asked.get("pagination") or {}
        start = asked.get("startLedger") or int(pagination.get("cursor", 0)) + 1
        elder = self._chain.history.elder_ledger
        if not elder <= start <= here.sequence:
            raise RpcError(
                INVALID_REQUEST,
                f"start ledger ({start}) must be between the oldest ledger: {elder} and the latest ledger: "
                f"{here.sequence} for this rpc instance",
            )
        limit = self._limit(pagination, default=LEDGERS_DEFAULT, largest=LEDGERS_MAX)
        span = Span(cursor=(start << 32) - 1, descending=False, limit=limit, latest_ledger=here.sequence)
        found = self._chain.history.ledgers_page(span)
        told = [
            {
                "hash": header.hash,
                "sequence": header.sequence,
                "ledgerCloseTime": str(int(header.closed_at.timestamp())),
                "headerXdr": "",
                "metadataXdr": "",
            }
            for header in found
        ]
        range_ = {name: int(value) for name, value in self._range(here).items()}
        return {"ledgers": told, **range_, "cursor": str(found[-1].sequence if found else start - 1)}

    def events(self, asked: JsonObject, here: LedgerHeader, _fault: Fault | None) -> JsonObject:
        pagination = asked.get("pagination") or {}
        limit = self._limit(pagination, default=EVENTS_DEFAULT, largest=EVENTS_MAX)
        filters = asked.get("filters") or []
        if len(filters) > FILTERS_MAX:
            raise RpcError(INVALID_PARAMS, "maximum 5 filters per request")
        for number, each in enumerate(filters, start=1):
            wrong = rpc_scan.wrong_with(each)
            if wrong:
                raise RpcError(INVALID_PARAMS, f"filter {number} invalid: {wrong}")
        start = self._start(asked, pagination)
        first = start[0] >> 32
        elder = self._chain.history.elder_ledger
        if not elder <= first <= here.sequence:
            raise RpcError(INVALID_REQUEST, f"startLedger must be within the ledger range: {elder} - {here.sequence}")
        end = min(here.sequence + 1, first + SCAN_LEDGERS_MAX, asked.get("endLedger") or here.sequence + 1)
        found = []
        for event in self._scan.events_from(start, end):
            if not filters or any(matches(each, event) for each in filters):
                found.append(event)
                if len(found) == limit:
                    break
        place = found[-1]["id"] if len(found) == limit else end_of(end - 1)
        return {"events": found, **self._range(here), "cursor": place}

    def _start(self, asked: JsonObject, pagination: JsonObject) -> tuple[int, int]:
        """Where the answer begins: the operation's place, and the number of its event, which is part of it."""
        given = pagination.get("cursor")
        if given is None:
            if not asked.get("startLedger"):
                raise RpcError(INVALID_PARAMS, "startLedger must be positive")
            return asked["startLedger"] << 32, 0
        if asked.get("startLedger") or asked.get("endLedger"):
            raise RpcError(INVALID_PARAMS, "ledger ranges and cursor cannot both be set")
        toid, dash, number = str(given).partition("-")
        if not (dash and toid.isdigit() and number.isdigit()):
            raise RpcError(INVALID_PARAMS, f"invalid event id {given}")
        return int(toid), (int(number) + 1) & EVENT_MAX

    def ledger_entries(self, asked: JsonObject, here: LedgerHeader, fault: Fault | None) -> JsonObject:
        keys = asked.get("keys") or []
        if len(keys) > KEYS_MAX:
            raise RpcError(INVALID_PARAMS, f"key count ({len(keys)}) exceeds maximum supported ({KEYS_MAX})")
        entries = []
        for index, key in enumerate(keys):
            try:
                named = rpc_xdr.read_key(key)
            except Malformed:
                raise RpcError(INVALID_PARAMS, f"cannot unmarshal key value {key} at index {index}") from None
            line = self._trustline(*named, as_of=here.sequence) if named else None
            if named is None or line is None:
                continue
            if fault is not None and fault.lies_about == named[0]:
                line = replace(line, balance_stroops=line.balance_stroops + STROOPS_PER_UNIT)
            modified = line.last_modified_ledger
            entries.append(
                {"key": key, "xdr": rpc_xdr.trustline_entry(*named, line), "lastModifiedLedgerSeq": modified}
            )
        return {"entries": entries, "latestLedger": here.sequence}

    def _trustline(self, account_id: str, asset: Asset, *, as_of: int) -> Trustline | None:
        account = self._chain.state.account(account_id, as_of=as_of)
        if account is not None:
            return account.trustlines.get(asset)
        for line in self._chain.recorded_accounts.get(account_id, {}).get("balances", ()):
            if (line.get("asset_code"), line.get("asset_issuer")) == (asset.code, asset.issuer):
                return Trustline(
                    balance_stroops=parse_stroops(line["balance"]),
                    limit_stroops=parse_stroops(line["limit"]),
                    authorized=bool(line["is_authorized"]),
                    last_modified_ledger=line["last_modified_ledger"],
                )
        return None

    def transaction(self, asked: JsonObject, here: LedgerHeader, _fault: Fault | None) -> JsonObject:
        wanted = asked.get("hash")
        range_ = self._range(here)
        found = self._chain.history.transactions.get(str(wanted))
        if found is None or found.ledger > here.sequence:
            return {"status": "NOT_FOUND", **range_, "txHash": wanted}
        span = Span(
            cursor=found.token,
            descending=False,
            limit=found.operation_count,
            latest_ledger=here.sequence,
            include_failed=True,
        )
        page = self._chain.history.page(Kind.OPERATIONS, span)
        entries = [entry for entry in page if entry.transaction.hash == wanted]
        return {**range_, **self._told(found, entries), "createdAt": str(int(found.closed_at.timestamp()))}

    def transactions(self, asked: JsonObject, here: LedgerHeader, _fault: Fault | None) -> JsonObject:
        """One page from a ledger on; the cursor is not followed."""
        pagination = asked.get("pagination") or {}
        limit = self._limit(pagination, default=LEDGERS_DEFAULT, largest=LEDGERS_MAX)
        found: list[JsonObject] = []
        for ledger in range(asked.get("startLedger") or here.sequence, here.sequence + 1):
            found += [
                {**self._told(each, ()), "createdAt": int(each.closed_at.timestamp())}
                for each in self._scan.transactions_of(ledger)[: limit - len(found)]
            ]
        return {"transactions": found, **self._range(here), "cursor": str(here.sequence << 32)}

    def _told(self, transaction: Transaction, entries: Sequence[Entry]) -> JsonObject:
        return {
            "status": "SUCCESS" if transaction.successful else "FAILED",
            "txHash": transaction.hash,
            "applicationOrder": transaction.token >> 12 & TRANSACTION_MAX,
            "feeBump": False,
            "envelopeXdr": rpc_xdr.envelope_of(transaction, entries, self._chain.network) if entries else "",
            "resultXdr": "",
            "resultMetaXdr": "",
            "ledger": transaction.ledger,
        }

    def _range(self, here: LedgerHeader) -> JsonObject:
        elder = self._chain.history.headers[self._chain.history.elder_ledger]
        return {
            "latestLedger": here.sequence,
            "latestLedgerCloseTime": str(int(here.closed_at.timestamp())),
            "oldestLedger": elder.sequence,
            "oldestLedgerCloseTime": str(int(elder.closed_at.timestamp())),
        }

    def _limit(self, pagination: JsonObject, *, default: int, largest: int) -> int:
        limit = pagination.get("limit") or default
        largest = min(largest, self._instance.options.rpc_limit or largest)
        if limit > largest:
            raise RpcError(INVALID_PARAMS, f"limit must not exceed {largest}")
        return int(limit)


def _error(code: int, message: str) -> JsonObject:
    return {"error": {"code": code, "message": message}}
