"""`python -m sandbox.horizon`: the simulated chain and its Horizon in a process of their own."""

import asyncio
import contextlib
import gc
import signal
import sys
from datetime import UTC, datetime
from typing import Annotated

import orjson
import typer

from sandbox import world
from sandbox.chain_transactions import START_LEDGER
from sandbox.horizon import Horizon
from sandbox.horizon_instance import Options
from sandbox.traffic import Traffic
from schema.stellar import Asset, Network, parse_stroops

FREEZE_EVERY_S = 5.0


def run(  # noqa: PLR0913 - one argument per option
    *,
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 0,
    seed: Annotated[int, typer.Option(help="Decides every key, hash and payment.")] = 1,
    wallets: Annotated[int, typer.Option(help="How many wallets there are.")] = 10,
    wallet_balance: Annotated[str, typer.Option(help="What each wallet holds at first.")] = "0",
    network: Annotated[Network, typer.Option(help="What it says it is.")] = Network.TESTNET,
    asset: Annotated[str, typer.Option(help="CODE:ISSUER; empty: USDC of an issuer of its own.")] = "",
    start_ledger: Annotated[int, typer.Option(help="The first ledger.")] = START_LEDGER,
    ledger_s: Annotated[float, typer.Option(help="Seconds between ledgers; 0: only when told to.")] = 1.0,
    payments_per_s: Annotated[float, typer.Option(help="The traffic's pace.")] = 0.0,
    stream_check_s: Annotated[float, typer.Option(help="How often streams look for a new ledger; 0: at once.")] = 0.0,
    stream_s: Annotated[float, typer.Option(help="How long a stream lasts.")] = 55.0,
    submit_timeout_s: Annotated[float, typer.Option(help="How long a submission waits for its ledger.")] = 30.0,
    requests_per_hour: Annotated[int, typer.Option(help="The rate limit; 0: none.")] = 0,
    burst: Annotated[int, typer.Option(help="Requests that may come at once.")] = 100,
) -> None:
    """Serve a simulated chain as Horizon does; the first line of output is JSON with its URL."""
    chain, people = world.build(
        seed=seed,
        wallets=wallets,
        started_at=datetime.now(UTC),
        network=network,
        start_ledger=start_ledger,
        asset=Asset.parse(asset) if asset else None,
        wallet_stroops=parse_stroops(wallet_balance),
    )
    options = Options(
        stream_s=stream_s,
        stream_check_s=stream_check_s,
        submit_timeout_s=submit_timeout_s,
        requests_per_hour=requests_per_hour,
        burst=burst,
    )
    traffic = Traffic(people, seed=seed, payments_per_s=payments_per_s)
    horizon = Horizon(chain, people, options=options, traffic=traffic, host=host, port=port)
    asyncio.run(_serve(horizon, ledger_s))


async def _serve(horizon: Horizon, ledger_s: float) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with horizon:
        if ledger_s > 0:
            horizon.close_every(ledger_s)
        told = {
            "url": horizon.url,
            "network": str(horizon.chain.network),
            "asset": str(horizon.people.asset),
            "vault": horizon.people.vault.account_id,
            "ledger": horizon.chain.latest.sequence,
        }
        sys.stdout.write(orjson.dumps(told).decode() + "\n")
        sys.stdout.flush()
        while not stopped.is_set():
            gc.freeze()  # history only grows: going through a million records of it again takes over a second
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), FREEZE_EVERY_S)


def main() -> None:
    """Read the command line and serve."""
    typer.run(run)
