"""What can go wrong on the way to Horizon, made to go wrong on purpose: for tests."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class Fault:
    """One kind of trouble for the next `times` requests that match, after letting `skip` of them through.

    `status` answers so instead (with `body` and `headers`; an unknown outcome is `after_effect`, which does the work
    first). `delay_s` waits before. `cut_after_bytes` breaks the connection inside the body. `lag_ledgers` answers as a
    replica that is behind. `stream_error` ends a stream with an `event: error` at the next ledger.
    """

    path_prefix: str = "/"
    method: str = "GET"
    times: int = 1
    skip: int = 0
    status: int = 0
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut_after_bytes: int | None = None
    lag_ledgers: int = 0
    stream_error: str = ""
    after_effect: bool = False

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

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that this request runs into, if any."""
        for fault in self._waiting:
            if method != fault.method or not path.startswith(fault.path_prefix):
                continue
            if fault.skip:
                fault.skip -= 1
                return None
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
