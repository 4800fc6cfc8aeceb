"""The sandbox's Stellar RPC, as the SDK's own client and plain requests meet it."""

import asyncio
from typing import Any

import pytest
from stellar_sdk import SorobanServer, scval, xdr
from stellar_sdk import TransactionEnvelope as Envelope
from stellar_sdk.soroban_rpc import EventFilter, EventFilterType, GetTransactionStatus

from producers.rpc import xdr as rpc_xdr
from sandbox.chain_operations import PathPayment, SetTrustlineFlags
from sandbox.horizon_faults import Fault
from sandbox.rpc_events import EVENT_MAX, end_of
from schema.stellar import AccountId, Stroops
from tests.integration.horizon_client import UNIT, Client, serving


async def ask(client: Client, method: str, **parameters: Any) -> dict[str, Any]:
    """The whole answer."""
    question = {"jsonrpc": "2.0", "id": 5, "method": method, "params": parameters}
    async with client.session.post(f"{client.horizon.url}/rpc", json=question) as response:
        assert response.status == 200
        answer: dict[str, Any] = await response.json()
    assert (answer["jsonrpc"], answer["id"]) == ("2.0", 5)
    return answer


async def refusal(client: Client, method: str, **parameters: Any) -> tuple[int, str]:
    error = (await ask(client, method, **parameters))["error"]
    return error["code"], error["message"]


def read_all(url: str, key: str, contract: str, ledger: int) -> dict[str, Any]:
    """Every method, by the SDK's client, which checks each field."""
    wanted = EventFilter(event_type=EventFilterType.CONTRACT, contract_ids=[contract], topics=[["*", "**"]])
    with SorobanServer(url) as server:
        events = server.get_events(start_ledger=ledger, filters=[wanted])
        return {
            "health": server.get_health(),
            "network": server.get_network(),
            "latest": server.get_latest_ledger(),
            "ledgers": server.get_ledgers(start_ledger=ledger),
            "entries": server.get_ledger_entries([xdr.LedgerKey.from_xdr(key)]),
            "events": events,
            "transaction": server.get_transaction(events.events[0].transaction_hash),
            "unknown": server.get_transaction("0" * 64),
        }


async def test_the_sdks_own_client_reads_every_answer() -> None:
    """Health, network, ledgers, entries, events and transactions, field by field, by an implementation not ours."""
    async with serving() as client:
        people = client.people
        wallet = people.wallets[0].account_id
        client.pay()
        header = client.horizon.close_ledger()
        key = rpc_xdr.trustline_key(wallet, people.asset)
        contract = rpc_xdr.contract_of(people.asset, client.chain.network)
        found = await asyncio.to_thread(read_all, f"{client.horizon.url}/rpc", key, contract, header.sequence)
        assert (found["health"].status, found["health"].latest_ledger) == ("healthy", header.sequence)
        assert found["network"].passphrase == client.chain.network.passphrase
        assert found["latest"].sequence == header.sequence
        [ledger] = found["ledgers"].ledgers
        assert ledger.ledger_close_time == int(header.closed_at.timestamp())
        [entry] = found["entries"].entries
        account = client.chain.state.account(wallet)
        assert account is not None
        line = rpc_xdr.read_trustline(entry.xdr, people.asset)
        assert line.balance_stroops == account.trustlines[people.asset].balance_stroops
        assert entry.last_modified_ledger == found["entries"].latest_ledger == header.sequence
        [event] = found["events"].events
        assert scval.to_native(xdr.SCVal.from_xdr(event.topic[0])) == "transfer"
        assert (found["events"].latest_ledger, found["events"].cursor) == (header.sequence, end_of(header.sequence))
        assert found["transaction"].status is GetTransactionStatus.SUCCESS
        envelope = Envelope.from_xdr(found["transaction"].envelope_xdr, client.chain.network.passphrase)
        assert len(envelope.transaction.operations) == 1
        assert found["unknown"].status is GetTransactionStatus.NOT_FOUND


