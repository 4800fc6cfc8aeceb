"""Requests as bytes that keep no rule: garbage, bent lines and headers, wrong lengths, one in another."""

from collections.abc import Callable
from random import Random
from typing import Final

from tests.webhook_cases import CONTENT_TYPE, forged
from tests.webhook_senders import PATH, SECRET, STRANGE_SECRET, naming, request, signed

ENCODINGS: Final = (b"chunked", b"Chunked", b"xchunked", b"chunked, identity", b"gzip", b"\x0bchunked", b"")
BAD_LINES: Final = (
    b"x y: z",
    b": z",
    b"x\0: z",
    b"x: \0",
    b"x",
    b" folded",
    b"\tfolded",
    b"x : z",
    b"\xff: z",
    b"x: \xff",
)


def garbage(random: Random, _tracked: str) -> bytes:
    lines = [random.randbytes(random.randrange(1, 80)) for _ in range(random.randrange(1, 6))]
    return random.choice([b"\r\n", b"\n", b"", b"\0"]).join(lines) + random.choice([b"", b"\r\n\r\n"])


def mutated(random: Random, tracked: str) -> bytes:
    """A stranger's request with a few bytes flipped, dropped, doubled or put in."""
    content = bytearray(request(body := naming(tracked), signed(body, secret=STRANGE_SECRET)))
    for _ in range(random.randrange(1, 6)):
        place = random.randrange(len(content))
        size = random.choice([1, 1, 1, 2, 8, 64])
        change = random.randrange(4)
        if change == 0:
            content[place] ^= 1 << random.randrange(8)
        elif change == 1:
            del content[place : place + size]
        elif change == 2:
            content[place:place] = content[place : place + size]
        else:
            content[place:place] = random.choice([b"\0", b"\r\n", b"\xff", b" ", b"\t", random.randbytes(size)])
        content = content or bytearray(b"x")
    return bytes(content)


def first_lines(random: Random, tracked: str) -> bytes:
    method = random.choice(
        [
            "GET",
            "POST",
            "PUT",
            "HEAD",
            "OPTIONS",
            "TRACE",
            "CONNECT",
            "PRI",
            "post",
            "",
            "P\u00d6ST",
            "X" * 9_000,
            "A B",
            "M-SEARCH",
        ]
    )
    target = random.choice(
        [
            PATH, "*", "/", "//", "", "/..", "%", "/%00", "/%ff%fe", "/\u00ff", f"http://x{PATH}", "http://[::1",
            "http://a:99999/", f"{PATH}?a=%zz", f"{PATH}#x", "/" + "a" * 9_000, f"{PATH}/../stellar", "\\",
            "http://user:pass@h/", "x:1", "?",
        ]
    )  # fmt: skip
    version = random.choice(
        ["HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.", "HTTP/9.9", "ICY", "", "HTTP/1.1 x"]
    )
    body = naming(tracked)
    rest = request(body, signed(body, secret=STRANGE_SECRET)).partition(b"\r\n")[2]
    return f"{method} {target} {version}\r\n".encode("latin-1") + rest


def header_lines(random: Random, tracked: str) -> bytes:
    body = naming(tracked)
    head, _, _ = request(body, signed(body, secret=STRANGE_SECRET)).partition(b"\r\n\r\n")
    makes: list[Callable[[], list[bytes]]] = [
        lambda: [b"content-length: %d" % random.choice([0, 1, len(body), 10**6, 10**30])],
        lambda: [b"content-length: " + random.choice([b"-1", b"+5", b"0x10", b"5, 5", b"5 5", b"", b"\xb2"])],
        lambda: [b"transfer-encoding: " + random.choice(ENCODINGS)],
        lambda: [b"x-%d: y" % number for number in range(random.choice([10, 70, 200, 2_000]))],
        lambda: [b"x: " + b"y" * random.choice([100, 8_191, 70_000])],
        lambda: [random.choice(BAD_LINES)],
        lambda: [b"host: a", b"host: b"],
        lambda: [b"expect: " + random.choice([b"100-continue", b"200-ok", b"x" * 300])],
        lambda: [b"connection: " + random.choice([b"close", b"upgrade, keep-alive", b"Upgrade", b"x" * 4_000])],
        lambda: [b"connection: Upgrade", b"upgrade: " + random.choice([b"websocket", b"h2c", b"x"]), b"x: y"],
        lambda: [b"content-type: " + random.choice([b"text/plain", b"a/b;charset=\xff", b";;;", b"a" * 5_000])],
        lambda: [b"content-encoding: " + random.choice([b"gzip", b"deflate", b"br", b"identity", b"x" * 99])],
        lambda: [b"x-forwarded-for: " + random.choice([b"1.2.3.4", b"," * 4_000, b"::1", b"\xff"])],
        lambda: [b"cookie: " + random.randbytes(30).replace(b"\n", b"")],
    ]
    strange = random.choice(makes)()
    lines = head.split(b"\r\n")
    for line in strange:
        lines.insert(random.randrange(1, len(lines) + 1), line)
    return random.choice([b"\r\n", b"\r\n", b"\r\n", b"\n"]).join(lines) + b"\r\n\r\n" + body


def lengths(random: Random, tracked: str) -> bytes:
    """A body that is longer or shorter than was said."""
    body = naming(tracked) + b" " * random.choice([0, 1, 70_000])
    said = random.choice([0, 1, len(body) - 1, len(body) + 1, 65_536, 65_537, 10**9, 10**18])
    content = request(body, signed(body, secret=random.choice([SECRET, STRANGE_SECRET])))
    if said == len(body):
        return b""
    return content.replace(b"content-length: %d" % len(body), random.choice([b"content-length: %d" % said, b"x: y"]))


def smuggled(random: Random, tracked: str) -> bytes:
    """One request in another's body, for whoever is unsure where that ends."""
    body = naming(tracked)
    inner = request(body, random.choice([CONTENT_TYPE, signed(body, secret=STRANGE_SECRET), signed(b"other")]))
    length = random.choice([0, 3, len(inner), len(inner) + 7])
    encoding = random.choice(
        [b"chunked", b" chunked", b"chunked\r\ntransfer-encoding: x", b"x, chunked", b"chunked;q=1"]
    )
    framing = random.choice(
        [
            b"content-length: %d\r\ntransfer-encoding: %s" % (length, encoding),
            b"transfer-encoding: %s\r\ncontent-length: %d" % (encoding, length),
            b"content-length: %d\r\ncontent-length: %d" % (length, random.choice([0, length, 5])),
            b"content-length: %d" % random.choice([0, 1, length]),
            b"transfer-encoding: %s" % encoding,
        ]
    )
    size = random.choice(
        [b"0", b"%x" % len(inner), b"-1", b"fffffffffffffffff", b"0x5", b"5;ext=" + b"x" * 99, b"", b" 5"]
    )
    chunked = (
        size
        + b"\r\n"
        + random.choice([b"", inner, inner + b"\r\n0\r\n\r\n"])
        + random.choice([b"", b"\r\n", b"x: y\r\n\r\n"])
    )
    start = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n".encode() + framing + b"\r\n\r\n"
    return start + random.choice([chunked, inner, b"0\r\n\r\n" + inner])


def pipelined(random: Random, tracked: str) -> bytes:
    return b"".join(
        random.choice([mutated, forged_bytes, first_lines])(random, tracked) for _ in range(random.randrange(2, 5))
    )


def forged_bytes(random: Random, tracked: str) -> bytes:
    return forged(random, tracked).content


def cut(random: Random, tracked: str) -> bytes:
    content = forged(random, tracked).content
    return content[: random.randrange(1, len(content))]
