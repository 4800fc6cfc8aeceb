"""The XDR in Stellar RPC's answers: read, or refused, and read by nobody who does without RPC."""

import base64
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stellar_sdk import StrKey

from producers.rpc import xdr as rpc_xdr
from schema.stellar import Malformed
from tests.unit.producers.records import ALICE, ASSET, CONTRACT


@pytest.mark.parametrize("encoded", ["", "AAAA", "!", "AAAAEQAAAAEAAAAB", "/////w==", "AAAADwAAAAR0ZXN0", "é", " "])
def test_xdr_that_is_none_is_malformed(encoded: str) -> None:
    """Nothing that comes over the wire ends the program."""
    for read in (rpc_xdr.read_address, rpc_xdr.read_amount, rpc_xdr.read_operations):
        with pytest.raises(Malformed):
            read(encoded)
    with pytest.raises(Malformed):
        rpc_xdr.read_trustline(encoded, ASSET)


@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Whatever bytes a field holds, they are a value or Malformed."""
    encoded = base64.b64encode(data).decode()
    for read in (rpc_xdr.read_address, rpc_xdr.read_amount, rpc_xdr.read_operations):
        try:
            read(encoded)
        except Malformed:
            continue


def test_addresses_of_every_kind_are_read() -> None:
    """Accounts, contracts, claimable balances and pools come as topics."""
    balance = StrKey.encode_claimable_balance(b"\0" + bytes(range(32)))
    pool = StrKey.encode_liquidity_pool(bytes(range(32)))
    for address in (ALICE, CONTRACT, balance, pool):
        assert rpc_xdr.read_address(rpc_xdr.address(address)) == address


def test_a_producer_over_horizon_does_without_the_sdk() -> None:
    """Half a second and 60 MB are for those who read Stellar RPC."""
    check = "import sys, producers.__main__; sys.exit('stellar_sdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False, timeout=60).returncode == 0
