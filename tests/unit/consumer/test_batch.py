"""A batch, without a database: who is asked, what is written, what is counted, what is refused."""

from dataclasses import replace
from uuid import UUID

from consumer.batch import Ending, Wallets, decide_batch, decide_due, without_deposits
from consumer.outcome import Verdict
from consumer.records import Arrived, Reader
from consumer.wallet import CommandStatus, Policy, WalletState
from schema import balance_event, cloud_events, deposit_result
from schema.balance_event import BalanceEvent
from schema.deposit_result import DepositResult, ResultError, ResultStatus
from schema.stellar import AccountId, Ledger, Network, Stroops
from tests.unit.consumer.test_records import ConsumedRecord
from tests.unit.consumer.worlds import (
    ACCOUNT,
    FIRST_LEDGER,
    POLICY,
    SENDER,
    USDC,
    USER_ID,
    WALLET_ID,
    close_time,
    units,
)
from tests.unit.consumer.worlds import balance_event as event_of

NEIGHBOUR_ID = UUID(int=WALLET_ID.int + 1)
NEIGHBOUR = AccountId(SENDER)
NOW = close_time(1000)
READER = Reader(network=Network.TESTNET, asset=USDC, results_topic=deposit_result.TOPIC)


def wallets(**changed: Policy) -> Wallets:
    """Two wallets, without a fact yet."""
    states = {
        wallet_id: WalletState(
            wallet_id=wallet_id, user_id=USER_ID, account_id=account, network=Network.TESTNET, asset=USDC
        )
        for wallet_id, account in ((WALLET_ID, ACCOUNT), (NEIGHBOUR_ID, NEIGHBOUR))
    }
    policies = dict.fromkeys(states, changed.get("policy", POLICY))
    return Wallets(
        states=states,
        policies=policies,
        by_account={ACCOUNT: WALLET_ID, NEIGHBOUR: NEIGHBOUR_ID},
        by_command={},
    )


def arrived(message: BalanceEvent | DepositResult | None, offset: int = 7) -> Arrived:
    return Arrived(record=ConsumedRecord(offset=offset), message=message)


def ended(command_id: UUID, *, status: ResultStatus = ResultStatus.SUCCEEDED, amount: int = 50) -> DepositResult:
    succeeded = status is ResultStatus.SUCCEEDED
    return DepositResult(
        command_id=command_id,
        status=status,
        amount_stroops=units(amount) if succeeded else Stroops(0),
        transaction_hash=f"{9:064x}" if succeeded else None,
        ledger=Ledger(FIRST_LEDGER + 9) if succeeded else None,
        error=None if succeeded else ResultError(code="tx_failed", message="op_underfunded"),
        completed_at=close_time(9),
    )


def commanded(among: Wallets) -> UUID:
    """One command of 50 of the first wallet, known by its id."""
    writes = decide_batch([arrived(event_of(1, 0)), arrived(event_of(2, 50))], among, close_time(2))
    (command,) = writes.commands
    among.by_command = {command.command_id: WALLET_ID}
    return command.command_id


def test_a_batch_decides_in_arrival_order() -> None:
    """Each record on what the one before left; the states of both wallets are written once."""
    among = wallets()
    events = [
        event_of(1, 0),
        event_of(1, 20, account_id=NEIGHBOUR),
        event_of(2, 50),
        event_of(2, 20, account_id=NEIGHBOUR, since=None, balance_stroops=units(45)),
    ]
    writes = decide_batch([arrived(event) for event in events], among, NOW)
    assert [(s.wallet_id, s.previous_stroops, s.balance_stroops) for s in writes.snapshots] == [
        (WALLET_ID, None, 0),
        (NEIGHBOUR_ID, None, units(20)),
        (WALLET_ID, 0, units(50)),
        (NEIGHBOUR_ID, units(20), units(45)),
    ]
    assert [(c.wallet_id, c.amount_stroops, c.issued_at) for c in writes.commands] == [
        (WALLET_ID, units(50), NOW),
        (NEIGHBOUR_ID, units(25), NOW),
    ]
    assert dict(writes.counts) == {Verdict.BASELINE: 2, Verdict.RECORDED: 2}
    assert writes.states == among.states
    assert writes.dead_letters == []
    assert writes.endings == {}


