"""Every reason that a person can be told, with its numbers and its sentence."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import pytest

from consumer.api.view import _SENTENCES, NOT_READ, evaluate, wallet_json
from consumer.outcome import Reason
from consumer.wallet import CommandRecord, CommandStatus, WalletState
from schema.stellar import Ledger, Network
from tests.unit.consumer.worlds import ACCOUNT, FIRST_LEDGER, POLICY, START, USDC, USER_ID, WALLET_ID, units

FREE: Final = WalletState(
    wallet_id=WALLET_ID,
    user_id=USER_ID,
    account_id=ACCOUNT,
    network=Network.TESTNET,
    asset=USDC,
    balance_stroops=units(100),
    ledger=Ledger(FIRST_LEDGER),
    authorized=True,
    snapshot_id=uuid4(),
)
COMMAND: Final = CommandRecord(
    command_id=uuid4(),
    status=CommandStatus.PENDING,
    amount_stroops=units(95),
    issued_at=START,
    expires_at=START + timedelta(minutes=5),
)
ALL: Final = {"depositable": "100.0000000", "amount": "100.0000000", "would_deposit": True, "reason": "issued"}
NONE: Final = {"amount": None, "would_deposit": False}
CASES: Final[dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], tuple[str, ...]]]] = {
    "free": ({}, {}, ALL, ("100.0000000 can be deposited. It is commanded when more comes in.",)),
    "given up": (
        {"failures_in_a_row": 3},
        {},
        {**ALL, "failures_in_a_row": 3},
        ("100.0000000 can be deposited. It is commanded when more comes in. 3 attempts in a row failed.",),
    ),
    "due": (
        {"due_at": START},
        {},
        {**ALL, "due_at": "2026-01-31T12:00:00Z"},
        ("100.0000000 is about to be commanded.",),
    ),
    "due later": (
        {"due_at": START + timedelta(hours=1)},
        {},
        {**ALL, "due_at": "2026-01-31T13:00:00Z"},
        (
            "100.0000000 can be deposited.",
            "It is commanded at 2026-01-31T13:00:00Z, or before that when more comes in.",
        ),
    ),
    "a maximum": (
        {},
        {"max_deposit_stroops": units(40)},
        {**ALL, "amount": "40.0000000"},
        ("40.0000000 can be deposited. It is commanded when more comes in.",),
    ),
    "a baseline": (
        {"protected_stroops": units(100)},
        {},
        {**NONE, "depositable": "0.0000000", "protected": "100.0000000", "reason": "below_minimum"},
        ("Nothing can be deposited: of the balance of 100.0000000, 100.0000000 is kept.",),
    ),
    "the owner spent of what is protected": (
        {"protected_stroops": units(300)},
        {},
        {**NONE, "depositable": "0.0000000", "protected": "100.0000000", "reason": "below_minimum"},
        ("Nothing can be deposited: of the balance of 100.0000000, 100.0000000 is kept.",),
    ),
    "a reserve": (
        {},
        {"reserve_stroops": units(95)},
        {**NONE, "depositable": "5.0000000", "reserve": "95.0000000", "reason": "below_minimum"},
        (
            "5.0000000 can be deposited, less than the minimum of 10.0000000:",
            "of the balance of 100.0000000, 95.0000000 is kept.",
        ),
    ),
    "in flight": (
        {"commands": (COMMAND,)},
        {},
        {**NONE, "depositable": "5.0000000", "in_flight": "95.0000000", "reason": "below_minimum"},
        (
            "5.0000000 can be deposited, less than the minimum of 10.0000000:",
            "of the balance of 100.0000000, 0.0000000 is kept, and 95.0000000 is on its way.",
        ),
    ),
    "the day's cap": (
        {"issued": ((START.date(), units(15)),)},
        {"daily_cap_stroops": units(20)},
        {**NONE, "depositable": "100.0000000", "issued_today": "15.0000000", "reason": "daily_cap"},
        (
            "100.0000000 can be deposited, but 15.0000000 of the 20.0000000 that one day (UTC) may bring were",
            "commanded today. The rest follows tomorrow.",
        ),
    ),
    "switched off": (
        {},
        {"enabled": False},
        {**NONE, "depositable": "100.0000000", "reason": "disabled"},
        ("Automatic deposits are switched off for this wallet.",),
    ),
    "paused": (
        {},
        {"paused": True},
        {**NONE, "depositable": "100.0000000", "reason": "paused"},
        ("Deposits are paused. 100.0000000 can be deposited, and will be within a minute after the pause.",),
    ),
    "held": (
        {"held_at": START},
        {},
        {**NONE, "held_at": "2026-01-31T12:00:00Z", "reason": "held"},
        (
            "The wallet is on hold since 2026-01-31T12:00:00Z: two readings of its balance disagree, and an operator",
            "has to look.",
        ),
    ),
    "frozen": (
        {"authorized": False},
        {},
        {**NONE, "authorized": False, "reason": "unauthorized"},
        ("The wallet may not hold the asset: it has no trustline, or the issuer froze it.",),
    ),
    "not read yet": (
        {"balance_stroops": None, "ledger": None, "snapshot_id": None, "authorized": False},
        {},
        {**NONE, "balance": None, "depositable": "0.0000000", "reason": "not_read"},
        ("The wallet has not been read yet: that happens within seconds after it is added.",),
    ),
    "a balance from before the pipeline": (
        {"ledger": None, "snapshot_id": None, "authorized": False},
        {},
        {**NONE, "balance": "100.0000000", "reason": "not_read"},
        ("The wallet has not been read yet: that happens within seconds after it is added.",),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_reason_has_its_numbers_and_its_sentence(name: str) -> None:
    """For each state of a wallet what is said of it; the balance that is free is named where there is any."""
    state, policy, numbers, sentence = CASES[name]
    said = wallet_json(evaluate(replace(FREE, **state), replace(POLICY, **policy), START), None, None)
    assert said["explanation"] == " ".join(sentence)
    assert {key: said[key] for key in numbers} == numbers


def test_there_is_a_sentence_for_every_reason() -> None:
    """A reason that the decision learns needs one here."""
    assert set(_SENTENCES) == {*Reason, NOT_READ}
