"""The chain's state: who holds what now. A transaction works on a draft, which is taken over whole or not at all."""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from sandbox.chain_operations import Refused
from sandbox.chain_outcomes import Posting
from sandbox.chain_pools import Pool, PoolShares
from schema.stellar import STROOPS_MAX, AccountId, Address, Asset, Stroops

BASE_RESERVE_STROOPS: Final = 5_000_000  # 0.5 XLM for the account twice over and for each trustline
LEDGERS_READABLE_MAX: Final = 64  # how far back a replica that lags can be made to stand


@dataclass(frozen=True, slots=True, kw_only=True)
class Trustline:
    """What an account holds of one asset, and may."""

    balance_stroops: int
    limit_stroops: int
    authorized: bool
    last_modified_ledger: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whoever holds something: an account (`G...`), a contract (`C...`), a claimable balance (`B...`)."""

    address: Address
    native_stroops: int
    sequence: int
    sequence_ledger: int
    last_modified_ledger: int
    trustlines: Mapping[Asset, Trustline]
    signer: AccountId
    pool_shares: Mapping[str, PoolShares] = field(default_factory=dict)

    @property
    def reserve_stroops(self) -> int:
        return BASE_RESERVE_STROOPS * (2 + len(self.trustlines)) if self.address[0] == "G" else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimable:
    """What lies in a claimable balance, and for whom."""

    claimant: AccountId
    asset: Asset | None
    stroops: Stroops


class State:
    """Accounts by address, as of one ledger; what they were in the ledgers just before can still be asked."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.claimables: dict[str, Claimable] = {}
        self.pools: dict[str, Pool] = {}
        self.issued: dict[Asset, int] = {}
        self.fee_pool_stroops = 0
        self.native_stroops = 0
        self._holders: dict[Asset, list[str]] = {}
        self._before: deque[tuple[int, dict[str, Account | None]]] = deque(maxlen=LEDGERS_READABLE_MAX)

    def begin_ledger(self, ledger: int) -> None:
        """From here on changes belong to this ledger."""
        self._before.append((ledger, {}))

    def account(self, address: str, *, as_of: int | None = None) -> Account | None:
        """The account, or None; `as_of` an earlier ledger, at most LEDGERS_READABLE_MAX ago."""
        if as_of is not None:
            for ledger, before in self._before:
                if ledger > as_of and address in before:
                    return before[address]
        return self.accounts.get(address)

    def holders(self, asset: Asset, *, as_of: int | None = None) -> list[str]:
        """The accounts with a trustline of this asset, in the order of their addresses; `as_of` as in `account`."""
        now = self._holders.get(asset, [])
        changed = {
            address for ledger, before in self._before if as_of is not None and ledger > as_of for address in before
        }
        if not changed:
            return now
        then = {each: self.account(each, as_of=as_of) for each in changed if each[0] == "G"}
        held = {address for address, account in then.items() if account and asset in account.trustlines}
        return sorted((set(now) - changed) | held)

    def assets(self) -> list[Asset]:
        """Every asset that an account ever had a trustline of, in the order of Horizon's pages."""
        return sorted(self._holders, key=lambda asset: (asset.code, asset.issuer))

    def take_over(self, draft: "Draft") -> None:
        """Make a draft's changes the state."""
        for address, account in draft.accounts.items():
            self._replace(address, account)
        for balance_id, claimable in draft.claimables.items():
            if claimable is None:
                self.claimables.pop(balance_id, None)
            else:
                self.claimables[balance_id] = claimable
        self.pools |= draft.pools
        for asset, stroops in draft.issued.items():
            self.issued[asset] = self.issued.get(asset, 0) + stroops

    def _replace(self, address: str, account: Account | None) -> None:
        old = self.accounts.get(address)
        if self._before:
            self._before[-1][1].setdefault(address, old)
        if account is None:
            self.accounts.pop(address, None)
        else:
            self.accounts[address] = account
        if address[0] != "G":
            return
        before = old.trustlines.keys() if old else frozenset[Asset]()
        after = account.trustlines.keys() if account else frozenset[Asset]()
        if before != after:
            for asset in after - before:
                insort(self._holders.setdefault(asset, []), address)
            for asset in before - after:
                holders = self._holders[asset]
                del holders[bisect_left(holders, address)]

    def sums(self) -> dict[Asset | None, tuple[int, int]]:
        """Per asset: stroops issued, and stroops held by everyone together. They are equal, or the chain is wrong."""
        held: dict[Asset | None, int] = {None: self.fee_pool_stroops}
        for account in self.accounts.values():
            held[None] += account.native_stroops
            for asset, line in account.trustlines.items():
                held[asset] = held.get(asset, 0) + line.balance_stroops
        issued: dict[Asset | None, int] = {None: self.native_stroops}
        issued |= dict(self.issued.items())
        return {asset: (issued.get(asset, 0), held.get(asset, 0)) for asset in issued.keys() | held.keys()}


