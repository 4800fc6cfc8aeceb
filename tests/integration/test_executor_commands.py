"""What the executor does with a command: one deposit and a result, or a failure that is certain and says why."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox import keys
from sandbox.chain_operations import ChangeTrust, Payment, SetTrustlineFlags
from sandbox.executor_store import Acceptance, FolderInUse, Store
from sandbox.horizon_faults import Fault
from schema import deposit_command, deposit_result
from schema.deposit_result import DepositResult, ResultStatus
from schema.stellar import Address, Network, Stroops
from tests.integration.executor_world import UNIT, Surroundings, ledgers_later, surroundings, until


def _code(result: DepositResult) -> str:
    assert result.status is ResultStatus.FAILED
    assert result.error is not None
    assert result.amount_stroops == 0
    return result.error.code


async def test_a_command_becomes_a_deposit_and_its_result(tmp_path: Path) -> None:
    """The vault receives what was commanded; the result names the transaction, its ledger and when that closed."""
    async with surroundings(tmp_path) as around:
        command = around.command(units=40, reserve_stroops=Stroops(60 * UNIT))
        result = await around.carry_out(command)
        assert around.deposits() == [40 * UNIT]
        assert result.status is ResultStatus.SUCCEEDED
        assert result.amount_stroops == 40 * UNIT
        header = around.horizon.chain.history.headers[result.ledger or 0]
        assert result.completed_at == header.closed_at
        assert result.transaction_hash in around.horizon.chain.history.transactions
        assert around.published == [(command.account_id, deposit_result.encode(result))]
        with Store(tmp_path) as store:
            assert store.get(command.command_id).reported
            assert store.unreported() == []


async def test_a_seen_command_is_answered_from_memory(tmp_path: Path) -> None:
    """The same command again, by a later executor, moves nothing and repeats the same bytes."""
    async with surroundings(tmp_path) as around:
        command = around.command()
        for _ in range(3):
            await around.carry_out(command)
        assert around.deposits() == [10 * UNIT]
        assert len(around.published) == 3
        assert len(set(around.published)) == 1


async def test_another_content_under_a_seen_id_is_refused(tmp_path: Path) -> None:
    """An id stands for one content: anything else under it is not carried out."""
    async with surroundings(tmp_path) as around:
        command = around.command()
        await around.carry_out(command)
        other = replace(command, amount_stroops=Stroops(20 * UNIT))
        with Store(tmp_path) as store:
            content = deposit_command.encode(other)
            acceptance = store.accept(other.command_id, other.account_id, content)
            assert acceptance is Acceptance.CONTRADICTION
            assert store.get(command.command_id).content == deposit_command.encode(command)
        assert around.deposits() == [10 * UNIT]


def _refused(around: Surroundings, code: str) -> dict[str, Any]:
    people = around.horizon.people
    cases: dict[str, dict[str, Any]] = {
        "insufficient_balance": {"reserve_stroops": Stroops(90 * UNIT + 1)},
        "expired": {"expires_at": around.clock() - timedelta(seconds=5)},
        "unknown_wallet": {"account_id": people.payers[0].account_id},
        "account_not_found": {"account_id": keys.derive(7, "stranger").account_id},
        "wrong_network": {"network": Network.MAINNET},
        "wrong_asset": {"asset": people.counterfeit},
        "no_vault": {"vault_address": None},
        "nothing_to_deposit": {"amount_stroops": Stroops(0)},
        "op_no_trust": {"vault_address": people.counterfeiter.account_id},
    }
    return cases[code]


@pytest.mark.parametrize(
    "code",
    [
        "insufficient_balance",
        "expired",
        "unknown_wallet",
        "account_not_found",
        "wrong_network",
        "wrong_asset",
        "no_vault",
        "nothing_to_deposit",
        "op_no_trust",
    ],
)
async def test_a_command_that_cannot_be_carried_out_fails_and_says_why(tmp_path: Path, code: str) -> None:
    """Nothing moves, and the result's code says why; a reserve that one stroop would break is among the reasons."""
    async with surroundings(tmp_path) as around:
        result = await around.carry_out(around.command(**_refused(around, code)))
        assert _code(result) == code
        await ledgers_later(around.horizon, 3)
        assert around.deposits() == []


async def test_a_wallet_without_a_usable_trustline_fails(tmp_path: Path) -> None:
    """No trustline, or one that is not authorized: nothing to deposit from, and the result tells which."""
    async with surroundings(tmp_path, wallets=2) as around:
        people, chain = around.horizon.people, around.horizon.chain
        first, second = around.account_id(0), around.account_id(1)
        chain.enqueue(
            SetTrustlineFlags(source=people.asset.issuer, trustor=first, asset=people.asset, authorized=False)
        )
        spent = Payment(source=second, to=people.payers[0].account_id, asset=people.asset, stroops=Stroops(100 * UNIT))
        chain.enqueue(spent, ChangeTrust(source=second, asset=people.asset, limit_stroops=Stroops(0)))
        await ledgers_later(around.horizon, 2)
        assert _code(await around.carry_out(around.command(wallet=0))) == "not_authorized"
        assert _code(await around.carry_out(around.command(wallet=1))) == "trustline_not_found"


