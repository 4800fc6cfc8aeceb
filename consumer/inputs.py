"""What a decision is about: a fact, a result, or a wait that is over, each with its own time."""

from dataclasses import dataclass
from datetime import datetime

from schema.balance_event import BalanceEvent
from schema.deposit_result import DepositResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A balance event. `at` is when it is decided on: never before it was observed."""

    event: BalanceEvent
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The executor's word on a command of this wallet."""

    result: DepositResult
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The wallet's wait is over: a retry, a new day's cap, a look whether it is still paused."""

    at: datetime


Input = Fact | Result | Due
