"""A Horizon with a million holders in little memory: `python -m bench.million_horizon --wallets 1000000`.

The sandbox's chain and its Horizon, but for one thing: an account of the crowd is made when somebody touches it, and
until then its record is a template with three places to fill in. The pages of holders are ranges of numbers. A ledger
closes every few seconds, each with a payment between strangers. `/bench/requests` counts what was asked.
"""

import asyncio
import heapq
import re
import resource
import signal
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final, cast
from unittest.mock import patch

import orjson
import typer
from aiohttp import web

from bench.million_people import ABSENT_EVERY, VERSIONS, People
from sandbox import horizon, world
from sandbox.chain import Chain
from sandbox.chain_operations import Payment
from sandbox.chain_state import Account, Trustline
from sandbox.chain_transactions import FUNDING_STROOPS
from sandbox.horizon_accounts import account_record, asset_record
from sandbox.horizon_instance import Instance, Options
from sandbox.horizon_records import dump
from sandbox.horizon_views import Views
from schema.stellar import STROOPS_MAX, STROOPS_PER_UNIT, AccountId, Address, Asset, Stroops, format_stroops

START_LEDGER: Final = 52_000_000
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_ADDRESS: Final = "@ADDRESS@"
_BALANCE_STROOPS: Final = 8_765_432_123_456_789
_VERSION: Final = 2_109_876_543


class Crowd(dict[str, Account]):
    """The chain's accounts: those that were touched, and everyone of the crowd when he is asked for."""

    def __init__(self, people: People, asset: Asset) -> None:
        super().__init__()
        self.people = people
        self._asset = asset

    def get(self, address: str, default: Any = None) -> Any:
        """The account, made up where nobody touched it yet."""
        found = super().get(address)
        if found is not None:
            return found
        number = self.people.number(address) if address[:1] == "G" else None
        if number is None or self.people.is_absent(number):
            return default
        return self._made(
            AccountId(address), self.people.stroops(number), START_LEDGER - self.people.ledgers_ago(number)
        )

    def record_template(self, chain: Chain, base_url: str) -> bytes:
        """The record of any of them, with marks for its address, its balance and its version."""
        account = self._made(AccountId(_ADDRESS), _BALANCE_STROOPS, _VERSION)
        return dump(account_record(account, chain, base_url))

    def _made(self, address: AccountId, stroops: int, version: int) -> Account:
        line = Trustline(
            balance_stroops=stroops, limit_stroops=STROOPS_MAX, authorized=True, last_modified_ledger=version
        )
        return Account(
            address=Address(address),
            native_stroops=FUNDING_STROOPS,
            sequence=START_LEDGER << 32,
            sequence_ledger=START_LEDGER,
            last_modified_ledger=START_LEDGER,
            trustlines={self._asset: line},
            signer=address,
        )


