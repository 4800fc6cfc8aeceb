"""The sandbox's records beside recorded ones: the same keys in the same places, and the same kinds of values."""

from collections.abc import Iterable
from typing import Any

import pytest

from sandbox import horizon_problems, keys
from sandbox.chain_operations import (
    AccountMerge,
    AssetChange,
    ChangeKind,
    ChangeTrust,
    Clawback,
    ContractCall,
    CreateAccount,
    CreateClaimableBalance,
    CrossOffer,
    LiquidityPoolDeposit,
    LiquidityPoolWithdraw,
    Operation,
    PathPayment,
    Payment,
    SetTrustlineFlags,
)
from schema.stellar import STROOPS_MAX, Address, Stroops
from tests import recordings
from tests.integration.horizon_client import UNIT, Client, serving

pytestmark = recordings.needed

ONE = Stroops(UNIT)
NEW = keys.derive(7, "new").account_id


def _operation(client: Client, kind: str) -> Operation:
    people = client.people
    payer, wallet = people.payers[0].account_id, people.wallets[0].account_id
    if kind.startswith("path_payment"):
        return PathPayment(
            source=payer,
            to=wallet,
            strict_send=kind == "path_payment_strict_send",
            sent=people.asset,
            sent_stroops=ONE,
            received=people.asset,
            received_stroops=ONE,
            maker=people.market.account_id,
        )
    change = AssetChange(
        kind=ChangeKind.TRANSFER,
        asset=people.asset,
        source=people.contract,
        to=Address(wallet),
        stroops=ONE,
        destination_muxed_id="123",
    )
    operations: dict[str, Operation] = {
        "payment": Payment(source=payer, to=wallet, asset=people.asset, stroops=ONE),
        "create_account": CreateAccount(source=payer, account=NEW, starting_stroops=Stroops(5 * UNIT)),
        "account_merge": AccountMerge(source=NEW, into=payer),
        "clawback": Clawback(source=people.asset.issuer, account=wallet, asset=people.asset, stroops=ONE),
        "change_trust": ChangeTrust(source=wallet, asset=people.asset, limit_stroops=Stroops(STROOPS_MAX)),
        "invoke_host_function": ContractCall(source=payer, contract=people.contract, changes=(change,)),
        "set_trust_line_flags": SetTrustlineFlags(
            source=people.asset.issuer, trustor=wallet, asset=people.asset, authorized=True
        ),
        "manage_sell_offer": CrossOffer(
            source=people.market.account_id,
            maker=wallet,
            sold=None,
            sold_stroops=ONE,
            bought=people.asset,
            bought_stroops=ONE,
        ),
        "create_claimable_balance": CreateClaimableBalance(
            source=payer, claimant=wallet, asset=people.asset, stroops=ONE
        ),
        "liquidity_pool_withdraw": LiquidityPoolWithdraw(
            source=wallet, asset_a=None, asset_b=people.asset, shares_stroops=ONE
        ),
    }
    return operations[kind]


def _deposit(client: Client) -> LiquidityPoolDeposit:
    wallet = client.people.wallets[0].account_id
    return LiquidityPoolDeposit(
        source=wallet, asset_a=None, asset_b=client.people.asset, a_stroops=ONE, b_stroops=Stroops(4 * UNIT)
    )


def _shape(value: Any) -> Any:
    """What a value is, keys and kinds, with lists by their first element."""
    if isinstance(value, dict):
        return {key: _shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_shape(each) for each in value[:1]]
    return type(value).__name__


def _without(shape: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: each for name, each in shape.items() if name not in set(names)}


