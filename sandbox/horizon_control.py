"""`/sandbox/...`: what the orchestrator and the tests of other processes do to the chain, and ask it."""

import dataclasses
from collections.abc import Iterable
from typing import Any, get_args

import orjson
from aiohttp import web

from sandbox import chain_operations, keys, world
from sandbox.chain_effects import asset_text
from sandbox.chain_operations import AssetChange, ChangeKind, Operation, Payment
from sandbox.horizon_faults import Fault
from sandbox.horizon_instance import Instance
from sandbox.keys import Key
from sandbox.traffic import Traffic
from sandbox.world import Cast
from schema.stellar import AccountId, Asset, format_stroops, parse_stroops

JsonObject = dict[str, Any]


class Control:
    """The other side of the simulation. No fault and no limit touches it."""

    def __init__(self, instance: Instance, people: Cast, traffic: Traffic) -> None:
        self._instance = instance
        self._chain = instance.chain
        self._people = people
        self._traffic = traffic
        self._wallets: list[Key] = list(people.wallets)

    def routes(self) -> list[web.RouteDef]:
        """Every address under /sandbox/."""
        return [
            web.get("/sandbox/world", self.world),
            web.get("/sandbox/sums", self.sums),
            web.get("/sandbox/ledgers", self.ledgers),
            web.get("/sandbox/accounts/{account_id}/history", self.account_history),
            web.post("/sandbox/pay", self.pay),
            web.post("/sandbox/transactions", self.transactions),
            web.post("/sandbox/close", self.close),
            web.post("/sandbox/wallets", self.open_wallets),
            web.post("/sandbox/traffic", self.set_traffic),
            web.post("/sandbox/faults", self.add_faults),
            web.delete("/sandbox/faults", self.clear_faults),
            web.post("/sandbox/replay", self.replay),
            web.post("/sandbox/trim", self.trim),
        ]

    async def world(self, _request: web.Request) -> web.Response:
        """Who is who, with the wallets' seeds."""
        people = self._people
        return _answer(
            {
                "network": str(self._chain.network),
                "seed": self._chain.seed,
                "asset": str(people.asset),
                "counterfeit": str(people.counterfeit),
                "issuer": people.issuer.account_id,
                "vault": people.vault.account_id,
                "market": people.market.account_id,
                "contract": people.contract,
                "payers": [payer.account_id for payer in people.payers],
                "wallets": _with_seeds(self._wallets),
            }
        )

    async def sums(self, _request: web.Request) -> web.Response:
        """Per asset what was issued and what everyone holds, and whether the two agree."""
        sums = self._chain.state.sums()
        answer: JsonObject = {
            asset_text(asset): {"issued": format_stroops(issued), "held": format_stroops(held)}
            for asset, (issued, held) in sums.items()
        }
        return _answer({"exact": all(issued == held for issued, held in sums.values()), "assets": answer})

    async def ledgers(self, request: web.Request) -> web.Response:
        """When each ledger after `after` closed, to the microsecond."""
        after = int(request.query.get("after", "0"))
        closed = self._instance.closed_at.items()
        return _answer({str(ledger): at.isoformat() for ledger, at in closed if ledger > after})

    async def account_history(self, request: web.Request) -> web.Response:
        """What the account holds of an asset, and every change of it in the history that is kept, oldest first."""
        account_id = request.match_info["account_id"]
        asset = _asset(request.query.get("asset", str(self._people.asset)))
        account = self._chain.state.account(account_id)
        line = account.trustlines.get(asset) if account and asset else None
        changes = [
            {
                "ledger": change.entry.transaction.ledger,
                "operation_id": str(change.entry.operation_id),
                "transaction_hash": change.entry.transaction.hash,
                "operation": type(change.entry.operation).__name__,
                "source": chain_operations.source_of(change.entry.operation),
                "closed_at": change.entry.transaction.closed_at_text,
                "amount": format_stroops(change.posting.stroops),
            }
            for change in self._chain.changes_of(account_id)
            if change.posting.asset == asset
        ]
        return _answer(
            {
                "balance": format_stroops(line.balance_stroops) if line else None,
                "last_modified_ledger": line.last_modified_ledger if line else None,
                "ledger": self._chain.latest.sequence,
                "changes": changes[::-1],
            }
        )

    async def pay(self, request: web.Request) -> web.Response:
        """`{"to", "amount"}`, or a list of them: payments of the asset by payers, in the next ledger."""
        body = await _body(request)
        payments = body if isinstance(body, list) else [body]
        for number, payment in enumerate(payments):
            source = payment.get("source") or self._people.payers[number % len(self._people.payers)].account_id
            asset = _asset(payment.get("asset", str(self._people.asset)))
            stroops = parse_stroops(payment["amount"])
            self._chain.enqueue(
                Payment(source=AccountId(source), to=AccountId(payment["to"]), asset=asset, stroops=stroops)
            )
        return _answer({"enqueued": len(payments)})

    async def transactions(self, request: web.Request) -> web.Response:
        """`{"operations": [{"operation": "CrossOffer", ...}], "source"}`: one transaction of any operations."""
        body = await _body(request)
        operations = [parse_operation(fields) for fields in body["operations"]]
        self._chain.enqueue(*operations, source=body.get("source"))
        return _answer({"enqueued": len(operations)})

    async def close(self, _request: web.Request) -> web.Response:
        """Close the next ledger now."""
        header = self._instance.close_ledger()
        return _answer({"ledger": header.sequence, "closed_at": header.closed_at_text, "operations": header.operations})

    async def open_wallets(self, request: web.Request) -> web.Response:
        """`{"count", "balance"}` or `{"accounts": [...]}`: more wallets. A given account gets a signer from here."""
        body = await _body(request)
        stroops = parse_stroops(body.get("balance", "0"))
        opened = []
        given = body.get("accounts")
        for account_id in given or [None] * body["count"]:
            key = keys.derive(self._chain.seed, "wallet", len(self._wallets))
            world.open_wallet(
                self._chain, self._people, account_id or key.account_id, stroops=stroops, signer=key.account_id
            )
            opened.append(Key(account_id or key.account_id, key.secret))
            self._wallets.append(opened[-1])
        return _answer({"wallets": _with_seeds(opened)})

    async def set_traffic(self, request: web.Request) -> web.Response:
        """`{"payments_per_s"}`; 0 stops it. The answer says how many were told of so far."""
        self._traffic.payments_per_s = float((await _body(request))["payments_per_s"])
        return _answer({"payments_per_s": self._traffic.payments_per_s, "told": self._traffic.told})

    async def add_faults(self, request: web.Request) -> web.Response:
        """A list of faults (see Fault)."""
        for fields in await _body(request):
            self._instance.faults.add(Fault.parse(fields))
        return _answer({})

    async def clear_faults(self, _request: web.Request) -> web.Response:
        """Nothing goes wrong any more."""
        self._instance.faults.clear()
        return _answer({})

    async def replay(self, request: web.Request) -> web.Response:
        """`{"payments": [...], "accounts": [...]}`: recorded records. Each close brings the payments of one ledger."""
        body = await _body(request)
        for raw in body.get("accounts", ()):
            self._chain.recorded_accounts[raw["account_id"]] = raw
        payments = sorted(body.get("payments", ()), key=lambda raw: int(raw["paging_token"]))
        return _answer({"ledgers": sorted({self._chain.replay(raw) for raw in payments})})

    async def trim(self, request: web.Request) -> web.Response:
        """`{"before_ledger"}`: forget the history before it."""
        self._chain.history.trim(before_ledger=(await _body(request))["before_ledger"])
        return _answer({"history_elder_ledger": self._chain.history.elder_ledger})