class CrowdViews(Views):
    """The pages, those of holders from the crowd's numbers."""

    def __init__(self, instance: Instance) -> None:
        super().__init__(instance)
        self._crowd = cast("Crowd", self._chain.state.accounts)
        self._template: list[bytes] = []
        self._asked: Counter[str] = Counter()

    def routes(self) -> list[web.RouteDef]:
        """Every address that is read here, and what was asked so far."""
        counted = [
            web.get(each.path, self._counted(each.path, cast("Handler", each.handler))) for each in super().routes()
        ]
        return [*counted, web.get("/sandbox/requests", self._requests)]

    def _counted(self, path: str, handler: Handler) -> Handler:
        async def ask(request: web.Request) -> web.StreamResponse:
            is_stream = "text/event-stream" in request.headers.get("Accept", "")
            self._asked[f"{path} (stream)" if is_stream else path] += 1
            return await handler(request)

        return ask

    async def _requests(self, _request: web.Request) -> web.Response:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        said = {"asked": dict(self._asked), "cpu_s": usage.ru_utime + usage.ru_stime, "peak_rss_kib": usage.ru_maxrss}
        return web.Response(body=orjson.dumps(said), content_type="application/json")

    async def accounts(self, request: web.Request) -> web.Response:
        header = self._chain.latest
        query = self._page_query(request, latest_ledger=header.sequence)
        people, touched = self._crowd.people, self._chain.state.accounts
        first = people.behind(query.cursor)
        crowd = {
            people.account_id(number): number
            for number in range(first, min(people.count, first + query.limit + 2))
            if not people.is_absent(number)
        }
        others = self._chain.state.holders(Asset.parse(request.query["asset"]))
        start = bisect_right(others, query.cursor)
        wanted = list(heapq.merge(crowd, others[start : start + query.limit]))[: query.limit]
        base = self._instance.base_url
        records = [
            dump(account_record(touched[each], self._chain, base))
            if each in touched
            else self._record(crowd[AccountId(each)])
            for each in wanted
        ]
        return self._state_page(request, wanted, records, query, asset=request.query["asset"])

    async def assets(self, request: web.Request) -> web.Response:
        """How many hold the asset: the crowd, too."""
        header = self._chain.latest
        query = self._page_query(request, latest_ledger=header.sequence)
        asset = Asset(request.query["asset_code"], AccountId(request.query["asset_issuer"]))
        record = asset_record(self._chain, asset, as_of=header.sequence)
        people = self._crowd.people
        record["accounts"]["authorized"] += people.count - people.count // ABSENT_EVERY
        return self._state_page(request, ["asset"], [dump(record)], query)

    def _record(self, number: int) -> bytes:
        if not self._template:
            text = self._crowd.record_template(self._chain, self._instance.base_url)
            marks = (_ADDRESS.encode(), format_stroops(_BALANCE_STROOPS).encode(), str(_VERSION).encode())
            self._template = re.split(b"(" + b"|".join(map(re.escape, marks)) + b")", text)
            self._places = [(at, marks.index(part)) for at, part in enumerate(self._template) if part in marks]
        people = self._crowd.people
        values = (
            people.account_id(number).encode(),
            format_stroops(people.stroops(number)).encode(),
            str(START_LEDGER - people.ledgers_ago(number)).encode(),
        )
        parts = self._template.copy()
        for at, which in self._places:
            parts[at] = values[which]
        return b"".join(parts)


def build(count: int) -> tuple[Chain, world.Cast]:
    """The world with so many in the crowd."""
    now = datetime.now(UTC)
    chain, people = world.build(seed=1, wallets=0, started_at=now, start_ledger=START_LEDGER - VERSIONS)
    chain.history.append(chain._header(START_LEDGER, now, (), ()), (), ())  # noqa: SLF001 - nothing happened in between
    crowd = Crowd(People(count), people.asset)
    crowd.update(chain.state.accounts)
    chain.state.accounts = crowd
    return chain, people


def main(
    *,
    wallets: Annotated[int, typer.Option(min=1)] = 20_000,
    ledger_s: Annotated[float, typer.Option(help="Seconds between ledgers.")] = 5.0,
) -> None:
    """Serve; the first line of output is JSON with the URL."""
    asyncio.run(_serve(*build(wallets), ledger_s))


async def _serve(chain: Chain, people: world.Cast, ledger_s: float) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    with patch.object(horizon, "Views", CrowdViews):
        server = horizon.Horizon(chain, people, options=Options(stream_check_s=0))
        async with server:
            strangers = asyncio.create_task(_close(server, ledger_s))
            told = {"url": server.url, "asset": str(people.asset), "ledger": chain.latest.sequence}
            sys.stdout.write(orjson.dumps(told).decode() + "\n")
            sys.stdout.flush()
            await stopped.wait()
            strangers.cancel()


async def _close(server: horizon.Horizon, ledger_s: float) -> None:
    """Ledger after ledger, each with a payment that is nobody's business here."""
    first, second = (payer.account_id for payer in server.people.payers[:2])
    while True:
        await asyncio.sleep(ledger_s)
        asset, unit = server.people.asset, Stroops(STROOPS_PER_UNIT)
        server.chain.enqueue(Payment(source=first, to=second, asset=asset, stroops=unit))
        server.close_ledger()


if __name__ == "__main__":
    typer.run(main)
