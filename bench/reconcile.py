"""What a comparison of many wallets takes, without network and database: `python -m bench.reconcile 1000000`.

The rows come from a list that is made as it is read, the states from a source that answers at once: what remains is
what the comparison itself holds and does. Some wallets are touched meanwhile, and read again.
"""

import asyncio
import resource
import sys
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import orjson
import structlog

from producers.parts import Parts
from producers.progress import Steps
from producers.reconcile.differences import Row
from producers.reconcile.proof import Comparison, Pace
from producers.reconcile.report import Report
from producers.reconcile.store import Rows, RowStore
from producers.source import History, Page, State
from schema.stellar import AccountId, Asset, Cursor, Ledger, Network, Stroops
from tests.people import account_id

NEWEST = 60_000_000
USDC = Asset("USDC", account_id("issuer"))


class Source:
    """Answers at once; every state is of ledger NEWEST - 5 and was read at NEWEST."""

    payments_show_every_change = False

    async def history(self) -> History:
        return History(passphrase=Network.TESTNET.passphrase, elder=Ledger(1), latest=Ledger(NEWEST))

    async def states(
        self, account_ids: Collection[AccountId], _asset: Asset, *, known_absent: Collection[AccountId] = ()
    ) -> AsyncIterator[State]:
        for each in account_ids:
            if each not in known_absent:
                yield State(
                    account_id=each,
                    balance_stroops=Stroops(1_000_000_000),
                    authorized=True,
                    version=Ledger(NEWEST - 5),
                    observed=Ledger(NEWEST),
                )

    async def states_requests(self, accounts: int, _asset: Asset) -> int:
        return accounts // 200

    async def payments(self, _cursor: Cursor) -> Page:
        return Page(records=[], cursor=None, full=False)

    changes = payments

    async def ledger_payments(self, _ledger: Ledger, _cursor: Cursor | None) -> Page | None:
        return None


class Database:
    """So many rows, each equal to the chain's but for one in a thousand."""

    def __init__(self, accounts: Sequence[AccountId]) -> None:
        self._accounts = accounts

    async def rows(self, _network: Network) -> AsyncIterator[Rows]:
        for start in range(0, len(self._accounts), 10_000):
            yield [(each, self._row(each)) for each in self._accounts[start : start + 10_000]]

    async def rows_of(self, account_ids: Sequence[AccountId], _network: Network) -> dict[AccountId, Row]:
        return {each: self._row(each) for each in account_ids}

    async def facts_up_to(self, _wanted: Mapping[AccountId, Ledger], _network: Network) -> dict[AccountId, Row]:
        return {}

    def _row(self, account_id: AccountId) -> Row:
        is_behind = account_id[-2:] in ("AA", "BB")
        version = Ledger(NEWEST - 9 if is_behind else NEWEST - 5)
        return Row(version=version, balance_stroops=Stroops(1_000_000_000), authorized=True)


async def main(wallets: int) -> dict[str, Any]:
    """Compare; what it took."""
    accounts = sorted(account_id(str(number)) for number in range(wallets))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    parts = SimpleNamespace(source=Source(), network=Network.TESTNET, asset=USDC)
    comparison = Comparison(
        cast("Parts", parts), cast("RowStore", Database(accounts)), Steps(console=None), Pace(wait_s=0.0)
    )
    began_s = time.process_time()
    await comparison.prove()
    took_s = time.process_time() - began_s
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    report = Report(comparison, None)
    return {
        "wallets": wallets,
        "processor_seconds": round(took_s, 1),
        "bytes_a_wallet": round(grown / wallets),
        "differences": report.differences,
        "sentence": report.sentence(),
    }


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    print(orjson.dumps(asyncio.run(main(int(sys.argv[1])))).decode())
