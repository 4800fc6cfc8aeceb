"""Two streams at once, one over Horizon and one over Stellar RPC, with the consumer and the executor behind them."""

from decimal import Decimal
from pathlib import Path

import pytest

from sandbox.options import BalanceSource, Options
from sandbox.stage import Stage, set_up
from tests.acceptance.test_sandbox import summary
from tests.waiting import until


async def deposited(stage: Stage, account_id: str) -> Decimal | None:
    """What the wallet's commands have brought in: how many there are of them is for the moment to say."""
    amount: Decimal | None = await stage.pool.fetchval(
        "select sum(deposited_amount) from deposit_commands where account_id = $1", account_id
    )
    return amount


async def held(stage: Stage) -> list[str]:
    rows = await stage.pool.fetch("select public_key from stellar_wallets where held_at is not null order by 1")
    return [row["public_key"] for row in rows]


async def test_a_source_that_lies_about_a_wallet_holds_that_wallet_only(tmp_path: Path) -> None:
    """RPC says one unit more of one wallet than Horizon: a conflict is kept, nothing more is commanded for that wallet,
    and the others are deposited for as ever.
    """
    options = Options(
        folder=tmp_path,
        wallets=3,
        payments_per_s=0,
        ledger_s=0.5,
        seed=4,
        min_deposit="1",
        failure_rate=0,
        source=BalanceSource.BOTH,
    )
    async with set_up(options, lambda _: None) as stage:
        liar, honest, other = sorted(stage.wallets.values())

        async def have_baselines() -> bool:
            missing = "select count(*) from stellar_wallets where previous_usdc_balance is null"
            return bool(await stage.pool.fetchval(missing) == 0)

        async def is_held() -> bool:
            return await held(stage) == [liar]

        await until(have_baselines, "the baselines")
        lie = {"path_prefix": "/rpc/getLedgerEntries", "method": "POST", "times": 100_000, "lies_about": liar}
        await stage.tell_chain("faults", [lie])
        await stage.tell_chain("pay", [{"to": each, "amount": "20"} for each in (liar, honest)])
        await until(is_held, "the wallet is held")

        async def are_deposited() -> bool:
            return await deposited(stage, honest) == 50 and await deposited(stage, other) == 30

        before = await stage.pool.fetchval("select count(*) from deposit_commands where account_id = $1", liar)
        await stage.tell_chain("pay", [{"to": each, "amount": "30"} for each in (liar, honest, other)])
        await until(are_deposited, "the others' deposits")
        after = await stage.pool.fetchval("select count(*) from deposit_commands where account_id = $1", liar)
        assert after == before
        assert await held(stage) == [liar]
        letters = await stage.pool.fetch("select distinct reason, convert_from(key, 'utf8') as key from dead_letters")
        assert [tuple(letter) for letter in letters] == [("conflict", liar)]


@pytest.mark.timeout(300)
async def test_two_streams_that_are_killed_agree(tmp_path: Path) -> None:
    """Streams over both sources, kill -9 amid the payments: every sum is exact, and nothing is in conflict."""
    arguments = ("--seconds", "4", "--payments-per-s", "8", "--source", "both", "--kills", "2", "--seed", "6")
    found = await summary(*arguments, "--failure-rate", "0", folder=tmp_path)
    assert found["kills"] == 2
    assert found["dead_letters"] == 0
    assert found["commands_by_status"]["succeeded"] > 0
