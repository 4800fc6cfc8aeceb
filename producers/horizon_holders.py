"""What many accounts hold, by the fewest requests: one by one, or by the pages of everyone who holds the asset.

The pages are in the order of the addresses, and a page can begin anywhere. So the accounts are sorted, and what is
asked next is a page that begins at the first account not seen yet, or that account alone when no other one is to be
expected on its page: addresses are random, and Horizon says how many holders there are. Each request tells of at least
one account, so pages never cost more than single reads do.

A page is of one ledger, which it names; the walk spans several. Each state is true of its own page's ledger, whichever
replica gave it. Who is not shown may hold nothing, or may have opened the trustline behind the page: he is read alone,
for a balance of 0 is never concluded from what is missing.
"""

import asyncio
import math
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from producers import horizon_wire
from producers.clock import wait_about
from producers.horizon_http import HorizonHttp
from producers.source import PAGE_RECORDS_MAX, State, Unavailable
from schema.stellar import AccountId, Asset, Ledger, Malformed

log = structlog.get_logger(__name__)

FEW: Final = 8  # so many are read one by one without asking how many holders there are
READS_AT_ONCE: Final = 16
WALKS_AT_ONCE: Final = 4  # pages are heavy: some 200 kB each
FAILURES_MAX: Final = 8  # of single reads: one account that cannot be read does not end the reading, these do
PAGE_ASKED_MAX: Final = 4
PAGE_AGAIN_S: Final = 0.2
SMALL_PAGE_RECORDS: Final = 20  # where a whole page cannot be had: too slow or too large
HOLDERS_FRESH_S: Final = 600.0
_DIGIT: Final = str.maketrans("234567ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789abcdefghijklmnopqrstuv")  # int()'s own
_DIGITS: Final = 8  # of an address: enough to tell 2**35 places apart

