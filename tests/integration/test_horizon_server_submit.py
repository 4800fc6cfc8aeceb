"""Transactions handed in at the sandbox's Horizon: in once, answered alike each time, refused as Stellar refuses."""

import asyncio
import time

import pytest
from stellar_sdk import Account, Keypair, TransactionBuilder
from stellar_sdk import Asset as SdkAsset

from sandbox.horizon_faults import Fault
from sandbox.horizon_instance import Options
from schema.stellar import Network
from tests.integration.horizon_client import Answer, Client, serving


async def _sequence(client: Client) -> int:
    account = await client.get(f"/accounts/{client.people.wallets[0].account_id}")
    return int(account.json["sequence"])


def _envelope(
    client: Client,
    sequence: int,
    *,
    amount: str = "10",
    max_time: int = 0,
    network: Network = Network.TESTNET,
    secret: str = "",
    fee: int = 100,
) -> str:
    """The first wallet's payment to the vault."""
    wallet, asset = client.people.wallets[0], client.people.asset
    envelope = (
        TransactionBuilder(Account(wallet.account_id, sequence - 1), network.passphrase, base_fee=fee)
        .add_time_bounds(0, max_time)
        .append_payment_op(client.people.vault.account_id, SdkAsset(asset.code, asset.issuer), amount)
        .build()
    )
    envelope.sign(secret or wallet.secret)
    return envelope.to_xdr()


async def _submit_and_close(client: Client, envelope: str) -> Answer:
    submission = asyncio.create_task(client.submit(envelope))
    while not submission.done():
        client.horizon.close_ledger()
        await asyncio.wait((submission,), timeout=0.05)
    return await submission


async def test_a_payment_gets_in_and_is_answered_with_its_ledger() -> None:
    """The answer to a submission, its repetition and the transaction's own page say the same, and it is done once."""
    async with serving(holding=100) as client:
        envelope = _envelope(client, await _sequence(client) + 1)
        answer = await _submit_and_close(client, envelope)
        assert answer.status == 200
        assert answer.json["successful"] is True
        assert answer.json["envelope_xdr"] == envelope
        again = await client.submit(envelope)
        page = await client.get(f"/transactions/{answer.json['hash']}")
        assert again.json == page.json == answer.json
        (payment,) = (await client.get("/payments")).records
        assert payment["transaction_hash"] == answer.json["hash"]
        assert int(payment["id"]) >> 32 == answer.json["ledger"]
        assert payment["amount"] == "10.0000000"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("sequence", "tx_bad_seq"),
        ("old sequence", "tx_bad_seq"),
        ("late", "tx_too_late"),
        ("network", "tx_bad_auth"),
        ("signature", "tx_bad_auth"),
        ("fee", "tx_insufficient_fee"),
    ],
)
async def test_what_no_ledger_would_take_is_refused_at_once(fault: str, code: str) -> None:
    """A transaction that is wrong in itself is 400 transaction_failed with Stellar's code, and leaves no trace."""
    async with serving(holding=100) as client:
        sequence = await _sequence(client)
        envelopes = {
            "sequence": lambda: _envelope(client, sequence + 2),
            "old sequence": lambda: _envelope(client, sequence),
            "late": lambda: _envelope(client, sequence + 1, max_time=int(time.time()) - 60),
            "network": lambda: _envelope(client, sequence + 1, network=Network.MAINNET),
            "signature": lambda: _envelope(client, sequence + 1, secret=Keypair.random().secret),
            "fee": lambda: _envelope(client, sequence + 1, fee=99),
        }
        answer = await client.submit(envelopes[fault]())
        assert answer.status == 400
        assert answer.json["extras"]["result_codes"] == {"transaction": code}
        client.horizon.close_ledger()
        assert (await client.get("/payments?include_failed=true")).records == []
        assert await _sequence(client) == sequence


async def test_a_payment_that_fails_in_the_ledger_says_why_each_time() -> None:
    """More than is there: 400 with tx_failed and op_underfunded, the same on repetition; the number is used."""
    async with serving(holding=5) as client:
        sequence = await _sequence(client)
        envelope = _envelope(client, sequence + 1)
        first = await _submit_and_close(client, envelope)
        again = await client.submit(envelope)
        assert (first.status, again.json) == (400, first.json)
        codes = first.json["extras"]["result_codes"]
        assert codes == {"transaction": "tx_failed", "operations": ["op_underfunded"]}
        assert await _sequence(client) == sequence + 1


async def test_an_answer_that_never_came_can_be_asked_for_again() -> None:
    """A 504 says nothing about the transaction: it gets in all the same, once, and repeating it tells so."""
    options = Options(stream_check_s=0, submit_timeout_s=0.2)
    async with serving(holding=100, options=options) as client:
        envelope = _envelope(client, await _sequence(client) + 1)
        lost = await client.submit(envelope)
        assert (lost.status, lost.json["type"]) == (504, "https://stellar.org/horizon-errors/timeout")
        digest = lost.json["extras"]["hash"]
        assert (await client.get(f"/transactions/{digest}")).status == 404
        client.horizon.close_ledger()
        assert (await client.submit(envelope)).json["hash"] == digest
        other = _envelope(client, await _sequence(client) + 1, amount="1")
        client.horizon.faults.add(Fault(method="POST", path_prefix="/transactions", status=504, after_effect=True))
        assert (await _submit_and_close(client, other)).status == 504
        assert (await client.submit(other)).status == 200
        assert len((await client.get("/payments")).records) == 2


async def test_what_is_no_transaction_is_refused() -> None:
    """Anything but an envelope is 400 transaction_malformed, with what was sent."""
    async with serving() as client:
        answer = await client.submit("AAAA")
        assert (answer.status, answer.json["title"]) == (400, "Transaction Malformed")
        assert answer.json["extras"]["envelope_xdr"] == "AAAA"
        assert (await client.submit("")).status == 400
