"""What each address of Horizon answers with."""

import re
from bisect import bisect_right
from dataclasses import replace

from aiohttp import web

from sandbox import horizon_pages, horizon_sse
from sandbox.chain_history import Kind, Span
from sandbox.horizon_accounts import account_record, asset_record, asset_token, holder_ids, root_record
from sandbox.horizon_faults import Fault
from sandbox.horizon_instance import Instance
from sandbox.horizon_pages import PageQuery
from sandbox.horizon_problems import bad_request, before_history, not_acceptable, not_found
from sandbox.horizon_records import JsonObject, dump, effect_record, ledger_record, transaction_record
from schema.stellar import Asset, Malformed, parse_account_id

HAL = "application/hal+json; charset=utf-8"
FAULT: web.RequestKey[Fault | None] = web.RequestKey("fault", Fault)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Views:
    """The pages of one instance."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._chain = instance.chain

    def routes(self) -> list[web.RouteDef]:
        """Every address that is read here."""
        return [
            web.get("/", self.root),
            web.get("/ledgers", self.ledgers),
            web.get("/ledgers/{sequence}", self.ledger),
            web.get("/ledgers/{sequence}/payments", self.payments),
            web.get("/ledgers/{sequence}/operations", self.operations),
            web.get("/payments", self.payments),
            web.get("/operations", self.operations),
            web.get("/effects", self.effects),
            web.get("/accounts", self.accounts),
            web.get("/assets", self.assets),
            web.get("/accounts/{account_id}", self.account),
            web.get("/accounts/{account_id}/payments", self.payments),
            web.get("/accounts/{account_id}/operations", self.operations),
            web.get("/accounts/{account_id}/effects", self.effects),
            web.get("/transactions/{hash}", self.transaction),
        ]

    async def root(self, request: web.Request) -> web.Response:
        header = self._instance.header_behind(_lag(request))
        return _answer(root_record(self._chain, header, self._instance.base_url))

    async def ledger(self, request: web.Request) -> web.Response:
        sequence = self._sequence(request) or 0
        if sequence < self._chain.history.elder_ledger:
            raise before_history()
        header = self._chain.history.headers.get(sequence)
        if header is None or header.sequence > self._instance.header_behind(_lag(request)).sequence:
            raise not_found()
        return _answer(ledger_record(header, self._instance.base_url))

    async def ledgers(self, request: web.Request) -> web.StreamResponse:
        def fetch(query: PageQuery) -> list[tuple[str, bytes]]:
            headers = self._chain.history.ledgers_page(self._span(request, query)[0])
            base = self._instance.base_url
            return [(str(header.sequence << 32), dump(ledger_record(header, base))) for header in headers]

        return await self._page_or_stream(request, fetch)

    async def payments(self, request: web.Request) -> web.StreamResponse:
        return await self._history(request, Kind.PAYMENTS)

    async def operations(self, request: web.Request) -> web.StreamResponse:
        return await self._history(request, Kind.OPERATIONS)

    async def _history(self, request: web.Request, kind: Kind) -> web.StreamResponse:
        account, sequence = self._account_of_history(request), self._sequence(request)
        if sequence is not None:
            here = self._instance.header_behind(_lag(request)).sequence
            if sequence not in self._chain.history.headers or sequence > here:
                raise not_found()

        def fetch(query: PageQuery) -> list[tuple[str, bytes]]:
            found = replace(self._span(request, query)[0], only_ledger=sequence)
            entries = self._chain.history.page(kind, found, account=account)
            return [
                (str(entry.operation_id), self._instance.operation_bytes(entry, join=query.join)) for entry in entries
            ]

        return await self._page_or_stream(request, fetch)

    async def effects(self, request: web.Request) -> web.StreamResponse:
        account, base = self._account_of_history(request), self._instance.base_url

        def fetch(query: PageQuery) -> list[tuple[str, bytes]]:
            found, number = self._span(request, query)
            effects = self._chain.history.effects_page(found, number=number, account=account)
            return [
                (f"{entry.operation_id}-{each}", dump(effect_record(entry, each, effect, base)))
                for entry, each, effect in effects
            ]

        return await self._page_or_stream(request, fetch)

    async def transaction(self, request: web.Request) -> web.Response:
        wanted = request.match_info["hash"]
        if not _HASH.fullmatch(wanted):
            raise bad_request("tx_id", "invalid hash format")
        found = self._chain.history.transactions.get(wanted)
        if found is None or found.ledger > self._instance.header_behind(_lag(request)).sequence:
            raise not_found()
        return _answer(transaction_record(found, self._instance.base_url))

    async def account(self, request: web.Request) -> web.Response:
        header = self._instance.header_behind(_lag(request))
        account_id = _account_id(request)
        record = self._account_record(account_id, as_of=header.sequence)
        latest = {"Latest-Ledger": str(header.sequence)}
        if record is None:
            problem = not_found()
            problem.headers = latest
            raise problem
        return _answer(record, latest)

    async def accounts(self, request: web.Request) -> web.Response:
        """Who holds an asset; the cursor is an account id."""
        header = self._instance.header_behind(_lag(request))
        query = self._page_query(request, latest_ledger=header.sequence)
        text = request.query.get("asset", "")
        try:
            asset = Asset.parse(text)
        except Malformed:
            raise bad_request("asset", "Assets must be formatted as {code}:{issuer}") from None
        wanted = _after(holder_ids(self._chain, asset, as_of=header.sequence), query)
        records = [self._account_record(each, as_of=header.sequence) for each in wanted]
        return self._state_page(request, wanted, [dump(each) for each in records if each], query, asset=text)

    async def assets(self, request: web.Request) -> web.Response:
        """Every asset with its holders' number, or those of one code or one issuer; the cursor names an asset."""
        header = self._instance.header_behind(_lag(request))
        query = self._page_query(request, latest_ledger=header.sequence)
        asked = {name: request.query[name] for name in ("asset_code", "asset_issuer") if request.query.get(name)}
        code, issuer = asked.get("asset_code"), asked.get("asset_issuer")
        found = {
            asset_token(each): each
            for each in self._chain.state.assets()
            if code in (None, each.code) and issuer in (None, each.issuer)
        }
        wanted = _after(sorted(found), query)
        records = [dump(asset_record(self._chain, found[each], as_of=header.sequence)) for each in wanted]
        return self._state_page(request, wanted, records, query, **asked)

    def _state_page(
        self, request: web.Request, tokens: list[str], records: list[bytes], query: PageQuery, **extra: str
    ) -> web.Response:
        fault = request[FAULT]
        body = horizon_pages.assemble(
            horizon_pages.disorder(records, fault.records if fault else ""),
            query,
            here=f"{self._instance.base_url}{request.path}",
            tokens=(tokens[0], tokens[-1]) if tokens else None,
            extra=extra,
        )
        latest = str(self._instance.header_behind(_lag(request)).sequence)
        return web.Response(body=body, headers={"Content-Type": HAL, "Latest-Ledger": latest})

    def _account_record(self, account_id: str, *, as_of: int) -> JsonObject | None:
        recorded = self._chain.recorded_accounts.get(account_id)
        if recorded is not None:
            return recorded
        account = self._chain.state.account(account_id, as_of=as_of)
        return account_record(account, self._chain, self._instance.base_url) if account else None

    async def _page_or_stream(self, request: web.Request, fetch: horizon_sse.Fetch) -> web.StreamResponse:
        query = self._page_query(request, latest_ledger=self._instance.header_behind(_lag(request)).sequence)
        if "text/event-stream" in request.headers.get("Accept", ""):
            return await horizon_sse.serve(request, self._instance, query, fetch, request[FAULT])
        fault = request[FAULT]
        found = horizon_pages.disorder(fetch(query), fault.records if fault else "")
        body = horizon_pages.assemble(
            [record for _, record in found],
            query,
            here=f"{self._instance.base_url}{request.path}",
            tokens=(found[0][0], found[-1][0]) if found else None,
            extra={"join": "transactions"} if query.join else {},
        )
        return web.Response(body=body, headers={"Content-Type": HAL})

    def _page_query(self, request: web.Request, *, latest_ledger: int) -> PageQuery:
        last_event_id = request.headers.get("Last-Event-ID", "")
        return horizon_pages.parse(request.query, last_event_id=last_event_id, latest_ledger=latest_ledger)

    def _span(self, request: web.Request, query: PageQuery) -> tuple[Span, int]:
        return horizon_pages.span(
            query,
            elder_ledger=self._chain.history.elder_ledger,
            latest_ledger=self._instance.header_behind(_lag(request)).sequence,
        )

    def _account_of_history(self, request: web.Request) -> str | None:
        """404 for an account that nothing of the kept history was about, though it be there."""
        if "account_id" not in request.match_info:
            return None
        account_id = _account_id(request)
        here = self._instance.header_behind(_lag(request)).sequence
        if account_id not in self._chain.recorded_accounts and not self._chain.history.knows(account_id, up_to=here):
            raise not_found()
        return account_id

    def _sequence(self, request: web.Request) -> int | None:
        text = request.match_info.get("sequence")
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,10}", text, re.ASCII) or not 0 < int(text) < 2**31:
            raise bad_request("ledger_id", "Ledger ID must be an integer higher than 0")
        return int(text)


def check_acceptable(request: web.Request) -> None:
    """406 for an answer in anything but JSON, or a stream."""
    accepted = request.headers.get("Accept", "*/*")
    known = ("*/*", "application/*", "application/json", "application/hal+json", "text/event-stream")
    if not any(kind in accepted for kind in known):
        raise not_acceptable()


def _lag(request: web.Request) -> int:
    fault = request[FAULT]
    return fault.lag_ledgers if fault else 0


def _after(tokens: list[str], query: PageQuery) -> list[str]:
    """The page of these sorted tokens that the query asks for."""
    if query.descending:
        return [each for each in reversed(tokens) if not query.cursor or each < query.cursor][: query.limit]
    start = bisect_right(tokens, query.cursor)
    return tokens[start : start + query.limit]


def _answer(record: JsonObject, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=dump(record), headers={"Content-Type": HAL, **(headers or {})})


def _account_id(request: web.Request) -> str:
    try:
        return parse_account_id(request.match_info["account_id"])
    except Malformed:
        raise bad_request("account_id", "Account ID must start with `G` and contain 56 alphanum characters") from None
