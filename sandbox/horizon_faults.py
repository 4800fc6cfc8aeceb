"""What can go wrong on the way to Horizon, made to go wrong on purpose: for tests."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class Fault:
    """One kind of trouble for the next `times` requests that match, after letting `skip` of them through; with `every`
    only for each so-manieth of them, as for one replica of several; with `only` for a "page" or a "stream" alone.

    `status` answers so instead (with `body` and `headers`; an unknown outcome is `after_effect`, which does the work
    first). `delay_s` waits before. `cut_after_bytes` breaks the connection inside the body, whose length was told
    before, or was not: `chunked`. `byte_s` lets the body drip. `lag_ledgers` answers as a replica that is behind.
    `records` puts a page's records in disorder: see `horizon_pages.disorder`. `stream_error` ends a stream with an
    `event: error` at the next ledger, `stream` makes it say "close" at once, or nothing but "hello", once ("mute") or
    for ever ("greet"). Of Stellar RPC (`/rpc/<method>`), `lies_about` one account: it holds one unit more than it does.
    """

    path_prefix: str = "/"
    method: str = "GET"
    times: int = 1
    skip: int = 0
    every: int = 1
    only: str = ""
    status: int = 0
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut_after_bytes: int | None = None
    chunked: bool = False
    byte_s: float = 0.0
    lag_ledgers: int = 0
    records: str = ""
    stream_error: str = ""
    stream: str = ""
    after_effect: bool = False
    lies_about: str = ""
    asked: int = 0  # how many requests matched so far, whether it struck them or not

    @classmethod
    def parse(cls, fields: dict[str, Any]) -> "Fault":
        """From JSON, with the body as text."""
        return cls(**{**fields, "body": str(fields.get("body", "")).encode()})


class Faults:
    """The faults that wait for their requests, first come first served."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._waiting.append(fault)

    def clear(self) -> None:
        self._waiting.clear()

    def take(self, method: str, path: str, *, is_stream: bool = False) -> Fault | None:
        """The fault that this request runs into, if any."""
        kind = "stream" if is_stream else "page"
        for fault in self._waiting:
            if method != fault.method or not path.startswith(fault.path_prefix) or fault.only not in ("", kind):
                continue
            fault.asked += 1
            if fault.skip:
                fault.skip -= 1
                return None
            if fault.asked % fault.every:
                continue
            fault.times -= 1
            if fault.times <= 0:
                self._waiting.remove(fault)
            return fault
        return None


@dataclass(slots=True, kw_only=True)
class RequestBudget:
    """Horizon's rate limit: so many requests an hour, a burst of them at once. 0 an hour is no limit."""

    requests_per_hour: int
    burst: int
    clock_s: Callable[[], float]
    _tokens: float = field(init=False)
    _at_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._tokens = float(self.burst)
        self._at_s = self.clock_s()

    def take(self) -> int:
        """Spend one request; 0 when it was granted, else the seconds until one will be."""
        if self.requests_per_hour == 0:
            return 0
        now_s = self.clock_s()
        per_s = self.requests_per_hour / 3600
        self._tokens = min(float(self.burst), self._tokens + (now_s - self._at_s) * per_s)
        self._at_s = now_s
        if self._tokens < 1:
            return max(1, math.ceil((1 - self._tokens) / per_s))
        self._tokens -= 1
        return 0

    def headers(self) -> dict[str, str]:
        """The `X-RateLimit-*` headers as they stand."""
        if self.requests_per_hour == 0:
            return {}
        missing_s = (self.burst - self._tokens) / (self.requests_per_hour / 3600)
        return {
            "X-RateLimit-Limit": str(self.burst),
            "X-RateLimit-Remaining": str(int(self._tokens)),
            "X-RateLimit-Reset": str(math.ceil(missing_s)),
        }
