"""Stellar's own values: amounts, addresses, assets, operation ids; stellar-sdk is the oracle for addresses."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stellar_sdk import StrKey

from schema import stellar
from schema.stellar import Asset, Ledger, Malformed, Network

ACCOUNT = "GAFK7XFZHMLSNV7OJTBO7BAIZA66X6QIBV5RMZZYXK4Q7ZSO52J5C3WQ"
CONTRACT = "CA6ZW2UWYV4Z4XARCQ66S2DCWEXPDZTMFNOK63FH2SAWXAIS56EGHGH5"
BYTES_32 = st.binary(min_size=32, max_size=32)


def refused(parse: object, text: str) -> str:
    """What is said of this text."""
    with pytest.raises(Malformed) as malformed:
        parse(text)  # type: ignore[operator]
    return str(malformed.value)


# Amounts


@pytest.mark.parametrize(
    ("text", "stroops"),
    [
        ("0", 0),
        ("0.0000001", 1),
        ("0.1", 1_000_000),
        ("1", 10_000_000),
        ("50.0000000", 500_000_000),
        ("50.12", 501_200_000),
        ("100000000000", 10**18),
        ("922337203685.4775807", 2**63 - 1),
    ],
)
def test_amounts_are_read_to_the_stroop(text: str, stroops: int) -> None:
    """Up to int64, with up to 7 decimals."""
    assert stellar.parse_stroops(text) == stroops


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "01", "1.", ".5", "1.00000001", "1e7", " 1", "1 ", "1\n", "NaN", "1,0", "\u0661", "1000000000000"],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    """No signs, exponents, spaces, foreign digits, leading zeros or eighth decimals."""
    assert refused(stellar.parse_stroops, text) == (
        f"value is {text!r}, expected an amount like 50.0000000: at most seven decimals, no sign, no exponent"
    )


def test_an_amount_beyond_int64_is_refused() -> None:
    """One stroop more than Stellar knows."""
    assert refused(stellar.parse_stroops, "922337203685.4775808") == (
        "value is '922337203685.4775808', expected an amount of at most 922337203685.4775807"
    )


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_amounts_come_back_as_they_went(stroops: int) -> None:
    """Written and read, plain and signed, and always with seven decimals."""
    text = stellar.format_stroops(stroops)
    assert stellar.parse_stroops(text) == stroops
    assert text.partition(".")[2] == f"{stroops % 10**7:07}"
    assert stellar.parse_signed_stroops(stellar.format_signed_stroops(stroops)) == stroops
    assert stellar.parse_signed_stroops(stellar.format_signed_stroops(-stroops)) == -stroops


def test_how_amounts_are_written() -> None:
    """Seven decimals; a movement's sign comes first and is never left out."""
    assert stellar.format_stroops(500_000_000) == "50.0000000"
    assert stellar.format_stroops(1) == "0.0000001"
    assert stellar.format_stroops(-15_000_000) == "-1.5000000"
    assert stellar.format_signed_stroops(15_000_000) == "+1.5000000"
    assert stellar.format_signed_stroops(-15_000_000) == "-1.5000000"
    assert stellar.format_signed_stroops(0) == "+0.0000000"


def test_a_movement_without_a_sign_is_refused() -> None:
    """The sign says in or out: guessing is not allowed."""
    assert refused(stellar.parse_signed_stroops, "1.5") == (
        "value is '1.5', expected a signed amount like +50.0000000 or -50.0000000"
    )
    assert "expected a signed amount" in refused(stellar.parse_signed_stroops, "")
    assert "expected an amount" in refused(stellar.parse_signed_stroops, "+-1")


# Addresses


@given(BYTES_32)
def test_account_ids_agree_with_the_sdk(key: bytes) -> None:
    """Every account id the SDK writes is one, as an account and as an address."""
    text = StrKey.encode_ed25519_public_key(key)
    assert stellar.parse_account_id(text) == text
    assert stellar.parse_address(text) == text


@given(BYTES_32)
def test_other_addresses_agree_with_the_sdk(key: bytes) -> None:
    """Contracts, pools and claimable balances are addresses and no accounts."""
    for text in (
        StrKey.encode_contract(key),
        StrKey.encode_liquidity_pool(key),
        StrKey.encode_claimable_balance(b"\0" + key),
    ):
        assert stellar.parse_address(text) == text
        assert refused(stellar.parse_account_id, text) == (
            f"value is {text!r}, expected an account id: G and 55 more characters, with a valid checksum"
        )


