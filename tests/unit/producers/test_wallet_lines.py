"""A file of wallets, read line by line: every good line is taken, every bad one is named with its place."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.bulk.lines import COLUMNS, Action, Fault, Unreadable, Wish, read, read_addresses, wish
from schema.stellar import Network
from tests.people import account_id

USER = "3d63b904-5f1c-4d6b-9a55-0c2d2f6f7a10"
KEY = account_id("ada")
LINE = f"{USER},{KEY}"


def lines(body: bytes | str) -> list[Wish | list[Fault]]:
    raw = body if isinstance(body, bytes) else body.encode()
    return list(read(io.BytesIO(raw), Network.TESTNET))


def faults(row: str | bytes, header: str = "user_id,public_key") -> list[Fault]:
    """What is wrong with a file's only line."""
    raw = row if isinstance(row, bytes) else row.encode()
    [found] = lines(f"{header}\n".encode() + raw)
    assert isinstance(found, list)
    return found


def test_a_line_is_an_addition_unless_it_says_otherwise() -> None:
    """Two columns are enough; the action, where there is none or it is empty, is to add."""
    assert lines(f"user_id,public_key\n{LINE}\n") == [Wish(2, Action.ADD, USER, KEY)]
    assert lines(f"public_key,action,user_id\n{KEY},,{USER}") == [Wish(2, Action.ADD, USER, KEY)]
    assert lines(f"public_key,action,user_id\n{KEY},pause,") == [Wish(2, Action.PAUSE, "", KEY)]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("beginning", [b"", b"\xef\xbb\xbf"])
def test_files_as_spreadsheets_write_them(beginning: bytes, ending: str) -> None:
    """A byte order mark, either ending, quotes, blanks around fields, blank lines: nothing changes but line numbers."""
    rows = ["turnkey_wallet_id, public_key ,user_id,network", "", f'"sub, org ""1""",{KEY}, {USER} ,testnet', ""]
    assert lines(beginning + ending.join(rows).encode()) == [Wish(3, Action.ADD, USER, KEY, 'sub, org "1"')]


@pytest.mark.parametrize(
    ("header", "row", "column", "expected"),
    [
        ("user_id,public_key", f"{USER[:-1]},{KEY}", "user_id", "a UUID"),
        ("user_id,public_key", f",{KEY}", "user_id", "a UUID"),
        ("user_id,public_key", f"{USER},{KEY[:-1]}A", "public_key", "checksum"),
        ("user_id,public_key", f"{USER},{KEY.lower()}", "public_key", "checksum"),
        ("user_id,public_key,network", f"{LINE},mainnet", "network", "testnet, as STELLAR_NETWORK says"),
        ("user_id,public_key,action", f"{LINE},delete", "action", "add, remove, pause, unpause"),
        ("user_id,public_key,turnkey_wallet_id", f"{LINE},a\0b", "turnkey_wallet_id", "characters"),
        ("user_id,public_key,turnkey_wallet_id", f"{LINE},{'t' * 201}", "turnkey_wallet_id", "200 characters"),
        ("user_id,public_key", f"{LINE},", "", "2 fields"),
        ("user_id,public_key", USER, "", "2 fields"),
        ("user_id,public_key", f'"{LINE}', "", "CSV"),
        ("user_id,public_key", f"{LINE}{'x' * 70_000}", "", "less than 65,536 bytes"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(header: str, row: str, column: str, expected: str) -> None:
    """Its number, the column, and what was expected there."""
    [found] = faults(row, header)
    assert (found.line, found.column) == (2, column)
    assert expected in found.expected
    assert len(found.value) <= 120


def test_everything_that_is_wrong_is_said() -> None:
    """Not the first fault of a line alone."""
    found = faults("me,GABC,moon", "user_id,public_key,network")
    assert {(each.column, each.value) for each in found} == {
        ("user_id", "me"),
        ("public_key", "GABC"),
        ("network", "moon"),
    }


SEED = "SCZANGBA5YHTNYVVV4C3U252E2B6P6F5T3U6MM63WBSBZATAQI3EBTQ4"


@pytest.mark.parametrize(
    "body",
    [
        f"user_id,public_key\n{USER},{SEED}",
        f"user_id,public_key\n{SEED}",
        f"user_id,public_key\n{'x' * 100},{SEED},",
        f'user_id,public_key\n"{SEED}',
        f"user_id,public_key,turnkey_wallet_id\n{LINE},{'x' * 200} {SEED}",
        f"user_id,public_key\n{SEED},".encode() + b"\xe9",
        f"{USER},{SEED}\n",
        f"{SEED}\n",
    ],
)
def test_a_secret_key_is_never_said(body: bytes | str) -> None:
    """Who puts S... where G... belongs is told so: neither a terminal nor a report nor a log gets to see it."""
    try:
        [found] = lines(body)
        said = str(found)
    except Unreadable as unreadable:
        said = str(unreadable)
    assert SEED[:20] not in said
    assert SEED[-20:] not in said


def test_what_no_database_takes_can_still_be_said() -> None:
    """A byte of zero in a line, an argument that is no UTF-8: named as faults, with values that any table can hold."""
    found = [*faults(f"{USER},\0"), *faults(f"\0,{KEY}"), *faults("a,b\0,c"), *faults(b'"\0')]
    argument = wish(1, {"user_id": "\udcff", "public_key": KEY}, Network.TESTNET)
    assert isinstance(argument, list)
    assert len(found) >= 4
    for each in [*found, *argument]:
        assert "\0" not in each.value
        assert each.value.encode()


def test_another_encoding_spoils_its_line_alone() -> None:
    """A Latin-1 letter is named with its byte; the next line is read."""
    body = f"user_id,public_key,turnkey_wallet_id\n{LINE},J\xfcrg\n{LINE},J\n".encode("latin-1")
    bad, good = lines(body)
    assert isinstance(bad, list)
    assert "UTF-8 text (byte 96 " in bad[0].expected
    assert good == Wish(3, Action.ADD, USER, KEY, "J")


def test_a_quote_that_is_not_closed_spoils_its_line_alone() -> None:
    """It does not swallow the rest of the file."""
    bad, good = lines(f'user_id,public_key\n{USER},"{KEY}\n{LINE}\n')
    assert isinstance(bad, list)
    assert good == Wish(3, Action.ADD, USER, KEY)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"user_id\n", "does not name public_key"),
        (b"user_id,public_key,colour,size\n", "names 'colour', 'size'; the columns are user_id"),
        (b"user_id,public_key,user_id\n", "names user_id more than once"),
        (b"user_id;public_key\n", "separated by commas"),
        (f"{LINE}\n".encode(), "names '3d63b904"),
        ("user_id,public_key\n".encode("utf-16"), "UTF-16"),
        (b"user_id,public_key\rx,y\r", "CR alone"),
    ],
)
def test_a_file_without_a_header_to_go_by_is_refused_as_a_whole(body: bytes, says: str) -> None:
    """With what is the matter; nothing of it is read."""
    with pytest.raises(Unreadable, match=says.replace("'", ".")):
        lines(body)


