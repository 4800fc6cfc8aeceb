"""COMMITs seen in a byte stream, however it is cut."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.torture.postgres_wire import CommitWatch

SSL_REQUEST = struct.pack("!II", 8, 80877103)
STARTUP = struct.pack("!II", 8 + 14, 196608) + b"user\0postgres\0"


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", 4 + len(body)) + body


def query(text: bytes) -> bytes:
    return message(b"Q", text + b"\0")


def prepared(text: bytes) -> bytes:
    return message(b"P", b"name\0" + text + b"\0\0\0")


LONG = query(b"select '" + b"COMMIT" * 50 + b"'")
BIND = message(b"B", b"Q\0\0\0\x0bCOMMIT\0" * 9)


@given(data=st.data())
def test_each_commit_is_seen_once_however_the_bytes_are_cut(data: st.DataObject) -> None:
    """Three COMMITs among everything else are three, whether they come whole or byte by byte."""
    begin, commit = query(b"BEGIN;"), query(b"COMMIT;")
    said = SSL_REQUEST + STARTUP + begin + LONG + commit + BIND + begin + prepared(b"commit") + LONG + commit
    cuts = sorted(data.draw(st.sets(st.integers(1, len(said) - 1))))
    watch = CommitWatch()
    pieces = [said[left:right] for left, right in zip([0, *cuts], [*cuts, len(said)], strict=True)]
    seen = [watch.feed(piece) for piece in pieces]
    assert any(seen)
    assert sum(CommitWatchByByte(said)) == 3
    assert sum(seen) <= 3


class CommitWatchByByte(list[bool]):
    """What is seen when every byte comes alone."""

    def __init__(self, said: bytes) -> None:
        watch = CommitWatch()
        super().__init__(watch.feed(said[place : place + 1]) for place in range(len(said)))


@pytest.mark.parametrize("text", [b"rollback", b"select 'COMMIT'", b"COMMITMENT", b"begin", b"commit prepared 'x'"])
def test_what_is_no_commit_is_none(text: bytes) -> None:
    """Only the statement itself counts."""
    watch = CommitWatch()
    assert not watch.feed(STARTUP + query(text) + prepared(text))
    assert watch.feed(query(b"COMMIT"))
