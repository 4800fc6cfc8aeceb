"""One Horizon instance: the chain behind it, its options, and the bell that rings when a ledger has closed."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sandbox.chain import Chain
from sandbox.chain_history import Entry, LedgerHeader
from sandbox.horizon_faults import Faults, RequestBudget
from sandbox.horizon_records import dump, operation_record

RENDERED_MAX: Final = 50_000  # records kept as bytes: about 60 MB
CLOSES_MAX: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How this instance behaves. The defaults are the real one's."""

    stream_s: float = 55.0
    stream_check_s: float = 5.0  # how often streams look for a new ledger; 0: at once
    submit_timeout_s: float = 30.0
    requests_per_hour: int = 0
    burst: int = 100
    rpc_classic_events: bool = True  # EMIT_CLASSIC_EVENTS of its core; without it only contract calls have events
    rpc_limit: int = 0  # of one answer of Stellar RPC, where its provider allows fewer; 0: the usual one


class Bell:
    """Wakes everyone who waits, each time it rings."""

    def __init__(self) -> None:
        self._next: asyncio.Future[None] | None = None

    def ring(self) -> None:
        if self._next is not None and not self._next.done():
            self._next.set_result(None)
        self._next = None

    async def wait(self, *, timeout_s: float) -> bool:
        """Whether it rang in time."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait((self._next,), timeout=max(0.0, timeout_s))
        return bool(done)


def now() -> datetime:
    """The time of this machine, in UTC."""
    return datetime.now(UTC)


class Instance:
    """The chain as one Horizon shows it. Close ledgers through it, so that streams and submissions hear of them."""

    def __init__(self, chain: Chain, options: Options, *, clock: Callable[[], datetime] = now) -> None:
        self.chain = chain
        self.options = options
        self.base_url = ""
        self.faults = Faults()
        self.budget = RequestBudget(
            requests_per_hour=options.requests_per_hour, burst=options.burst, clock_s=time.monotonic
        )
        self.closed = Bell()
        self.stream_ledger = chain.latest.sequence  # the newest that streams have been told of
        self._streams_wake = Bell()
        self.closed_at: dict[int, datetime] = {}  # to the microsecond, which the chain itself does not keep
        self._clock = clock
        self._rendered: dict[int, bytes] = {}

    def close_ledger(self) -> LedgerHeader:
        """Close the next ledger now."""
        at = self._clock()
        header = self.chain.close_ledger(at)
        self.closed_at[header.sequence] = self._clock()
        while len(self.closed_at) > CLOSES_MAX:
            del self.closed_at[next(iter(self.closed_at))]
        self.closed.ring()
        if self.options.stream_check_s == 0:
            self._tell_streams()
        return header

    async def next_ledger(self, seen: int, *, timeout_s: float) -> int:
        """The newest ledger once it is newer than `seen`; TimeoutError when none came."""
        ends_at = time.monotonic() + timeout_s
        while self.stream_ledger <= seen:
            if not await self._streams_wake.wait(timeout_s=ends_at - time.monotonic()):
                raise TimeoutError
        return self.stream_ledger

    def _tell_streams(self) -> None:
        self.stream_ledger = self.chain.latest.sequence
        self._streams_wake.ring()

    def header_behind(self, lag_ledgers: int) -> LedgerHeader:
        """The ledger at which a replica stands that is so many ledgers behind."""
        return self.chain.history.header_up_to(self.chain.latest.sequence - lag_ledgers)

    def operation_bytes(self, entry: Entry, *, join: bool) -> bytes:
        """An operation's record as bytes; those without the transaction in them are kept."""
        if join:
            return dump(operation_record(entry, self.base_url, join=True))
        found = self._rendered.get(entry.operation_id)
        if found is None:
            found = dump(operation_record(entry, self.base_url))
            if len(self._rendered) >= RENDERED_MAX:
                self._rendered.clear()
            self._rendered[entry.operation_id] = found
        return found

    async def look_for_ledgers(self) -> None:
        """Wake the streams for a new ledger, as often as the options say."""
        if self.options.stream_check_s == 0:
            return
        while True:
            await asyncio.sleep(self.options.stream_check_s)
            if self.chain.latest.sequence != self.stream_ledger:
                self._tell_streams()