@pytest.mark.parametrize(
    ("kind", "recording", "not_compared"),
    [
        ("payment", "payment_4", ()),
        ("path_payment_strict_send", "path_payment_strict_send_1", ("path",)),
        ("path_payment_strict_receive", "path_payment_strict_receive_1", ("path",)),
        ("create_account", "create_account_1", ()),
        ("account_merge", "account_merge_1", ()),
        ("clawback", "clawback_1", ()),
        ("change_trust", "change_trust_1", ()),
        ("invoke_host_function", "invoke_host_function_usdc_from_contract_muxed", ("_links",)),
        ("set_trust_line_flags", "set_trust_line_flags_1", ("clear_flags", "clear_flags_s")),
        ("manage_sell_offer", "manage_sell_offer_1", ()),
        ("create_claimable_balance", "create_claimable_balance_1", ("asset", "claimants", "sponsor")),
        ("liquidity_pool_withdraw", "liquidity_pool_withdraw_1", ("source_account_muxed", "source_account_muxed_id")),
    ],
)
async def test_an_operation_has_the_recorded_shape(kind: str, recording: str, not_compared: tuple[str, ...]) -> None:
    """Each operation's record has exactly the keys of a recorded one, with values of the same kinds."""
    recorded = recordings.load(f"operations/{recording}.json")
    async with serving(holding=100) as client:
        if kind == "account_merge":
            client.chain.open_account(NEW)
        if kind == "liquidity_pool_withdraw":
            client.chain.enqueue(_deposit(client))
            client.horizon.close_ledger()
        client.chain.enqueue(_operation(client, kind))
        client.horizon.close_ledger()
        (record,) = (await client.get("/operations?order=desc&limit=1")).records
    assert record["type"] == kind == recorded["type"]
    assert record["type_i"] == recorded["type_i"]
    assert _without(_shape(record), not_compared) == _without(_shape(recorded), not_compared)


async def test_an_account_has_the_recorded_shape() -> None:
    """An account has the recorded keys; credit lines carry their own last_modified_ledger, the native line none."""
    recorded = recordings.load("accounts/account_3.json")
    async with serving(holding=100) as client:
        client.chain.enqueue(_deposit(client))
        client.horizon.close_ledger()
        account = (await client.get(f"/accounts/{client.people.wallets[0].account_id}")).json
    optional = ("inflation_destination", "home_domain", "balances", "data")
    assert _without(_shape(account), optional) == _without(_shape(recorded), optional)
    lines = {line["asset_type"]: _shape(line) for line in account["balances"]}
    for line in recorded["balances"]:
        if line["asset_type"] in lines:
            assert lines[line["asset_type"]] == _shape(line)
    assert account["balances"][-1]["asset_type"] == "native"


async def test_an_asset_has_the_recorded_shape() -> None:
    """An asset has the recorded keys, whole numbers of holders and amounts as text, and is found by code and issuer."""
    recorded = recordings.load("assets/asset_1.json")
    async with serving(wallets=4, holding=100) as client:
        asset = client.people.asset
        answer = await client.get(f"/assets?asset_code={asset.code}&asset_issuer={asset.issuer}")
        both = await client.get(f"/assets?asset_code={asset.code}")
    (record,) = answer.records
    assert _without(_shape(record), ("contract_id",)) == _without(_shape(recorded), ("contract_id",))
    assert record["accounts"]["authorized"] == 4 + len(client.people.payers) + 2
    assert len(both.records) == 2
    assert answer.headers["Latest-Ledger"] == str(client.chain.latest.sequence)


async def test_effects_have_the_recorded_shapes() -> None:
    """Credits, trades, new trustlines, new accounts, changed flags, what lies in pools and claimable balances: all have
    the keys of recorded effects.
    """
    async with serving(holding=100) as client:
        people = client.people
        wallet = people.wallets[0].account_id
        client.chain.enqueue(Payment(source=people.payers[0].account_id, to=wallet, asset=None, stroops=ONE))
        client.chain.enqueue(_operation(client, "manage_sell_offer"))
        client.chain.enqueue(_operation(client, "create_account"))
        client.horizon.close_ledger()
        client.chain.enqueue(ChangeTrust(source=NEW, asset=people.asset, limit_stroops=ONE))
        client.chain.enqueue(_deposit(client))
        client.chain.enqueue(_operation(client, "liquidity_pool_withdraw"))
        client.chain.enqueue(_operation(client, "create_claimable_balance"))
        client.chain.enqueue(_operation(client, "set_trust_line_flags"))
        client.horizon.close_ledger()
        effects = {effect["type"]: effect for effect in (await client.get("/effects?limit=200")).records}
    for kind, recording in (
        ("account_credited", "account_credited_1"),
        ("trustline_created", "trustline_created_2"),
        ("account_created", "account_created_1"),
    ):
        recorded = recordings.load(f"effects/{recording}.json")
        assert _shape(effects[kind]) == _shape(recorded)
        assert effects[kind]["type_i"] == recorded["type_i"]
    muxed = ("account_muxed", "account_muxed_id", "authorized_to_maintain_liabilites_flag", "clawback_enabled_flag")
    for kind, recording in (
        ("liquidity_pool_withdrew", "liquidity_pool_withdrew_1"),
        ("claimable_balance_created", "claimable_balance_created_1"),
        ("trustline_flags_updated", "trustline_flags_updated_1"),
    ):
        recorded = recordings.load(f"effects/{recording}.json")
        assert _without(_shape(effects[kind]), muxed) == _without(_shape(recorded), muxed)
        assert effects[kind]["type_i"] == recorded["type_i"]
    trade = recordings.load("effects/trade_2.json")
    code_and_issuer = ("bought_asset_code", "bought_asset_issuer", "sold_asset_code", "sold_asset_issuer")
    assert _without(_shape(effects["trade"]), code_and_issuer) == _without(_shape(trade), code_and_issuer)
    assert effects["account_credited"]["id"].split("-")[0] == effects["account_credited"]["paging_token"].split("-")[
        0
    ].zfill(19)