@given(BYTES_32, st.integers(min_value=0, max_value=55), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_one_wrong_letter_is_noticed(key: bytes, place: int, letter: str) -> None:
    """The checksum holds against any single change, as the SDK's does."""
    text = StrKey.encode_ed25519_public_key(key)
    bent = text[:place] + letter + text[place + 1 :]
    if bent != text:
        assert not StrKey.is_valid_ed25519_public_key(bent)
        refused(stellar.parse_address, bent)


@given(st.text(alphabet="GCLBMSTA234567WQ", min_size=50, max_size=70))
def test_what_the_sdk_refuses_is_refused(text: str) -> None:
    """Whatever text there is, an account id is one exactly when the SDK says so."""
    try:
        stellar.parse_account_id(text)
    except Malformed:
        assert not StrKey.is_valid_ed25519_public_key(text)
    else:
        assert StrKey.is_valid_ed25519_public_key(text)


def test_what_is_no_address_is_refused() -> None:
    """Secrets, muxed accounts, other letters' cases, spaces, lengths and spellings are none of ours."""
    muxed = StrKey.encode_med25519_public_key(b"\1" * 40)
    secret = StrKey.encode_ed25519_secret_seed(b"\1" * 32)
    hash_x = StrKey.encode_sha256_hash(b"\1" * 32)
    for text in ("", "G", ACCOUNT.lower(), ACCOUNT + " ", ACCOUNT[:-1], ACCOUNT + "A", muxed, secret, hash_x):
        shape = "a Stellar address (G..., C..., L... or B...) with a valid checksum"
        assert refused(stellar.parse_address, text) == f"value is {text!r}, expected {shape}"
        refused(stellar.parse_account_id, text)


def test_a_second_spelling_of_an_address_is_refused() -> None:
    """The last letter of a claimable balance's address has bits that say nothing: only zeros are allowed there."""
    text = StrKey.encode_claimable_balance(b"\0" + b"\7" * 32)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    other = text[:-1] + alphabet[alphabet.index(text[-1]) + 1]
    pad = "=" * (-len(text) % 8)
    assert base64.b32decode(other + pad) == base64.b32decode(text + pad)
    refused(stellar.parse_address, other)


@given(st.sampled_from("GCLBX"), st.integers(30, 40), st.data())
def test_an_address_is_what_base64_reads_as_one(letter: str, length: int, data: st.DataObject) -> None:
    """Of any bytes behind any first letter, with a right checksum or one wrong bit in it, in any length and with any
    spare bits at the end: ours is exactly what Python's own base32 decodes to whole bytes whose checksum is right.
    """
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    body = bytes([alphabet.index(letter) << 3]) + data.draw(st.binary(min_size=length - 3, max_size=length - 3))
    wrong = data.draw(st.sampled_from([0, 0, 0, 1 << 3, 1 << 15]))
    checksum = (int.from_bytes(_crc(body), "big") ^ wrong).to_bytes(2, "big")
    text = base64.b32encode(body + checksum).decode().rstrip("=")
    text = text[:-1] + data.draw(st.sampled_from([text[-1], text[-1], alphabet[-1]]))
    raw = base64.b32decode(text + "=" * (-len(text) % 8))
    is_one = (
        {"G": 35, "C": 35, "L": 35, "B": 36}.get(letter) == len(raw)
        and raw[-2:] == _crc(raw[:-2])
        and base64.b32encode(raw).decode().rstrip("=") == text
    )
    try:
        stellar.parse_address(text)
    except Malformed:
        assert not is_one
    else:
        assert is_one


def test_the_length_belongs_to_the_kind() -> None:
    """A G address with one byte more, its checksum right, is none."""
    raw = bytes([6 << 3]) + b"\7" * 33
    whole = raw + _crc(raw)
    refused(stellar.parse_account_id, base64.b32encode(whole).decode().rstrip("="))


def _crc(raw: bytes) -> bytes:
    crc = 0
    for byte in raw:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
    return (crc & 0xFFFF).to_bytes(2, "little")


# Assets, networks


def test_an_asset_is_its_code_and_its_issuer() -> None:
    """Read and written the same; its type at Horizon follows from the code's length."""
    asset = Asset.parse(f"USDC:{ACCOUNT}")
    assert asset == Asset("USDC", stellar.parse_account_id(ACCOUNT))
    assert str(asset) == f"USDC:{ACCOUNT}"
    assert asset.horizon_type == "credit_alphanum4"
    assert Asset.parse(f"USDCx:{ACCOUNT}").horizon_type == "credit_alphanum12"
    assert Asset.parse(f"A12345678901:{ACCOUNT}").code == "A12345678901"


@pytest.mark.parametrize(
    "text", ["USDC", f":{ACCOUNT}", f"A123456789012:{ACCOUNT}", f"US-DC:{ACCOUNT}", f"USD\u00c7:{ACCOUNT}", ""]
)
def test_what_is_no_asset_is_refused(text: str) -> None:
    """A code of 1 to 12 letters or digits, a colon, an issuer."""
    assert refused(Asset.parse, text) == str(
        Malformed(text, expected="CODE:ISSUER with a code of 1 to 12 letters or digits")
    )


def test_an_assets_issuer_is_an_account() -> None:
    """A contract, or a colon too many, is no issuer."""
    for issuer in (CONTRACT, "", f"X:{ACCOUNT}", f"{ACCOUNT}:"):
        assert "an account id" in refused(Asset.parse, f"USDC:{issuer}")


def test_networks_say_their_passphrases() -> None:
    """Word for word: they are hashed into every signature."""
    assert Network.TESTNET.passphrase == "Test SDF Network ; September 2015"  # noqa: S105
    assert Network.MAINNET.passphrase == "Public Global Stellar Network ; September 2015"  # noqa: S105


# Operation ids and cursors


@pytest.mark.parametrize(
    ("operation_id", "ledger"),
    [("4294967296", 1), ("225254714834784257", 52446200), ("9223372036854775807", 2**31 - 1)],
)
def test_an_operations_ledger_is_in_its_id(operation_id: str, ledger: int) -> None:
    """The upper 32 bits."""
    assert stellar.ledger_of_operation(operation_id) == ledger


@pytest.mark.parametrize(
    "operation_id", ["", "-1", "12a", "9223372036854775808", "1" * 20, " 4294967296", "\u0664294967296"]
)
def test_what_is_no_operation_id_is_refused(operation_id: str) -> None:
    """Up to 19 digits, at most int64."""
    assert refused(stellar.ledger_of_operation, operation_id) == (
        f"value is {operation_id!r}, expected an operation id of up to 19 digits"
    )


def test_an_operation_id_before_ledger_1_is_refused() -> None:
    """Its upper 32 bits are 0."""
    assert refused(stellar.ledger_of_operation, "4294967295") == (
        "value is '4294967295', expected an operation id whose upper 32 bits are a ledger"
    )


def test_a_cursor_after_a_ledger_lies_before_the_next_ones_first_operation() -> None:
    """And behind the ledger's last one."""
    cursor = stellar.cursor_after_ledger(Ledger(52_446_860))
    assert cursor == str(52_446_861 << 32)


# Complaints


def test_a_complaint_names_field_value_and_what_was_expected() -> None:
    """Long values are cut to a line."""
    assert str(Malformed(7, expected="text", field="amount")) == "amount is 7, expected text"
    assert str(Malformed(7, expected="text")) == "value is 7, expected text"
    fits, long = "x" * 118, "x" * 119
    assert Malformed(fits, expected="text").got == repr(fits)
    assert Malformed(long, expected="text").got == "'" + "x" * 116 + "..."


def test_a_complaint_takes_its_place_from_outside_in() -> None:
    """The list's field, the index, the field of its item; nothing else changes."""
    inner = Malformed("1e7", expected="an amount", field="amount")
    outer = inner.within("[3]").within("movements")
    assert outer.field == "movements.[3].amount"
    assert str(outer) == "movements.[3].amount is '1e7', expected an amount"
    assert (outer.got, outer.expected) == ("'1e7'", "an amount")
    bare = Malformed(None, expected="an amount").within("balance")
    assert (bare.field, str(bare)) == ("balance", "balance is None, expected an amount")
