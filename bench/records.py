"""How many records of the history a stream takes in a second: `python -m bench.records [--wallets 1000000]`.

From a page's bytes, as they come from Horizon, to the movements of followed wallets, in the stream's own way: parsed,
checked for order, each record read, what is ours collected. By the time of one core, and in turns, so that other work
falls on all alike:
  ceiling   orjson.loads of the same bytes, nothing else
  pages     the page found in it, no record looked at
  wanted    20,000 records a second
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, cast

import orjson
import typer

from bench import wallet_rows
from bench.record_pages import FIRST_LEDGER, RECORDS, Pages
from producers import horizon_wire
from producers.history import Position, Reading
from producers.metrics import Metrics
from producers.source import Source
from producers.wallets import Wallets
from schema.stellar import Asset, Cursor, Ledger, Network

WANTED: Final = 20_000
USDC: Final = Asset.parse("USDC:GA5ZSEJYB37JRC5AVCIA5MOP4RHTM335X2KGX3IHOJAPP5RE34K4KZVN")


def main(
    *,
    wallets: Annotated[int, typer.Option(min=1)] = 1_000_000,
    pages: Annotated[int, typer.Option(min=1, help=f"Of {RECORDS} records each.")] = 250,
    rounds: Annotated[int, typer.Option(min=1, help="The medians of this many are shown.")] = 5,
) -> None:
    """Measure the ceiling and the stream's way."""
    keys = [key for _, key in wallet_rows.people(wallets)]
    maker = Pages(USDC, keys)
    bodies = [maker.page() for _ in range(pages)]
    found: dict[str, list[float]] = {"ceiling": [], "pages": [], "stream": []}
    for _ in range(rounds):
        found["ceiling"].append(_rate(bodies, orjson.loads))
        found["pages"].append(_rate(bodies, lambda body: horizon_wire.page(horizon_wire.parse(body))))
        reading, metrics = _reading(keys)
        found["stream"].append(_rate(bodies, lambda body: reading._take(horizon_wire.page(horizon_wire.parse(body)))))  # noqa: B023, SLF001
    assert not reading.refused
    taken = metrics.movements._value.get()  # noqa: SLF001
    size = sum(map(len, bodies)) / pages / RECORDS
    print(f"{pages * RECORDS:,} records of {size:,.0f} bytes, {wallets:,} wallets, {taken:,.0f} movements of theirs;")
    print(f"medians of {rounds}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    rate = {name: statistics.median(rates) for name, rates in found.items()}
    for name, rates in found.items():
        share = f"{rate['stream'] / rate[name]:.2f} times it"
        print(f"{name:8} {rate[name]:>10,.0f} records/s, {min(rates):,.0f} to {max(rates):,.0f}; the stream is {share}")
    print(f"wanted   {WANTED:>10,.0f} records/s; the stream is {rate['stream'] / WANTED:.2f} times it")


def _rate(bodies: Sequence[bytes], take: Callable[[bytes], Any]) -> float:
    began = time.process_time()
    for body in bodies:
        take(body)
    return len(bodies) * RECORDS / (time.process_time() - began)


def _reading(keys: Sequence[str]) -> tuple[Reading, Metrics]:
    wallets, metrics = Wallets(), Metrics()
    reading = Reading(
        cast("Source", None),
        wallets,
        network=Network.MAINNET,
        asset=USDC,
        position=Position(cursor=Cursor("1"), ledger=Ledger(FIRST_LEDGER - 1)),
        metrics=metrics,
        clock=lambda: datetime.now(UTC),
    )
    wallets.begin_reload()
    wallets.see([(key, Ledger(FIRST_LEDGER - 1)) for key in keys], now_s=0)
    wallets.end_reload()
    return reading, metrics


if __name__ == "__main__":
    typer.run(main)