async def test_root_ledger_transaction_and_page_have_the_recorded_shapes() -> None:
    """The root, a ledger, a transaction and a page have the keys that clients of the real one read."""
    async with serving() as client:
        client.pay()
        client.horizon.close_ledger()
        root = (await client.get("/")).json
        page = (await client.get("/payments?limit=1")).json
        ledgers = (await client.get("/ledgers?order=desc&limit=1")).json
        digest = page["_embedded"]["records"][0]["transaction_hash"]
        transaction = (await client.get(f"/transactions/{digest}")).json
        (joined,) = (await client.get("/payments?join=transactions")).records
    recorded_root = recordings.load("root/root_1.json")
    assert _without(_shape(root), ("_links",)) == _without(_shape(recorded_root), ("_links",))
    recorded_page = recordings.load("operation_page/operation_page_8.json")
    assert _shape(page) == _shape(recorded_page)
    recorded_ledger = recordings.load("ledger_page/ledger_page_1.json")["_embedded"]["records"][1]
    assert _shape(recorded_ledger).keys() - _shape(ledgers["_embedded"]["records"][0]).keys() == {"transaction_count"}
    recorded_transaction = recordings.load("transactions/transaction_4.json")
    missing = _shape(recorded_transaction).keys() - _shape(transaction).keys()
    assert missing == {"memo", "memo_bytes", "valid_after", "valid_before"}  # there only with a memo, or bounds
    assert joined["transaction"] == transaction


async def test_every_recorded_payment_passes_through_unchanged() -> None:
    """Recorded payments and accounts come out of the pages as they went in, in the order of their ids."""
    raw = recordings.payments()
    assert len(raw) >= 5
    first = int(raw[0]["paging_token"]) >> 32
    account, receiver = recordings.load("accounts/account_3.json"), recordings.load("operations/payment_4.json")["to"]
    async with serving(start_ledger=first - 10) as client:
        answer = await client.post("/sandbox/replay", {"payments": raw, "accounts": [account]})
        for ledger in answer["ledgers"]:
            assert client.horizon.close_ledger().sequence == ledger
        assert (await client.get("/payments?limit=200")).records == raw
        again = await client.get(f"/accounts/{account['account_id']}")
        assert again.json == account
        assert again.headers["Latest-Ledger"] == str(client.chain.latest.sequence)
        own = await client.get(f"/accounts/{receiver}/payments")
        assert own.records == [each for each in raw if each.get("to") == receiver]


@pytest.mark.parametrize(
    ("problem", "recording"),
    [
        (horizon_problems.not_found(), "404_2"),
        (horizon_problems.not_acceptable(), "406_not_acceptable_from_source"),
        (horizon_problems.before_history(), "410_1"),
        (horizon_problems.rate_limit_exceeded(retry_after_s=1), "429_rate_limit_exceeded_from_source"),
        (
            horizon_problems.stale_history(history_latest=63_800_061, core_latest=63_800_110),
            "503_stale_history_with_extras_from_source",
        ),
        (horizon_problems.still_ingesting(), "503_still_ingesting_from_source"),
    ],
)
def test_problems_are_in_the_recorded_words(problem: horizon_problems.Problem, recording: str) -> None:
    """Each error says what the recorded one says; `instance` is a single server's name."""
    recorded = recordings.load(f"errors/{recording}.json")
    recorded.pop("instance", None)
    assert problem.document == recorded