async def test_what_is_asked_wrong_is_refused_in_rpcs_own_words() -> None:
    """Codes and messages are the real one's: clients find the ledger range and the limit in them."""
    async with serving() as client:
        client.horizon.close_ledger()
        first, last = client.chain.history.elder_ledger, client.chain.latest.sequence
        outside = -32600, f"startLedger must be within the ledger range: {first} - {last}"
        assert await refusal(client, "getEvents", startLedger=last + 1, filters=[]) == outside
        assert await refusal(client, "getEvents", startLedger=first - 1, filters=[]) == outside
        assert await refusal(client, "getEvents", filters=[]) == (-32602, "startLedger must be positive")
        both = {"cursor": end_of(first), "limit": 1}
        message = "ledger ranges and cursor cannot both be set"
        assert await refusal(client, "getEvents", startLedger=last, filters=[], pagination=both) == (-32602, message)
        many = {"limit": 10_001}
        message = "limit must not exceed 10000"
        assert await refusal(client, "getEvents", startLedger=last, filters=[], pagination=many) == (-32602, message)
        topics = [{"topics": [["*"]] * 6}]
        assert (await refusal(client, "getEvents", startLedger=last, filters=topics))[0] == -32602
        for wrong, why in (
            ({"type": "diagnostic"}, "filter type invalid: if set, type must be either 'system' or 'contract'"),
            ({"contractIds": ["CA"] * 6}, "maximum 5 contract IDs per filter"),
            ({"contractIds": ["CA"]}, "contract ID 1 invalid"),
            ({"topics": [[]]}, "topic 1 invalid: topic must have at least 1 segment"),
            ({"topics": [["*"] * 5]}, "topic 1 invalid: topic cannot have more than 4 segments"),
            (
                {"topics": [["**", "*"]]},
                "topic 1 invalid: segment 1 invalid: wildcard '**' is only allowed as the last",
            ),
        ):
            code, said = await refusal(client, "getEvents", startLedger=last, filters=[wrong])
            assert (code, said.startswith(f"filter 1 invalid: {why}")) == (-32602, True), said
        message = "key count (201) exceeds maximum supported (200)"
        assert await refusal(client, "getLedgerEntries", keys=["AAAA"] * 201) == (-32602, message)
        message = "cannot unmarshal key value AAAA at index 0"
        assert await refusal(client, "getLedgerEntries", keys=["AAAA"]) == (-32602, message)
        assert (await refusal(client, "getLedgers", startLedger=last + 1))[0] == -32600
        assert await refusal(client, "sendMoney") == (-32601, "method not found")


async def test_a_cursor_leads_on_as_the_real_one_does() -> None:
    """Behind the event that it names; and where an event's number is the last there can be, it is counted over into 0,
    which begins the operation again.
    """
    async with serving() as client:
        people = client.people
        for _ in range(3):
            client.chain.enqueue(
                PathPayment(
                    source=people.payers[0].account_id,
                    to=people.wallets[0].account_id,
                    strict_send=True,
                    sent=None,
                    sent_stroops=Stroops(5),
                    received=people.asset,
                    received_stroops=Stroops(7),
                    maker=people.market.account_id,
                )
            )
        ledger = client.horizon.close_ledger().sequence
        whole = (await ask(client, "getEvents", startLedger=ledger, filters=[]))["result"]["events"]
        assert len(whole) == 3 + 3 * 3  # the fees come first
        for number, event in enumerate(whole):
            page = {"cursor": event["id"], "limit": 2}
            rest = (await ask(client, "getEvents", filters=[], pagination=page))["result"]
            assert rest["events"] == whole[number + 1 : number + 3]
            assert rest["cursor"] == (rest["events"][-1]["id"] if len(rest["events"]) == 2 else end_of(ledger))
        over = f"{whole[7]['id'][:19]}-{EVENT_MAX:010d}"
        again = (await ask(client, "getEvents", filters=[], pagination={"cursor": over}))["result"]["events"]
        assert again == whole[6:]


async def test_topics_are_matched_place_by_place() -> None:
    """`*` is one topic, `**` in the end any number; without it the number must be the same."""
    async with serving() as client:
        people = client.people
        wallet, payer = people.wallets[0].account_id, people.payers[0].account_id
        client.pay()
        flags = SetTrustlineFlags(source=people.issuer.account_id, trustor=wallet, asset=people.asset, authorized=True)
        client.chain.enqueue(flags)
        ledger = client.horizon.close_ledger().sequence
        transfer, to = scval.to_symbol("transfer").to_xdr(), scval.to_address(wallet).to_xdr()

        async def count(*topics: list[str]) -> int:
            answer = await ask(client, "getEvents", startLedger=ledger, filters=[{"topics": list(topics)}])
            return len(answer["result"]["events"])

        assert await count(["**"]) == 2 + 2  # with the fees
        assert await count([transfer, "**"]) == 1
        assert await count([transfer, "*", to, "*"]) == 1
        assert await count([transfer, "*", to]) == 0
        assert await count([transfer, to, "**"]) == 0
        assert await count(["*", to, "*"]) == 1
        assert await count([transfer, "*", scval.to_address(payer).to_xdr(), "**"], ["*", "*", to, "**"]) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"jsonrpc":"1.0"}', b"\xff", b'{"jsonrpc":"2.0","id":1}'])
async def test_what_is_no_question_is_an_error(body: bytes) -> None:
    """JSON-RPC's own errors, never a broken connection."""
    async with serving() as client, client.session.post(f"{client.horizon.url}/rpc", data=body) as response:
        assert (await response.json(content_type=None))["error"]["code"] in (-32700, -32600, -32601)


async def test_a_lie_is_about_one_account_and_one_answer() -> None:
    """The fault that makes two sources disagree."""
    async with serving() as client:
        people = client.people
        accounts: list[AccountId] = [each.account_id for each in people.wallets[:2]]
        keys = [rpc_xdr.trustline_key(each, people.asset) for each in accounts]
        client.horizon.faults.add(Fault(path_prefix="/rpc/getLedgerEntries", method="POST", lies_about=accounts[0]))

        async def balances() -> list[int]:
            entries = (await ask(client, "getLedgerEntries", keys=keys))["result"]["entries"]
            return [rpc_xdr.read_trustline(each["xdr"], people.asset).balance_stroops for each in entries]

        lied, true = await balances(), await balances()
        assert [one - other for one, other in zip(lied, true, strict=True)] == [UNIT, 0]