class Draft:
    """The changes of one transaction, on top of the state."""

    def __init__(self, state: State, *, ledger: int) -> None:
        self.ledger = ledger
        self.accounts: dict[str, Account | None] = {}
        self.claimables: dict[str, Claimable | None] = {}
        self.pools: dict[str, Pool] = {}
        self.issued: dict[Asset, int] = {}
        self._state = state

    def account(self, address: str) -> Account | None:
        if address in self.accounts:
            return self.accounts[address]
        return self._state.accounts.get(address)

    def claimable(self, balance_id: str) -> Claimable | None:
        if balance_id in self.claimables:
            return self.claimables[balance_id]
        return self._state.claimables.get(balance_id)

    def oldest_claimable(self, claimant: str) -> str:
        """The id of the first one that waits for this account; empty when there is none."""
        waiting = {**self._state.claimables, **self.claimables}
        return next((each for each, found in waiting.items() if found and found.claimant == claimant), "")

    def pool(self, pool_id: str) -> Pool | None:
        return self.pools.get(pool_id) or self._state.pools.get(pool_id)

    def put(self, account: Account) -> None:
        self.accounts[account.address] = account

    def post(self, posting: Posting) -> None:
        """Carry out one posting; Refused when the chain would not."""
        asset, stroops = posting.asset, posting.stroops
        if asset is not None and Address(asset.issuer) == posting.address:
            self.issued[asset] = self.issued.get(asset, 0) - stroops  # the issuer's side is the supply itself
            return
        account = self.account(posting.address)
        if account is None:
            if posting.address[0] == "G":
                raise Refused("op_no_destination" if stroops > 0 else "op_underfunded")
            account = self.open(posting.address)
        if asset is None:
            self._post_native(account, stroops)
        else:
            self._post_asset(account, asset, stroops)

    def open(self, address: str, *, signer: str | None = None) -> Account:
        """A new, empty account."""
        account = Account(
            address=Address(address),
            native_stroops=0,
            sequence=self.ledger << 32,
            sequence_ledger=self.ledger,
            last_modified_ledger=self.ledger,
            trustlines={},
            signer=AccountId(signer or address),
        )
        self.put(account)
        return account

    def set_trustline(self, account: Account, asset: Asset, line: Trustline | None) -> None:
        """Replace one trustline; the account's own modification does not change with its balance."""
        lines = {**account.trustlines}
        if line is None:
            del lines[asset]
        else:
            lines[asset] = line
        self.put(replace(account, trustlines=lines))

    def _post_native(self, account: Account, stroops: int) -> None:
        after = account.native_stroops + stroops
        if stroops < 0 and after < account.reserve_stroops:
            raise Refused("op_underfunded")
        self.put(replace(account, native_stroops=after, last_modified_ledger=self.ledger))

    def _post_asset(self, account: Account, asset: Asset, stroops: int) -> None:
        line = account.trustlines.get(asset)
        if line is None:
            if account.address[0] == "G":
                raise Refused("op_no_trust" if stroops > 0 else "op_src_no_trust")
            line = Trustline(balance_stroops=0, limit_stroops=STROOPS_MAX, authorized=True, last_modified_ledger=0)
        if not line.authorized:
            raise Refused("op_not_authorized" if stroops > 0 else "op_src_not_authorized")
        after = line.balance_stroops + stroops
        if after < 0:
            raise Refused("op_underfunded")
        if after > line.limit_stroops:
            raise Refused("op_line_full")
        self.set_trustline(account, asset, replace(line, balance_stroops=after, last_modified_ledger=self.ledger))