def parse_operation(fields: JsonObject) -> Operation:
    """An operation from JSON: its class's name, its fields; assets as CODE:ISSUER or native, stroops as amounts."""
    kinds = {kind.__name__: kind for kind in get_args(Operation)}
    kind = kinds[fields["operation"]]
    operation: Operation = kind(**_values(kind, fields))
    return operation


def _values(kind: type, fields: JsonObject) -> JsonObject:
    values: JsonObject = {}
    for each in dataclasses.fields(kind):
        if each.name not in fields:
            continue
        value = fields[each.name]
        if each.name.endswith("stroops"):
            value = parse_stroops(value)
        elif each.type in (Asset, Asset | None):
            value = _asset(value)
        elif each.name == "changes":
            value = tuple(AssetChange(**_values(AssetChange, change)) for change in value)
        elif each.type is ChangeKind:
            value = ChangeKind(value)
        values[each.name] = value
    return values


def _asset(text: str | None) -> Asset | None:
    return None if text in (None, "native") else Asset.parse(str(text))


def _with_seeds(wallets: Iterable[Key]) -> list[JsonObject]:
    return [{"account_id": key.account_id, "secret": key.secret} for key in wallets]


async def _body(request: web.Request) -> Any:
    return orjson.loads(await request.read())


def _answer(answer: JsonObject) -> web.Response:
    return web.Response(body=orjson.dumps(answer), content_type="application/json")
