"""Every row of the table "which changes of a trustline show where", from the chain to the snapshot.

Real processes: the simulated chain's Horizon, the stream, the consumer. No poller runs and nobody asks for a read, so
what is not a payment can only have been seen by its effects.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import pytest

from sandbox import ledger_evidence, rest, stage
from sandbox.options import Options
from sandbox.stage import Stage
from schema.balance_event import BalanceEvent
from schema.service.settings import KafkaSettings
from schema.stellar import AccountId
from tests.waiting import until

LEDGER_S: Final = 0.25
LEDGERS_MAX: Final = 2  # "within a ledger or two"

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One change: the transactions that make it, each in a ledger of its own, and what the wallet holds afterwards.
    The wallet holds 5 before; 8 and less is never deposited.
    """

    transactions: tuple[tuple[Fields, ...], ...]
    balance: str
    movements: int  # how many payments the fact lists
    authorized: bool = True


WALLET, OTHER, MARKET, ISSUER, VAULT, CONTRACT, ASSET = (
    *("{wallet}", "{payer}", "{market}", "{issuer}", "{vault}", "{contract}", "{asset}"),
)
TWO: Final = "2.0000000"


def pay(source: str = OTHER, to: str = WALLET, amount: str = TWO) -> Fields:
    return {"operation": "Payment", "source": source, "to": to, "asset": ASSET, "stroops": amount}


def path(*, source: str, to: str, sent: str, received: str, maker: str = MARKET) -> Fields:
    amounts = {"sent_stroops": TWO, "received_stroops": TWO}
    sides = {"source": source, "to": to, "maker": maker, "sent": sent, "received": received}
    return {"operation": "PathPayment", "strict_send": False, **sides, **amounts}


def offer(source: str, maker: str, *, sold: str, bought: str) -> Fields:
    amounts = {"sold_stroops": TWO, "bought_stroops": TWO}
    return {"operation": "CrossOffer", "source": source, "maker": maker, "sold": sold, "bought": bought, **amounts}


def aside(source: str, claimant: str) -> Fields:
    fields = {"source": source, "claimant": claimant, "asset": ASSET, "stroops": TWO}
    return {"operation": "CreateClaimableBalance", **fields}


def pool(kind: str, **amounts: str) -> Fields:
    return {"operation": f"LiquidityPool{kind}", "source": WALLET, "asset_a": "native", "asset_b": ASSET, **amounts}


def call(kind: str, source: str | None, to: str | None) -> Fields:
    change = {"kind": kind, "asset": ASSET, "source": source, "to": to, "stroops": TWO}
    return {"operation": "ContractCall", "source": OTHER, "contract": CONTRACT, "changes": [change]}


def trust(limit: str) -> Fields:
    return {"operation": "ChangeTrust", "source": WALLET, "asset": ASSET, "limit_stroops": limit}


def allow(*, authorized: bool) -> Fields:
    fields = {"source": ISSUER, "trustor": WALLET, "asset": ASSET, "authorized": authorized}
    return {"operation": "SetTrustlineFlags", **fields}