def test_a_list_of_addresses() -> None:
    """One on each line, no header; what is none is named."""
    body = b"\xef\xbb\xbf" + f"{KEY}\r\n\r\nGABC\n".encode()
    good, bad = read_addresses(io.BytesIO(body), Network.TESTNET, Action.REMOVE)
    assert good == Wish(1, Action.REMOVE, "", KEY)
    assert isinstance(bad, list)
    assert (bad[0].line, bad[0].column, bad[0].value) == (3, "public_key", "GABC")


@st.composite
def _rows(draw: st.DrawFn) -> tuple[list[str], list[dict[str, str]]]:
    columns = list(draw(st.permutations(COLUMNS)))
    rows = [
        {
            "user_id": str(draw(st.uuids())),
            "public_key": account_id(draw(st.text(max_size=5))),
            "network": draw(st.sampled_from(("", "testnet"))),
            "turnkey_wallet_id": draw(st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=9)).strip(),
            "action": draw(st.sampled_from(("", *Action))),
        }
        for _ in range(draw(st.integers(0, 5)))
    ]
    return columns, [row for row in rows if row["turnkey_wallet_id"].isprintable()]


@given(
    _rows(),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["where needed", "everywhere"]),
    st.lists(st.binary(max_size=60), max_size=4),
)
def test_good_lines_are_read_whatever_lies_between(
    table: tuple[list[str], list[dict[str, str]]], ending: str, quoting: str, junk: list[bytes]
) -> None:
    """In any order of columns, quoted or not, with any bytes between them: each is read as it was written, with its
    number; and every line that is not is named or blank.
    """
    columns, rows = table

    def write(value: str) -> str:
        return '"{}"'.format(value.replace('"', '""')) if quoting == "everywhere" or set(value) & set(',"') else value

    good = [",".join(write(row[name]) for name in columns).encode() for row in rows]
    between = [each.replace(b"\n", b"").replace(b"\r", b"") for each in junk]
    pieces = [piece for each in zip(good, between, strict=False) for piece in each] + good[len(between) :]
    body = ending.encode().join([",".join(columns).encode(), *pieces])
    found = lines(body)
    wishes = [each for each in found if isinstance(each, Wish)]
    assert [(each.user_id, each.account_id, each.action, each.turnkey_wallet_id) for each in wishes] == [
        (row["user_id"], row["public_key"], row["action"] or "add", row["turnkey_wallet_id"]) for row in rows
    ]
    named = {each.line for each in wishes} | {fault.line for each in found if isinstance(each, list) for fault in each}
    blank = {2 + place for place, piece in enumerate(pieces) if not piece.strip()}
    assert named | blank == set(range(2, 2 + len(pieces)))


def test_the_file_in_the_docs_is_a_good_one() -> None:
    """What docs/wallets.md shows is read as it says."""
    page = (Path(__file__).parents[3] / "docs" / "wallets.md").read_bytes()
    body = page.partition(b"```csv\n")[2].partition(b"```")[0]
    found = lines(body)
    assert [each.action if isinstance(each, Wish) else each for each in found] == [Action.ADD, Action.PAUSE]
