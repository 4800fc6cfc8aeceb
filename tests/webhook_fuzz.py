"""Requests as bytes, from nonsense to almost right, each following from a seed and its number; and who sends them."""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

import orjson

from tests.people import account_id
from tests.webhook_senders import PATH, SECRET, SHARED, STRANGE_SECRET, naming, request, signed

STRANGERS: Final = [account_id(f"stranger {number}") for number in range(50)]
CONTENT_TYPE: Final = {"content-type": "application/json"}
QUIET_S: Final = 0.03  # after a reply: what else the bytes may have led to
PATIENCE_S: Final = 0.25  # without a reply: the server waits for more
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
_STATUS: Final = re.compile(rb"HTTP/\d\.\d (\d{3}) ")
_CLASS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request. `proven`: its sender holds the secret, so that it may be done; nobody tracked is named by it."""

    kind: str
    content: bytes
    proven: bool = False
    whole: bool = True  # a reply is certain, and only one


def case(seed: int, number: int, tracked: str) -> Case:
    """The request of this number. Whatever names the tracked account does not prove itself."""
    random = Random(f"{seed} {number}")  # noqa: S311 - repeatable
    kind, make = random.choices(KINDS, weights=WEIGHTS)[0]
    made = make(random, tracked)
    return made if isinstance(made, Case) else Case(kind=kind, content=made, whole=False)


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


def tampered(random: Random, tracked: str) -> Case:
    """A proven request for the tracked wallet, but for one character of what is signed or of the signature."""
    body = naming(tracked)
    headers = signed(body, webhook_id=f"msg_{random.getrandbits(64):x}")
    part = random.choice(["body", "webhook-id", "webhook-timestamp", "webhook-signature"])
    text = body.decode() if part == "body" else headers[part]
    places = [
        place for place, letter in enumerate(text) if letter in _CLASS and (part != "webhook-signature" or place > 2)
    ]
    place = random.choice(places)
    letters = "0123456789" if part == "webhook-timestamp" else _CLASS
    changed = text[:place] + random.choice([each for each in letters if each != text[place]]) + text[place + 1 :]
    if part == "body":
        return Case(kind="tampered", content=request(changed.encode(), headers))
    return Case(kind="tampered", content=request(body, headers | {part: changed}))


def forged(random: Random, tracked: str) -> Case:
    """Named, and proved by nothing that counts."""
    body = naming(tracked)
    good = signed(body)
    timestamp = good["webhook-timestamp"]
    missing = random.choice([name for name in good if name.startswith("webhook")])
    headers = random.choice(
        [
            CONTENT_TYPE,
            signed(body, secret=STRANGE_SECRET),
            signed(body, age_s=random.choice([-10_000, -400, 400, 10_000, 10**8])),
            signed(naming(random.choice(STRANGERS))),
            {name: value for name, value in good.items() if name != missing},
            good | {"webhook-id": random.choice(["", "a.b", "x" * 300, "\u00f6", "msg 1", "{}"])},
            good
            | {"webhook-timestamp": random.choice([f"+{timestamp}", f"{timestamp}.0", f"0{timestamp}", "1e9", "nan"])},
            good
            | {"webhook-signature": good["webhook-signature"].replace("v1,", random.choice(["v2,", "v1 ,", "", "v1"]))},
            good
            | {
                "webhook-signature": random.choice(
                    ["v1,", "v1", ",", " ", "v1,!!!!", "v1," + "A" * 7_000, "v1,\u00e9=="]
                )
            },
            CONTENT_TYPE
            | {"authorization": random.choice([SHARED, "Bearer", "Bearer ", f"Basic {SHARED}", f"Bearer {SHARED}x"])},
        ]
    )
    return Case(kind="forged", content=request(body, headers))


def bodies(random: Random, tracked: str) -> Case:
    """Proven, and no hint, or one of strangers."""
    makes: list[Callable[[], bytes]] = [
        lambda: orjson.dumps(_json(random, 4)),
        lambda: random.randbytes(random.randrange(200)),
        lambda: b"[" * random.choice([10, 2_000, 60_000]),
        lambda: b'{"data":' * random.choice([3, 500, 7_000]) + b"1" + b"}" * 3,
        lambda: b'{"account_id": ' + b"9" * random.choice([20, 400, 60_000]) + b"}",
        lambda: b'{"account_id": "\\ud800", "account_id": "\xff"}',
        lambda: orjson.dumps({"account_id": random.choice(STRANGERS)}),
        lambda: orjson.dumps({"accounts": random.choices(STRANGERS, k=random.randrange(0, 120))}),
        lambda: orjson.dumps({"table": "stellar_wallets", "record": _json(random, 2), "old_record": _json(random, 2)}),
        lambda: orjson.dumps({"record": {"public_key": random.choice([None, 7, "G", random.choice(STRANGERS)])}}),
        lambda: orjson.dumps(
            {
                "id": random.choice(["0", "1", "-1", "9" * 19, "9" * 40, str(10**18)]),
                "transaction_hash": "a",
                "to": tracked,
            }
        ),
        lambda: b"",
    ]
    body = random.choice(makes)()
    if random.random() < 0.2:
        return Case(
            kind="bodies", proven=True, content=request(body, CONTENT_TYPE | {"authorization": f"Bearer {SHARED}"})
        )
    return Case(kind="bodies", proven=True, content=request(body, signed(body, secret=SECRET)))


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


def replayed(random: Random, _tracked: str) -> Case:
    """Proven, and done before."""
    body = naming(random.choice(STRANGERS))
    return Case(kind="replayed", proven=True, content=request(body, signed(body, webhook_id="msg_replayed")))


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


Make = Callable[[Random, str], bytes | Case]
_WEIGHED: Final[Sequence[tuple[Make, int]]] = (
    (forged, 26),
    (tampered, 22),
    (bodies, 16),
    (mutated, 10),
    (first_lines, 8),
    (header_lines, 8),
    (smuggled, 5),
    (lengths, 2),
    (replayed, 2),
    (garbage, 3),
    (pipelined, 1),
    (cut, 1),
)  # fmt: skip
KINDS: Final = [(make.__name__, make) for make, _ in _WEIGHED]
WEIGHTS: Final = [weight for _, weight in _WEIGHED]


def _json(random: Random, depth: int) -> object:
    kind = random.randrange(9 if depth else 6)
    if kind < 6:
        return random.choice([None, True, 0, -1, 2**63, 1.5e300, "", "G", "\0", "\u00f6" * 9, random.choice(STRANGERS)])
    if kind == 6:
        return [_json(random, depth - 1) for _ in range(random.randrange(4))]
    names = [
        "account_id",
        "accounts",
        "record",
        "old_record",
        "data",
        "id",
        "transaction_hash",
        "table",
        "public_key",
        "",
    ]
    return {random.choice(names): _json(random, depth - 1) for _ in range(random.randrange(5))}


@dataclass(kw_only=True)
class Fuzzing:
    """What was sent, and what came back."""

    host: str
    port: int
    seed: int
    tracked: str
    statuses: Counter[str] = field(default_factory=Counter)  # by kind
    wrong: list[str] = field(default_factory=list)

    async def run(self, first: int, beyond: int, *, at_once: int) -> None:
        """Send the requests of these numbers, so many side by side."""
        numbers = iter(range(first, beyond))
        await asyncio.gather(*(self._send_each(numbers, lane) for lane in range(at_once)))

    async def _send_each(self, numbers: Iterator[int], lane: int) -> None:
        streams = None
        for number in numbers:
            each = case(self.seed, number, self.tracked)
            if streams is None or not each.whole:
                if streams is not None:
                    streams[1].transport.abort()
                streams = await asyncio.open_connection(
                    self.host, self.port, local_addr=(f"127.0.3.{lane % 250 + 1}", 0)
                )
            answer = await self._exchange(streams, each)
            self._judge(number, each, answer)
            if not each.whole or b"onnection: close" in answer or not answer:
                streams[1].transport.abort()
                streams = None
        if streams is not None:
            streams[1].transport.abort()

    async def _exchange(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], each: Case) -> bytes:
        """Everything that came back; empty where nothing did."""
        reader, writer = streams
        answer = b""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            writer.write(each.content)
            if each.whole:
                answer = await reader.readuntil(b"\r\n\r\n")
                found = re.search(rb"(?i)content-length: (\d+)", answer)
                return answer + await reader.readexactly(int(found[1]) if found else 0)
            wait_s = PATIENCE_S
            while True:
                async with asyncio.timeout(wait_s):
                    more = await reader.read(65_536)
                if not more:
                    break
                answer += more
                wait_s = QUIET_S
        return answer

    def _judge(self, number: int, each: Case, answer: bytes) -> None:
        statuses = [int(status) for status in _STATUS.findall(answer)]
        if not statuses and each.whole:
            self.wrong.append(f"{each.kind} {number}: no answer")
        for status in statuses or [0]:
            self.statuses[f"{each.kind} {status or 'silence'}"] += 1
            if status >= 500 or (200 <= status < 300 and not each.proven):
                self.wrong.append(f"{each.kind} {number}: {status}")
