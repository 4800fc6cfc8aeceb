"""The event stream parser: however the bytes are cut, the same events come out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.sse import EVENT_BYTES_MAX, Event, Parser
from schema.stellar import Malformed
from tests import recordings

HORIZON = (
    b'retry: 1000\nevent: open\ndata: "hello"\n\n'
    b'id: 225257527003537409\ndata: {"id":"225257527003537409","type":"payment"}\n\n'
    b"event: error\ndata: Unexpected stream error\n\n"
    b'retry: 10\nevent: close\ndata: "byebye"\n\n'
)
LINES = st.lists(
    st.sampled_from(
        b"|data: one|data:two|data|: a comment|event: error|id: 7|id: a\0b|retry: 10|data: \xe2\x82\xac|data: \xff"
        b"|unknown: field|retry: soon".split(b"|")
    ),
    max_size=30,
)


def parse(*chunks: bytes) -> list[Event]:
    parser = Parser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def test_horizons_stream() -> None:
    """The greeting, a record, an error in mid-stream and the goodbye come out with their kinds, ids and times."""
    opened, record, error, closed = parse(HORIZON)
    assert (opened.kind, opened.data, opened.retry_ms) == ("open", '"hello"', 1000)
    assert (record.kind, record.id, record.retry_ms) == ("message", "225257527003537409", None)
    assert record.data.startswith('{"id":"225257527003537409"')
    assert (error.kind, error.data) == ("error", "Unexpected stream error")
    assert (closed.kind, closed.data, closed.retry_ms) == ("close", '"byebye"', 10)


def test_byte_by_byte() -> None:
    """Cut after every byte, the stream says the same as whole."""
    assert parse(*(HORIZON[place : place + 1] for place in range(len(HORIZON)))) == parse(HORIZON)


@given(lines=LINES, ends=st.lists(st.sampled_from([b"\n", b"\r", b"\r\n"]), min_size=31, max_size=31), data=st.data())
def test_any_cut_says_the_same(lines: list[bytes], ends: list[bytes], data: st.DataObject) -> None:
    """Any lines with any of the three line ends, cut anywhere, empty pieces among them, give the same events."""
    whole = b"".join(line + end for line, end in zip(lines, ends, strict=False))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert parse(*pieces) == parse(whole)


@given(lines=LINES)
def test_line_ends_do_not_matter(lines: list[bytes]) -> None:
    """The same lines ended by LF, by CR or by CRLF are the same events."""
    texts = [b"".join(line + end for line in lines) for end in (b"\n", b"\r", b"\r\n")]
    assert parse(texts[0]) == parse(texts[1]) == parse(texts[2])


def test_an_unfinished_event_is_none() -> None:
    """An event whose blank line never came is not told: it may be half of one."""
    assert parse(b"id: 1\ndata: {}\n") == []


def test_several_data_lines_are_one() -> None:
    """Data lines of one event are joined; a byte order mark and comments are left out."""
    (event,) = parse(b"\xef\xbb\xbfdata: a\n: comment\ndata: b\n\n")
    assert event.data == "a\nb"


def test_an_endless_event_is_refused() -> None:
    """A line, or many lines, that grow beyond the limit end in Malformed and not in the machine's memory."""
    with pytest.raises(Malformed, match="at most"):
        parse(b"data: ", b"x" * (EVENT_BYTES_MAX + 1))
    with pytest.raises(Malformed, match="at most"):
        parse(*[b"data: " + b"x" * 1_000_000 + b"\n"] * 6)


@recordings.needed
@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("midstream_error_rate_limited.txt", ["open", "error"]),
        ("midstream_error_unknown.txt", ["open", "error"]),
        ("open_close_empty_stream.txt", ["open", "close"]),
        ("payment_record_framed.txt", ["open", "message", "close"]),
    ],
)
def test_recorded_streams(name: str, kinds: list[str]) -> None:
    """What real and derived Horizon streams sent is read as the events it is."""
    assert [event.kind for event in parse((recordings.FOLDER / "sse" / name).read_bytes())] == kinds


MISHAPS = {
    "LF": HORIZON,
    "CRLF": HORIZON.replace(b"\n", b"\r\n"),
    "CR": HORIZON.replace(b"\n", b"\r"),
    "a byte order mark": b"\xef\xbb\xbf" + HORIZON,
    "letters of several bytes": HORIZON.replace(b"payment", "paiement à 100 €, 支付 💶".encode()),
    "bytes that are no letters": HORIZON.replace(b"payment", b"\xf0\x9f\xff\xe2\x82"),
    "comments between": HORIZON.replace(b"\n\n", b"\n: keep-alive\n\n:\n"),
}


@pytest.mark.parametrize("text", MISHAPS.values(), ids=MISHAPS)
def test_every_pair_of_cuts_says_the_same(text: bytes) -> None:
    """Cut at every two places, inside line ends, the byte order mark and letters of several bytes, it says the same."""
    whole = parse(text)
    assert [event.kind for event in whole] == ["open", "message", "error", "close"]
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1, 1 + first % 3):
            assert parse(text[:first], text[first:second], text[second:]) == whole, (first, second)


@pytest.mark.parametrize("text", MISHAPS.values(), ids=MISHAPS)
def test_what_breaks_off_never_says_more(text: bytes) -> None:
    """Broken off after any byte, a stream said the first events of the whole, and nothing that is not among them; the
    next connection begins anew.
    """
    whole = parse(text)
    for place in range(len(text) + 1):
        said = parse(text[:place])
        assert said == whole[: len(said)], place


@recordings.needed
def test_recorded_streams_cut_at_every_byte() -> None:
    """Recorded streams, fed byte by byte, in two pieces at every place, and twice in a row, say the same."""
    for path in sorted((recordings.FOLDER / "sse").glob("*.txt")):
        text = path.read_bytes().partition(b"\r\n\r\n")[2] or path.read_bytes()
        whole = parse(text)
        assert parse(*(text[place : place + 1] for place in range(len(text)))) == whole, path.name
        assert [event.data for event in parse(text, text)] == [event.data for event in whole] * 2, path.name
        for place in range(len(text) + 1):
            assert parse(text[:place], text[place:]) == whole, (path.name, place)
