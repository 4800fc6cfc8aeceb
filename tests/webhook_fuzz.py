"""Requests as bytes, from nonsense to almost right, each following from a seed and its number; and who sends them."""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.webhook_bytes import cut, first_lines, garbage, header_lines, lengths, mutated, pipelined, smuggled
from tests.webhook_cases import Case, bodies, forged, replayed, tampered

QUIET_S: Final = 0.03  # after a reply: what else the bytes may have led to
PATIENCE_S: Final = 0.25  # without a reply: the server waits for more
_STATUS: Final = re.compile(rb"HTTP/\d\.\d (\d{3}) ")


def case(seed: int, number: int, tracked: str) -> Case:
    """The request of this number. Whatever names the tracked account does not prove itself."""
    random = Random(f"{seed} {number}")  # noqa: S311 - repeatable
    kind, make = random.choices(KINDS, weights=WEIGHTS)[0]
    made = make(random, tracked)
    return made if isinstance(made, Case) else Case(kind=kind, content=made, whole=False)


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