def test_a_decision_is_never_dated_before_its_fact() -> None:
    """Where our clock is behind the chain's, the chain's time counts."""
    among = wallets()
    decide_batch([arrived(event_of(1, 0))], among, close_time(0))
    writes = decide_batch([arrived(event_of(2, 50))], among, close_time(0))
    assert writes.commands[0].issued_at == close_time(2)


def test_what_is_known_writes_nothing() -> None:
    """A duplicate is counted and changes no state."""
    among = wallets()
    decide_batch([arrived(event_of(1, 0))], among, NOW)
    writes = decide_batch([arrived(event_of(1, 0))], among, NOW)
    assert writes.states == {}
    assert writes.snapshots == []
    assert dict(writes.counts) == {Verdict.DUPLICATE: 1}


def test_refused_untracked_and_foreign_records_hold_up_nothing() -> None:
    """Poison is kept, strangers and others' facts are counted, and what comes behind them is recorded."""
    poison = READER.read([ConsumedRecord(value=b"poison")])[0]
    stranger = event_of(1, 9, account_id=AccountId("GB5FM5GICRYGBFMEGPMYEFDZQHGUYF75Z7WNB2JL5A3A57HIB4CP3TCL"))
    writes = decide_batch(
        [poison, arrived(None), poison, arrived(None), arrived(stranger), arrived(stranger), arrived(event_of(1, 5))],
        wallets(),
        NOW,
    )
    assert writes.dead_letters == [poison.refusal, poison.refusal]
    assert dict(writes.counts) == {"malformed": 2, "not_ours": 2, "untracked": 2, Verdict.BASELINE: 1}
    assert len(writes.snapshots) == 1


def test_a_conflict_is_a_dead_letter_with_its_detail() -> None:
    """The record's own place and bytes, the verdict as the reason."""
    writes = decide_batch([arrived(event_of(1, 5)), arrived(event_of(1, 6), offset=8)], wallets(), NOW)
    (letter,) = writes.dead_letters
    assert (letter.offset, letter.reason) == (8, Verdict.CONFLICT)
    assert letter.value == ConsumedRecord().value
    assert "balance 5.0000000" in letter.detail
    assert "balance 6.0000000" in letter.detail


def test_a_conflict_is_kept_as_it_was_read() -> None:
    """From the record to its dead letter: the place and the bytes are the record's own."""
    told = [balance_event.encode(event_of(1, amount)) for amount in (5, 6)]
    records = [ConsumedRecord(offset=offset, value=value) for offset, value in enumerate(told)]
    (letter,) = decide_batch(READER.read(records), wallets(), NOW).dead_letters
    assert (letter.offset, letter.value) == (1, told[1])


def test_what_a_command_leaves_behind_is_written() -> None:
    """With it goes which attempt it is; with its result the state without it."""
    among = wallets()
    writes = decide_batch([arrived(event_of(1, 0)), arrived(event_of(2, 50))], among, close_time(2))
    (command,) = writes.commands
    assert writes.attempts == {command.command_id: 1}
    among.by_command = {command.command_id: WALLET_ID}
    writes = decide_batch([arrived(ended(command.command_id))], among, NOW)
    assert writes.states == {WALLET_ID: among.states[WALLET_ID]}


def test_a_result_ends_its_command() -> None:
    """The record as it ended, when the result says it did, and no error for a success; its snapshot is written."""
    among = wallets()
    command_id = commanded(among)
    writes = decide_batch([arrived(ended(command_id))], among, NOW)
    (ending,) = writes.endings.values()
    assert list(writes.endings) == [command_id]
    assert ending.command.status is CommandStatus.SUCCEEDED
    assert (ending.completed_at, ending.error) == (close_time(9), None)
    (snapshot,) = writes.snapshots
    assert snapshot.command_id == command_id
    assert snapshot.observed_at == NOW
    assert dict(writes.counts) == {Verdict.SUCCEEDED: 1}


def test_a_failure_ends_its_command_with_its_error() -> None:
    """Why it failed is kept; an error beside a success would not be."""
    among = wallets()
    command_id = commanded(among)
    writes = decide_batch([arrived(ended(command_id, status=ResultStatus.FAILED))], among, NOW)
    ending = writes.endings[command_id]
    assert ending.error == ResultError(code="tx_failed", message="op_underfunded")
    other = wallets()
    command_id = commanded(other)
    odd = replace(ended(command_id), error=ResultError(code="odd", message="odd"))
    assert decide_batch([arrived(odd)], other, NOW).endings[command_id].error is None


