"""What a person can ask of the sandbox."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from schema.stellar import AccountId, Asset, Network, Stroops


class BalanceSource(StrEnum):
    """Where the streams read: one of them, or two at once."""

    HORIZON = "horizon"
    RPC = "rpc"
    BOTH = "both"

    @property
    def streams(self) -> dict[str, str]:
        """The streams' names, and what each reads."""
        if self is BalanceSource.BOTH:
            return {"stream": "horizon", "stream-rpc": "rpc"}
        return {"stream": self.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One run. `seconds` None: until Ctrl-C. A URL or bootstrap that is given takes the place of the embedded part."""

    folder: Path
    wallets: int
    payments_per_s: float
    ledger_s: float
    seed: int
    min_deposit: str
    failure_rate: float
    seconds: float | None = None
    payments: int | None = None  # end after so many, instead of after a time
    kills: int = 0  # kill -9 of the producers, the consumer and the executor, at random, so many times in all
    poll: bool = False  # the poller, too
    stream: bool = True  # without it the poller is alone
    excluded_payers: int = 0  # so many of the payers count as excluded sources, beside the vault
    database_url: str | None = None
    kafka: str | None = None
    source: BalanceSource = BalanceSource.HORIZON
    horizon_url: str | None = None
    rpc_url: str | None = None
    accounts: tuple[AccountId, ...] = ()  # with a Horizon or RPC of your own: the wallets to watch
    replay: tuple[Path, ...] = ()  # recorded payment and account records
    network: Network = Network.TESTNET
    asset: Asset | None = None

    @property
    def simulates_chain(self) -> bool:
        return self.horizon_url is None and self.rpc_url is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """A wallet of the run."""

    account_id: AccountId
    baseline_stroops: Stroops