DEPOSIT: Final = pool("Deposit", a_stroops=TWO, b_stroops=TWO)
CLAIM: Final = {"operation": "ClaimClaimableBalance", "source": WALLET}
CLAWBACK: Final = {"operation": "Clawback", "source": ISSUER, "account": WALLET, "asset": ASSET, "stroops": TWO}
ROWS: Final[Mapping[str, Row]] = {
    "payment received": Row(transactions=((pay(),),), balance="7", movements=1),
    "payment sent": Row(transactions=((pay(WALLET, OTHER),),), balance="3", movements=1),
    "path payment received": Row(
        transactions=((path(source=OTHER, to=WALLET, sent="native", received=ASSET),),), balance="7", movements=1
    ),
    "path payment sent": Row(
        transactions=((path(source=WALLET, to=OTHER, sent=ASSET, received="native"),),), balance="3", movements=1
    ),
    "offer crossed by a path payment": Row(
        transactions=((path(source=OTHER, to=MARKET, sent="native", received=ASSET, maker=WALLET),),),
        balance="3",
        movements=0,
    ),
    "offer crossed by an offer": Row(
        transactions=((offer(MARKET, WALLET, sold=ASSET, bought="native"),),), balance="7", movements=0
    ),
    "own offer crosses another": Row(
        transactions=((offer(WALLET, MARKET, sold=ASSET, bought="native"),),), balance="3", movements=0
    ),
    "claimable balance created": Row(transactions=((aside(WALLET, OTHER),),), balance="3", movements=0),
    "claimable balance claimed": Row(transactions=((aside(OTHER, WALLET),), (CLAIM,)), balance="7", movements=0),
    "classic clawback": Row(transactions=((CLAWBACK,),), balance="3", movements=0),
    "pool deposit": Row(transactions=((DEPOSIT,),), balance="3", movements=0),
    "pool withdraw": Row(transactions=((DEPOSIT,), (pool("Withdraw", shares_stroops=TWO),)), balance="5", movements=0),
    "contract transfer": Row(transactions=((call("transfer", CONTRACT, WALLET),),), balance="7", movements=1),
    "contract mint": Row(transactions=((call("mint", None, WALLET),),), balance="7", movements=1),
    "contract burn": Row(transactions=((call("burn", WALLET, None),),), balance="3", movements=1),
    "contract clawback": Row(transactions=((call("clawback", WALLET, None),),), balance="3", movements=1),
    "authorization taken": Row(transactions=((allow(authorized=False),),), balance="5", movements=0, authorized=False),
    "authorization given": Row(
        transactions=((allow(authorized=False),), (allow(authorized=True),)), balance="5", movements=0
    ),
    "trustline removed": Row(
        transactions=((pay(WALLET, OTHER, "5.0000000"), trust("0")),), balance="0", movements=1, authorized=False
    ),
    "trustline created": Row(
        transactions=((pay(WALLET, OTHER, "5.0000000"), trust("0")), (trust("100.0000000"),)),
        balance="0",
        movements=0,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What became of a row's last change."""

    changed_in: int
    snapshots: Sequence[Mapping[str, Any]]
    facts: Sequence[BalanceEvent]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """All rows happen in one world, each to a wallet of its own."""
    options = Options(
        folder=tmp_path_factory.mktemp("changes"),
        wallets=len(ROWS),
        payments_per_s=0.0,
        ledger_s=LEDGER_S,
        seed=5,
        min_deposit="10",
        failure_rate=0.0,
    )
    return asyncio.run(_tell(options))


async def _tell(options: Options) -> dict[str, Seen]:
    async with stage.set_up(options, lambda _: None) as world:
        people = await world.ask_chain("world")
        accounts = dict(zip(ROWS, world.wallets.values(), strict=True))
        await until(lambda: rest.has_baselines(world), "baselines")
        await world.tell_chain("pay", [{"to": each, "amount": "5.0000000"} for each in accounts.values()])
        await _until_stored(world, accounts.values())
        for step in range(max(len(row.transactions) for row in ROWS.values())):
            for name, row in ROWS.items():
                if step < len(row.transactions):
                    await _send(world, row.transactions[step], {**people, "wallet": accounts[name]})
            await _until_stored(world, accounts.values())
        epoch = await ledger_evidence.read_epoch(KafkaSettings(kafka_bootstrap_servers=world.bootstrap_servers))
        return {name: await _seen(world, account, epoch.events) for name, account in accounts.items()}


async def _send(world: Stage, operations: Sequence[Fields], people: Mapping[str, Any]) -> None:
    """The operations with everybody's address in its place; a payer's account pays the fee."""
    text = orjson.dumps(operations).decode()
    for role in ("wallet", "market", "issuer", "vault", "contract", "asset"):
        text = text.replace(f"{{{role}}}", str(people[role]))
    text = text.replace("{payer}", people["payers"][0])
    await world.tell_chain("transactions", {"operations": orjson.loads(text), "source": people["payers"][1]})


async def _until_stored(world: Stage, accounts: Any) -> None:
    """Until what was sent is in a ledger, and the database holds the chain's state."""
    sent_in = (await _history(world, next(iter(accounts))))["ledger"] + 1

    async def is_stored() -> bool:
        if (await _history(world, next(iter(accounts))))["ledger"] < sent_in:
            return False
        rows = await world.pool.fetch("select public_key, previous_usdc_balance, balance_ledger from stellar_wallets")
        for row in rows:
            held = await _history(world, row["public_key"])
            if f"{row['previous_usdc_balance'] or 0:.7f}" != (held["balance"] or "0.0000000"):
                return False
            if (held["last_modified_ledger"] or 0) > (row["balance_ledger"] or 0):
                return False
        return True

    await until(is_stored, "the chain's state in the database")


async def _history(world: Stage, account_id: str) -> Any:
    return await world.ask_chain(f"accounts/{account_id}/history?asset={world.asset}")


async def _seen(world: Stage, account_id: AccountId, events: Sequence[BalanceEvent]) -> Seen:
    """The last change's ledger is the newest operation's that has an effect on the wallet."""
    async with world.http.get(f"{world.horizon_url}/accounts/{account_id}/effects?order=desc&limit=1") as answer:
        (effect,) = orjson.loads(await answer.read())["_embedded"]["records"]
    changed_in = int(effect["paging_token"].split("-")[0]) >> 32
    flags = await _flags_ledger(world, account_id)
    snapshots = await world.pool.fetch(
        "select s.* from balance_snapshots s join stellar_wallets w on w.id = s.wallet_id"
        " where w.public_key = $1 order by s.ledger",
        account_id,
    )
    facts = [event for event in events if event.account_id == account_id]
    return Seen(changed_in=max(changed_in, flags), snapshots=[dict(row) for row in snapshots], facts=facts)


async def _flags_ledger(world: Stage, account_id: AccountId) -> int:
    """When the issuer last changed the wallet's authorization: such an effect is listed under the issuer."""
    async with world.http.get(f"{world.horizon_url}/effects?order=desc&limit=200") as answer:
        records = orjson.loads(await answer.read())["_embedded"]["records"]
    found = [int(each["paging_token"].split("-")[0]) >> 32 for each in records if each.get("trustor") == account_id]
    return max(found, default=0)


@pytest.mark.parametrize("name", ROWS)
def test_a_change_becomes_a_snapshot_within_a_ledger_or_two(seen: dict[str, Seen], name: str) -> None:
    """The change is told as what was seen to happen, by a fact read at most two ledgers later, which lists the payments
    there were; the snapshot holds the balance after it.
    """
    row, found = ROWS[name], seen[name]
    fact = next(each for each in found.facts if each.ledger >= found.changed_in)
    assert fact.observed_ledger - found.changed_in <= LEDGERS_MAX
    assert fact.balance_stroops == int(row.balance) * 10_000_000
    assert fact.authorized is row.authorized
    assert fact.snapshot_type.value == "webhook"
    snapshot = next(each for each in found.snapshots if each["event_id"] == fact.event_id)
    assert snapshot["usdc_balance"] == int(row.balance)
    assert snapshot["authorized"] is row.authorized
    assert snapshot["snapshot_type"] == "webhook"
    assert (snapshot["transaction_hash"] is not None) is bool(row.movements)
