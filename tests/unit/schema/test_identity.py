"""Ids that never change: golden values, and what tells one from another."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from schema import identity
from schema.stellar import Asset, Ledger, Network, parse_account_id

ACCOUNT = parse_account_id("GAFK7XFZHMLSNV7OJTBO7BAIZA66X6QIBV5RMZZYXK4Q7ZSO52J5C3WQ")
OTHER = parse_account_id("GC5LF63GRVIT5ZXXCXLPI3RX2YXKJQFZVBSAO6AUELN3YIMSWPD6Z6FH")
USDC = Asset.parse("USDC:GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5")
LEDGER = Ledger(52_446_757)
WALLET_ID = UUID("f3b2c1de-9d7f-4b8e-a3a5-2f4c6d8e0b12")
AT = datetime(2026, 1, 31, 12, 0, 0, 123_999, tzinfo=UTC)


def test_the_namespace_is_fixed_for_ever() -> None:
    """Every id hangs on it."""
    assert str(identity.NAMESPACE) == "6f0c7c1e-53c4-5d0e-9a57-0f6a3f1f8a11"


def test_golden_ids() -> None:
    """What was said once is said again by every later version: these values stand in people's databases."""
    event_id = identity.event_id(Network.TESTNET, ACCOUNT, USDC, LEDGER)
    assert str(event_id) == "57f2e110-56bd-53c3-85b9-89cd2811d1e7"
    assert str(identity.command_id(WALLET_ID, str(event_id))) == "5c1a55ce-333b-5e47-aac0-55e16ebd3cfa"
    assert str(identity.snapshot_id(WALLET_ID, str(event_id), AT)) == "019c13ec-9e7b-834f-a918-c3f99b435189"


def test_another_fact_has_another_id() -> None:
    """Network, account, asset and version, each alone."""
    counterfeit = Asset("USDC", OTHER)
    ids = {
        identity.event_id(Network.TESTNET, ACCOUNT, USDC, LEDGER),
        identity.event_id(Network.MAINNET, ACCOUNT, USDC, LEDGER),
        identity.event_id(Network.TESTNET, OTHER, USDC, LEDGER),
        identity.event_id(Network.TESTNET, ACCOUNT, counterfeit, LEDGER),
        identity.event_id(Network.TESTNET, ACCOUNT, USDC, Ledger(LEDGER + 1)),
    }
    assert len(ids) == 5


def test_a_snapshots_id_is_a_uuid_of_version_8() -> None:
    """With its milliseconds first, cut off and not rounded."""
    snapshot_id = identity.snapshot_id(WALLET_ID, "cause", AT)
    assert snapshot_id.version == 8
    assert snapshot_id.variant == "specified in RFC 4122"
    assert snapshot_id.int >> 80 == int(AT.timestamp() * 1000)
    assert snapshot_id != identity.snapshot_id(WALLET_ID, "other cause", AT)
    assert snapshot_id != identity.snapshot_id(UUID(int=WALLET_ID.int + 1), "cause", AT)
    assert snapshot_id.int >> 80 == identity.snapshot_id(WALLET_ID, "other cause", AT).int >> 80


@given(st.integers(min_value=1, max_value=10**12), st.text(max_size=20), st.text(max_size=20))
def test_snapshots_ids_sort_by_time(milliseconds: int, cause: str, other: str) -> None:
    """Whatever their causes are; and every one is of version 8."""
    earlier = identity.snapshot_id(WALLET_ID, cause, AT)
    later = identity.snapshot_id(WALLET_ID, other, AT + timedelta(milliseconds=milliseconds))
    assert earlier < later
    assert earlier.version == later.version == 8
