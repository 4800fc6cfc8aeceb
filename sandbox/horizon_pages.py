"""Pages: their parameters read as Horizon reads them, their bytes put together."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar
from urllib.parse import urlencode

from sandbox.chain_history import EFFECT_NUMBER_MAX, Span
from sandbox.horizon_problems import bad_request, before_history

LIMIT_DEFAULT: Final = 10
LIMIT_MAX: Final = 200
T = TypeVar("T")
_CURSOR = re.compile(r"([0-9]{1,19})(?:-([0-9]{1,19}))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """What a page was asked for. `cursor` is the text as given, `now` resolved."""

    cursor: str
    descending: bool
    limit: int
    join: bool
    include_failed: bool

    @property
    def order(self) -> str:
        return "desc" if self.descending else "asc"


def parse(query: Mapping[str, str], *, last_event_id: str, latest_ledger: int) -> PageQuery:
    """Read the parameters, or the 400 that Horizon gives. `Last-Event-ID` beats the cursor."""
    order = query.get("order", "asc") or "asc"
    if order not in ("asc", "desc"):
        raise bad_request("order", "order: invalid value")
    cursor = last_event_id or query.get("cursor", "")
    if cursor == "now":
        cursor = str((latest_ledger + 1) << 32)
    join = query.get("join", "")
    if join not in ("", "transactions"):
        raise bad_request("join", "Accepted values: transactions")
    return PageQuery(
        cursor=cursor,
        descending=order == "desc",
        limit=_limit(query.get("limit", "")),
        join=bool(join),
        include_failed=query.get("include_failed", "") == "true",
    )


def _limit(text: str) -> int:
    if not text:
        return LIMIT_DEFAULT
    if not re.fullmatch(r"-?[0-9]{1,18}", text, re.ASCII):
        raise bad_request("limit", "unparseable value")
    limit = int(text)
    if limit <= 0:
        raise bad_request("limit", "invalid limit: non-positive value provided")
    if limit > LIMIT_MAX:
        raise bad_request("limit", f"invalid limit: value provided that is over limit max of {LIMIT_MAX}")
    return limit


def span(query: PageQuery, *, elder_ledger: int, latest_ledger: int) -> tuple[Span, int]:
    """The part of history that the query means, and the effect number inside its cursor.

    A cursor before the history is moved up to it when the order is ascending, silently, and is 410 when descending.
    """
    found = Span(
        cursor=None,
        descending=query.descending,
        limit=query.limit,
        latest_ledger=latest_ledger,
        include_failed=query.include_failed,
    )
    if not query.cursor:
        return found, EFFECT_NUMBER_MAX
    match = _CURSOR.fullmatch(query.cursor)
    if match is None or int(match[1]) >= 2**63:
        raise bad_request("cursor", "cursor: invalid value")
    cursor, number = int(match[1]), int(match[2]) if match[2] else EFFECT_NUMBER_MAX
    if cursor <= elder_ledger << 32:
        if query.descending:
            raise before_history()
        return found, EFFECT_NUMBER_MAX
    return replace(found, cursor=cursor), number


def assemble(
    records: Iterable[bytes], query: PageQuery, *, here: str, tokens: tuple[str, str] | None, extra: dict[str, str]
) -> bytes:
    """The page: links to itself, the next and the previous, and the records. `tokens`: of the first and the last."""
    first, last = tokens or (query.cursor, query.cursor)
    inverted = "asc" if query.descending else "desc"

    def link(cursor: str, order: str) -> bytes:
        parameters = {"cursor": cursor, "limit": str(query.limit), "order": order, **extra}
        return f'{{"href":"{here}?{urlencode(sorted(parameters.items()))}"}}'.encode()

    return b"".join(
        (
            b'{"_links":{"self":',
            link(query.cursor, query.order),
            b',"next":',
            link(last, query.order),
            b',"prev":',
            link(first, inverted),
            b'},"_embedded":{"records":[',
            b",".join(records),
            b"]}}",
        )
    )


def disorder(records: list[T], kind: str) -> list[T]:
    """The records as no Horizon gives them: "doubled" has each twice, "twice" the page twice, and so on."""
    disorders: dict[str, Callable[[], list[T]]] = {
        "": lambda: records,
        "doubled": lambda: [record for record in records for _ in range(2)],
        "twice": lambda: records + records,
        "backwards": lambda: records[::-1],
        "last first": lambda: records[-1:] + records[:-1],
        "evens first": lambda: records[::2] + records[1::2],
    }
    return disorders[kind]()