ReadOne = Callable[[AccountId, Asset], Awaitable[State]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What one request brought, and what is left to do after it."""

    states: Sequence[State] = ()
    then: "Sequence[_Work]" = ()
    failed: Unavailable | None = None


_Work = Callable[[], Coroutine[Any, Any, _Found]]


@dataclass(slots=True, kw_only=True)
class _Walk:
    """Pages that are to show these accounts, in order; those before `at` were dealt with."""

    wanted: Sequence[AccountId]
    at: int = 0
    limit: int = PAGE_RECORDS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class _HolderPage:
    """One page, checked: in order, behind where it was to begin, and no newer than its ledger."""

    passed: Sequence[AccountId]  # the wanted ones up to its end: who is not in `states` is not shown
    states: Mapping[AccountId, State]


class HorizonHolders:
    """Reads the states of many accounts."""

    def __init__(self, http: HorizonHttp, read_one: ReadOne) -> None:
        self._http = http
        self._read_one = read_one
        self._walking = asyncio.Semaphore(WALKS_AT_ONCE)
        self._counted: dict[Asset, tuple[int, float]] = {}  # holders, and when they were counted

    async def requests(self, accounts: int, asset: Asset) -> int:
        """About how many requests it takes to read so many accounts, most of which hold the asset."""
        if accounts <= FEW:
            return accounts
        on_one_page = PAGE_RECORDS_MAX * accounts / max(await self._holders(asset), accounts)
        return 1 + math.ceil(accounts / (1 + on_one_page))

    async def states(
        self, account_ids: Collection[AccountId], asset: Asset, known_absent: Collection[AccountId]
    ) -> AsyncIterator[State]:
        """See Source.states."""
        wanted = sorted(set(account_ids))
        holders = 0 if len(wanted) <= FEW else await self._holders(asset)
        alone, walks = plan(wanted, holders=holders) if holders else (wanted, [])
        absent = frozenset(known_absent)
        works = deque(self._walk(_Walk(wanted=each), asset, absent) for each in walks)
        singles = (self._single(each, asset) for each in alone)
        running: set[asyncio.Task[_Found]] = set()
        failures: list[Unavailable] = []
        try:
            while len(failures) < FAILURES_MAX:
                while len(running) < READS_AT_ONCE and (work := works.popleft() if works else next(singles, None)):
                    running.add(asyncio.create_task(work()))
                if not running:
                    break
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for found in [task.result() for task in done]:
                    works.extendleft(found.then)
                    failures += [found.failed] if found.failed else []
                    for state in found.states:
                        yield state
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        if failures:
            raise failures[0]

    def _single(self, account_id: AccountId, asset: Asset) -> _Work:
        async def read() -> _Found:
            try:
                return _Found(states=[await self._read_one(account_id, asset)])
            except Unavailable as unavailable:
                return _Found(failed=unavailable)
            except Malformed as malformed:
                log.warning("a wallet's state makes no sense", account_id=account_id, reason=str(malformed)[:300])
                return _Found()

        return read

    def _walk(self, walk: _Walk, asset: Asset, known_absent: frozenset[AccountId]) -> _Work:
        async def read() -> _Found:
            if walk.at + 1 == len(walk.wanted):
                return _Found(then=[self._single(walk.wanted[walk.at], asset)])
            try:
                async with self._walking:
                    page = await self._page(walk, asset)
            except Unavailable as unavailable:
                return self._smaller(walk, asset, known_absent, unavailable)
            walk.at += len(page.passed)
            missing = [each for each in page.passed if each not in page.states and each not in known_absent]
            then = [self._single(each, asset) for each in missing]
            if walk.at < len(walk.wanted):
                then.append(self._walk(walk, asset, known_absent))
            return _Found(states=list(page.states.values()), then=then)

        return read

    def _smaller(
        self, walk: _Walk, asset: Asset, known_absent: frozenset[AccountId], unavailable: Unavailable
    ) -> _Found:
        """The same again with smaller pages. When those cannot be had either, it is a failure like many."""
        if walk.limit == SMALL_PAGE_RECORDS:
            return _Found(failed=unavailable)
        log.warning("holders are read by smaller pages", reason=str(unavailable)[:300])
        walk.limit = SMALL_PAGE_RECORDS
        return _Found(then=[self._walk(walk, asset, known_absent)])

    async def _page(self, walk: _Walk, asset: Asset) -> _HolderPage:
        """The page that begins with the first wanted account; one that makes no sense is asked for again."""
        after = walk.wanted[walk.at][:-1]  # whatever lies between has another last character: no valid checksum
        parameters = {"asset": str(asset), "cursor": after, "order": "asc", "limit": str(walk.limit)}
        for attempt in range(1, PAGE_ASKED_MAX + 1):
            answer = await self._http.get("/accounts", parameters, is_state=True, in_bulk=True)
            assert answer.observed is not None
            try:
                return _read_page(answer.body, walk, asset, after=after, observed=answer.observed)
            except Malformed as malformed:
                if attempt == PAGE_ASKED_MAX:
                    raise Unavailable(f"/accounts?asset={asset}&cursor={after}: {malformed}") from malformed
            await wait_about(PAGE_AGAIN_S)
        raise AssertionError("the last attempt returns or raises")

    async def _holders(self, asset: Asset) -> int:
        """How many hold the asset; as many as there can be on one page when Horizon cannot say."""
        counted = self._counted.get(asset)
        now_s = asyncio.get_running_loop().time()
        if counted is not None and now_s - counted[1] < HOLDERS_FRESH_S:
            return counted[0]
        try:
            answer = await self._http.get("/assets", {"asset_code": asset.code, "asset_issuer": asset.issuer})
            holders = horizon_wire.holders(answer.body, asset)
        except (Unavailable, Malformed) as error:
            log.warning("how many hold the asset is not known", reason=str(error)[:300])
            return PAGE_RECORDS_MAX
        self._counted[asset] = (max(1, holders), now_s)
        return max(1, holders)


def plan(wanted: Sequence[AccountId], *, holders: int) -> tuple[list[AccountId], list[list[AccountId]]]:
    """Who of these sorted accounts is read alone, and the walks through pages for the others: who is nearer to the one
    before than a page reaches is on a walk with it. Long walks are cut, so that several go on at once.
    """
    reach = PAGE_RECORDS_MAX / holders
    chains: list[list[AccountId]] = []
    before = -math.inf
    for account_id in wanted:
        here = place(account_id)
        if here - before < reach:
            chains[-1].append(account_id)
        else:
            chains.append([account_id])
        before = here
    longest = max(PAGE_RECORDS_MAX, math.ceil(len(wanted) / WALKS_AT_ONCE))
    walks = [
        chain[start : start + longest] for chain in chains if len(chain) > 1 for start in range(0, len(chain), longest)
    ]
    return [chain[0] for chain in chains if len(chain) == 1], walks


def place(account_id: AccountId) -> float:
    """Where among all addresses it stands, from 0 to 1. The first character is always G, the second one of A to D."""
    rank = int(account_id[2 : 2 + _DIGITS].translate(_DIGIT), 32)
    return ("ABCD".index(account_id[1]) + rank / 32**_DIGITS) / 4


def _read_page(body: Any, walk: _Walk, asset: Asset, *, after: str, observed: Ledger) -> _HolderPage:
    records = horizon_wire.page(body).records
    last = after
    accounts: list[tuple[str, Any]] = []
    for number, record in enumerate(records):
        account_id = record.get("account_id") if isinstance(record, dict) else None
        if not isinstance(account_id, str) or account_id < last:
            raise Malformed(account_id, expected=f"an address behind {last}", field=f"records[{number}].account_id")
        last = account_id
        accounts.append((last, record))
    end = bisect_right(walk.wanted, last, walk.at) if records else len(walk.wanted)
    passed = walk.wanted[walk.at : end]
    if not passed:
        raise Malformed(last, expected=f"{walk.wanted[walk.at]} or an address behind it", field="the page's last")
    of_interest = frozenset(passed)
    states: dict[AccountId, State] = {}
    for address, record in accounts:
        account_id = AccountId(address)
        if account_id not in of_interest:
            continue
        try:
            state = horizon_wire.state(record, account_id, asset, observed)
        except Malformed:
            continue  # read alone, it is said what is wrong with it
        if state.version > observed:
            raise Malformed(state.version, expected=f"at most Latest-Ledger {observed}", field=account_id)
        if not state.is_absence:
            states[account_id] = state
    return _HolderPage(passed=passed, states=states)