async def test_less_is_deposited_only_where_the_rules_say_so(tmp_path: Path) -> None:
    """With deposit_less a balance that shrank gives what may go, never below the reserve."""
    async with surroundings(tmp_path) as around:
        around.rules = replace(around.rules, deposit_less=True)
        result = await around.carry_out(around.command(units=40, reserve_stroops=Stroops(70 * UNIT)))
        assert (result.status, result.amount_stroops) == (ResultStatus.SUCCEEDED, 30 * UNIT)
        assert around.deposits() == [30 * UNIT]


async def test_the_default_vault_serves_commands_that_name_none(tmp_path: Path) -> None:
    """A command without a vault goes to the executor's own."""
    async with surroundings(tmp_path) as around:
        around.rules = replace(around.rules, vault_address=Address(around.horizon.people.vault.account_id))
        assert (await around.carry_out(around.command(vault_address=None))).status is ResultStatus.SUCCEEDED
        assert around.deposits() == [10 * UNIT]


async def test_an_answer_that_was_lost_is_found_again(tmp_path: Path) -> None:
    """When submissions are answered 504, 503, nothing at all or half, the deposit is made once and reported."""
    async with surroundings(tmp_path) as around:
        faults = around.horizon.faults
        faults.add(Fault(method="POST", path_prefix="/transactions", status=504, after_effect=True))
        faults.add(Fault(path_prefix="/transactions", status=503))
        faults.add(Fault(method="POST", path_prefix="/transactions", cut_after_bytes=50))
        faults.add(Fault(path_prefix="/accounts", status=500, times=2))
        faults.add(Fault(path_prefix="/accounts", cut_after_bytes=10))
        result = await around.carry_out(around.command())
        assert result.status is ResultStatus.SUCCEEDED
        assert around.deposits() == [10 * UNIT]


async def test_a_stale_replica_is_not_believed(tmp_path: Path) -> None:
    """After a deposit, a state from before it (old balance, old sequence number) is read again until it is newer."""
    async with surroundings(tmp_path) as around:
        await around.carry_out(around.command(units=60))
        around.horizon.faults.add(Fault(path_prefix="/accounts", lag_ledgers=40, times=3))
        result = await around.carry_out(around.command(units=60))
        assert _code(result) == "insufficient_balance"
        assert around.deposits() == [60 * UNIT]


async def test_a_spent_sequence_number_ends_the_command(tmp_path: Path) -> None:
    """When the owner's own transaction took the number first, the deposit can never happen, and the result says so."""
    async with surroundings(tmp_path, closing=False) as around:
        people = around.horizon.people
        work = asyncio.create_task(around.carry_out(around.command()))
        await until(lambda: around.horizon.chain._pending_by_hash)
        own = Payment(
            source=around.account_id(0), to=people.payers[0].account_id, asset=people.asset, stroops=Stroops(UNIT)
        )
        around.horizon.chain.enqueue(own)
        around.horizon.chain._pending.rotate(1)  # the owner's comes first
        around.horizon.close_every(0.02)
        assert _code(await work) == "tx_bad_seq"
        assert around.deposits() == []


async def test_no_result_before_the_time_bound_is_certainly_past(tmp_path: Path) -> None:
    """While nobody can tell, there is no result; once a later ledger has closed without it, it failed for certain."""
    async with surroundings(tmp_path) as around:
        around.horizon.faults.add(Fault(method="POST", path_prefix="/transactions", status=503, times=10_000))
        work = asyncio.create_task(around.carry_out(around.command()))
        await ledgers_later(around.horizon, 20)
        assert not work.done()
        around.clock.advance(400)
        assert _code(await work) == "expired"
        around.horizon.faults.clear()
        await ledgers_later(around.horizon, 5)
        assert around.deposits() == []


async def test_a_deposit_made_in_time_is_found_after_the_time_bound(tmp_path: Path) -> None:
    """A deposit whose answers were all lost until after expires_at is reported as what it is: succeeded."""
    async with surroundings(tmp_path) as around:
        faults = around.horizon.faults
        faults.add(Fault(method="POST", path_prefix="/transactions", status=504, after_effect=True, times=10_000))
        faults.add(Fault(path_prefix="/transactions", status=503, times=10_000))
        work = asyncio.create_task(around.carry_out(around.command()))
        await until(around.deposits)
        around.clock.advance(400)
        await ledgers_later(around.horizon, 3)
        assert not work.done()
        faults.clear()
        assert (await work).status is ResultStatus.SUCCEEDED
        assert around.deposits() == [10 * UNIT]


def test_a_folder_is_one_executors(tmp_path: Path) -> None:
    """Two executors never share a memory: the second is told so, until the first is gone."""
    with Store(tmp_path), pytest.raises(FolderInUse):
        Store(tmp_path)
    Store(tmp_path).close()


def test_what_was_refused_is_kept(tmp_path: Path) -> None:
    """Refusals stay, with their reasons."""
    with Store(tmp_path) as store:
        store.refuse("?", b"not a command", "it is not JSON")
    with Store(tmp_path) as store:
        assert store.refused() == [("?", "it is not JSON")]