def test_an_expired_command_ends_when_the_chain_says() -> None:
    """The observed time that let it expire; the wait that is over has its own."""
    among = wallets()
    command_id = commanded(among)
    seen = event_of(2, 50, seen_in=500)
    writes = decide_batch([arrived(seen)], among, NOW)
    expected = Ending(command=writes.endings[command_id].command, completed_at=close_time(500), error=None)
    assert writes.endings[command_id] == expected
    assert expected.command.status is CommandStatus.EXPIRED


def test_a_result_for_no_command_is_a_dead_letter() -> None:
    """Counted, kept with its reason, and what comes behind it is recorded."""
    unknown = ended(UUID(int=99))
    writes = decide_batch([arrived(unknown), arrived(unknown), arrived(event_of(1, 5))], wallets(), NOW)
    assert [(letter.reason, letter.detail) for letter in writes.dead_letters] == [
        (Verdict.UNKNOWN_COMMAND, f"no command {UUID(int=99)} was issued")
    ] * 2
    assert writes.dead_letters[0].offset == 7
    assert dict(writes.counts) == {Verdict.UNKNOWN_COMMAND: 2, Verdict.BASELINE: 1}


def test_a_result_of_the_other_network_is_not_ours() -> None:
    """Another installation on this database ends it."""
    among = wallets()
    among.elsewhere = frozenset({UUID(int=99)})
    writes = decide_batch([arrived(ended(UUID(int=99)))] * 2, among, NOW)
    assert dict(writes.counts) == {"not_ours": 2}
    assert writes.dead_letters == []


def test_a_command_whose_wallet_is_gone_only_ends() -> None:
    """Its ending is written, and neither a state, nor a snapshot, nor another command."""
    among = wallets()
    command_id = commanded(among)
    among.deleted = frozenset({WALLET_ID})
    writes = decide_batch([arrived(ended(command_id, amount=20))], among, NOW)
    assert list(writes.endings) == [command_id]
    assert writes.states == {}
    assert writes.snapshots == []
    assert writes.commands == []
    assert dict(writes.counts) == {Verdict.SUCCEEDED: 1}


def test_the_wallets_that_are_due_are_decided_on() -> None:
    """Each of them, at this time."""
    among = wallets(policy=replace(POLICY, paused=True))
    decide_batch([arrived(event_of(1, 0)), arrived(event_of(2, 50))], among, close_time(2))
    among.policies = dict.fromkeys(among.states, POLICY)
    writes = decide_due(among, NOW)
    assert dict(writes.counts) == {Verdict.DUE: 1, Verdict.NOT_DUE: 1}
    assert [command.issued_at for command in writes.commands] == [NOW]
    assert list(writes.states) == [WALLET_ID]


def test_without_deposits_a_policy_is_the_same_but_for_that() -> None:
    """Disabled, and nothing else."""
    assert without_deposits(POLICY) == replace(POLICY, enabled=False)


def test_results_are_read_from_their_topic() -> None:
    """A result on the results' topic; on the other one it is no fact; a body that is none is refused with its place."""
    result = ended(UUID(int=9))
    headers = cloud_events.headers(
        type_=deposit_result.TYPE, id_=result.result_id, source="/test", trace=result.command_id
    )
    record = ConsumedRecord(topic=deposit_result.TOPIC, value=deposit_result.encode(result), headers=headers)
    (read,) = READER.read([record])
    assert (read.record, read.message, read.refusal) == (record, result, None)
    for bent, words in (
        (replace(record, topic=balance_event.TOPIC), "event_id is None"),
        (replace(record, value=None), "value is None, expected a JSON object"),
        (replace(record, headers=[("ce_type", balance_event.TYPE.encode())]), f"expected {deposit_result.TYPE}"),
    ):
        (refused,) = READER.read([bent])
        assert refused.message is None
        assert refused.record is bent
        assert refused.refusal is not None
        assert refused.refusal.reason == "malformed"
        assert words in refused.refusal.detail
