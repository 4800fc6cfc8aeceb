"""The options of `python -m sandbox`, each with its help."""

from pathlib import Path
from typing import Annotated

import typer

from sandbox.options import BalanceSource
from schema.stellar import Network as NetworkName

Seconds = Annotated[
    float | None, typer.Option(help="Traffic for so long, then rest and the summary. Default: until Ctrl-C.")
]
Payments = Annotated[int | None, typer.Option(help="End after so many payments instead.")]
Wallets = Annotated[int, typer.Option(min=0, max=10000, help="Wallets on the simulated chain.")]
PaymentsPerS = Annotated[float, typer.Option(min=0, help="Pace of the traffic.")]
LedgerS = Annotated[float, typer.Option(min=0.05, help="Seconds from ledger to ledger; the real network takes 5.6.")]
Seed = Annotated[int, typer.Option(help="Decides every key, payment and failure.")]
Kills = Annotated[int, typer.Option(min=0, help="kill -9 of producers, consumer and executor at random, so often.")]
Poll = Annotated[bool, typer.Option("--poll", help="Run the poller too, every second: it races with the stream.")]
NoStream = Annotated[bool, typer.Option("--no-stream", help="With --poll: no stream, the poller alone.")]
ExcludedPayers = Annotated[
    int, typer.Option(min=0, max=20, help="So many of the 20 payers are excluded sources too, as refunds are.")
]
MinDeposit = Annotated[str, typer.Option(help="The policy's minimum.")]
FailureRate = Annotated[float, typer.Option(min=0, max=1, help="Share of commands that the executor fails.")]
Database = Annotated[str | None, typer.Option(help="My PostgreSQL (URL) instead of the embedded one; it is migrated.")]
Kafka = Annotated[str | None, typer.Option(help="My Kafka (host:port) instead of the embedded one.")]
Horizon = Annotated[
    str | None,
    typer.Option(help="My Horizon (URL) instead of the simulated chain; needs --account.", envvar="HORIZON_URL"),
]
Rpc = Annotated[
    str | None,
    typer.Option(help="My Stellar RPC (URL) instead of the simulated chain; needs --account.", envvar="RPC_URL"),
]
Source = Annotated[BalanceSource, typer.Option(help="What the stream reads; both: two streams, which must agree.")]
Account = Annotated[
    list[str] | None, typer.Option(help="With --horizon or --rpc: a wallet to watch (G...); may be repeated.")
]
Network = Annotated[NetworkName, typer.Option(help="The network that --horizon, --rpc or --replay is about.")]
Asset = Annotated[str | None, typer.Option(help="CODE:ISSUER; default: USDC, Circle's or the simulation's own.")]
Replay = Annotated[
    list[Path] | None, typer.Option(exists=True, help="File or folder of recorded Horizon records to replay first.")
]
Json = Annotated[bool, typer.Option("--json", help="Only the summary, as JSON, on standard output.")]
Folder = Annotated[
    Path | None,
    typer.Option(file_okay=False, help="Where logs and the executor's memory go. Default: a temporary one."),
]
